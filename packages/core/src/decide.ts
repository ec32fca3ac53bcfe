import type { Recipient } from './envelope.ts'
import type { Destiny, Policy, ScoreRule } from './policy.ts'
import type { ScanResult } from './scanner.ts'
import { CATEGORIES, type Category, type SpamSymbol, type UncheckedReason } from './verdict.ts'

/** What all scanners together say about one message: the same for every recipient. */
export interface Assessment {
  /** Names of the viruses found, each once, in the order found. */
  readonly viruses: readonly string[]
  /** Why something was not looked at, and shall count as such. */
  readonly unchecked: readonly UncheckedReason[]
  /** What X-Virus-Status tells; absent: no scanner here looks for viruses. */
  readonly virusStatus?: 'clean' | 'infected' | UncheckedReason
  /** Points of each scanner that scored; empty: none did. */
  readonly scores: readonly number[]
  /** Rules of all scanners, in the scanners' order. */
  readonly symbols: readonly SpamSymbol[]
  /** A scanner without which nothing may be decided failed (`onError: tempfail`). */
  readonly mustDefer: boolean
}

/** What happens to the message for one recipient, and why. */
export interface Decision {
  readonly recipient: Recipient
  readonly policy: Policy
  /** Whether the recipient is in the local domains. */
  readonly local: boolean
  readonly category: Category
  readonly destiny: Destiny
  /** Spam points under this policy; absent: no scanner scored. */
  readonly score?: number
  readonly assessment: Assessment
  /** Whether a copy must be kept before anything is answered. */
  readonly quarantined: boolean
  /** One line for log and reply, printable ASCII; '' for clean. */
  readonly reason: string
}

const NOTHING: Assessment = { viruses: [], unchecked: [], scores: [], symbols: [], mustDefer: false }

/** Brings the results of all scanners together. */
export function assess(results: readonly ScanResult[]): Assessment {
  if (results.length === 0) return NOTHING
  const findings = results.flatMap((result) => (result.outcome === 'done' ? result.verdict.findings : []))
  const viruses = new Set(findings.flatMap((finding) => (finding.kind === 'virus' ? [finding.name] : [])))
  const limits = findings.flatMap((finding) => (finding.kind === 'unchecked' ? [finding.reason] : []))
  const scored = findings.filter((finding) => finding.kind === 'score')
  const unseen = results.flatMap(unseenByVirusScanner)
  const looked = results.some(({ concerns }) => concerns.includes('virus'))
  const virusStatus =
    viruses.size > 0 ? 'infected' : (unseen[0] ?? limits[0] ?? (looked ? 'clean' : undefined))
  return {
    viruses: [...viruses],
    unchecked: [...new Set([...results.flatMap(countedAsUnchecked), ...limits])],
    ...(virusStatus && { virusStatus }),
    scores: scored.map(({ points }) => points),
    symbols: scored.flatMap(({ symbols }) => symbols),
    mustDefer: results.some((result) => result.outcome === 'failed' && result.onError === 'tempfail'),
  }
}

/** Why a scanner that should have looked for viruses did not; empty: it did, or looks for other things. */
function unseenByVirusScanner(result: ScanResult): UncheckedReason[] {
  if (result.outcome === 'done' || !result.concerns.includes('virus')) return []
  return [result.outcome === 'failed' ? 'scanner failed' : result.reason]
}

/** What puts the message into the category unchecked; a failure with `onError: pass` only shows in the header. */
function countedAsUnchecked(result: ScanResult): UncheckedReason[] {
  if (result.outcome === 'failed') return result.onError === 'unchecked' ? ['scanner failed'] : []
  return unseenByVirusScanner(result)
}

/**
 * Decides for one recipient. A virus that one scanner found counts although another scanner failed; otherwise a
 * failed scanner with `onError: tempfail` defers, whatever the others found.
 */
export function decide(
  recipient: Recipient,
  policy: Policy,
  assessment: Assessment,
  local: boolean,
): Decision {
  const score = combine(assessment.scores, policy.scores)
  const base = { recipient, policy, local, assessment }
  const scored = score === undefined ? base : { score, ...base }
  if (assessment.mustDefer && assessment.viruses.length === 0) {
    return { category: 'unchecked', destiny: 'tempfail', quarantined: false, reason: '', ...scored }
  }
  const category = CATEGORIES.find((candidate) => applies(candidate, assessment, policy, score)) ?? 'clean'
  if (category === 'clean') return { category, destiny: 'pass', quarantined: false, reason: '', ...scored }
  return {
    category,
    destiny: policy.destiny[category],
    quarantined: policy.quarantine.includes(category),
    reason: reasonOf(category, assessment),
    ...scored,
  }
}

function combine(scores: readonly number[], rule: ScoreRule): number | undefined {
  if (scores.length === 0) return undefined
  return rule === 'sum' ? scores.reduce((sum, points) => sum + points, 0) : Math.max(...scores)
}

function applies(category: Category, assessment: Assessment, policy: Policy, score = -Infinity): boolean {
  switch (category) {
    case 'virus':
      return assessment.viruses.length > 0
    case 'unchecked':
      return assessment.unchecked.length > 0
    case 'spam':
      return score >= policy.killLevel
    case 'spammy':
      return score >= policy.tag2Level
    // No scanner finds these yet.
    case 'banned':
    case 'bad-header':
    case 'oversized':
      return false
    case 'clean':
      return true
  }
}

function reasonOf(category: Exclude<Category, 'clean'>, assessment: Assessment): string {
  switch (category) {
    case 'virus':
      return `INFECTED: ${assessment.viruses.join(', ')}`
    case 'unchecked':
      return `UNCHECKED: ${assessment.unchecked.join(', ')}`
    case 'banned':
      return 'BANNED'
    case 'bad-header':
      return 'BAD HEADER'
    case 'oversized':
      return "Message size exceeds recipient's size limit"
    case 'spam':
    case 'spammy':
      return category
  }
}
