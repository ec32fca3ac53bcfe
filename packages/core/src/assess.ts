import { globPattern } from './globPattern.ts'
import type { Policy, VirusMeaning } from './policy.ts'
import type { Concern, ConfiguredScanner, OnError, ScanResult } from './scanner.ts'
import type { Finding, SpamSymbol, UncheckedReason } from './verdict.ts'

/** What all scanners together say about one message, as far as a policy lets them count. */
export interface Assessment {
  /** Names of the viruses found, each once, in the order found. */
  readonly viruses: readonly string[]
  /** Why something was not looked at, and shall count as such. */
  readonly unchecked: readonly UncheckedReason[]
  /** What X-Virus-Status tells; absent: no scanner here looks for viruses. */
  readonly virusStatus?: 'clean' | 'infected' | UncheckedReason
  /** Backups that looked for viruses because what they stand in for failed; absent: none had to. */
  readonly virusBackups?: readonly string[]
  /** Points of each scanner that scored, then those of virus names that count as points; empty: none did. */
  readonly scores: readonly number[]
  /** Points of virus names that are none: added to whatever the scanners' points come to. */
  readonly virusPoints: number
  /** Rules of all scanners, in the scanners' order, then `AV:NAME` for each virus name that counts as points. */
  readonly symbols: readonly SpamSymbol[]
  /** A scanner without which nothing may be decided failed (`onError: tempfail`). */
  readonly mustDefer: boolean
}

const NOTHING: Assessment = {
  viruses: [],
  unchecked: [],
  scores: [],
  virusPoints: 0,
  symbols: [],
  mustDefer: false,
}

/** What of a policy chooses among the scanners and their findings. */
export type ScannerChoice = Pick<Policy, 'scanners' | 'bypass' | 'virusNames'>

/** Whether a scanner has to be asked for a recipient of this policy. */
export function isWanted(
  { name, concerns }: Pick<ConfiguredScanner, 'name' | 'concerns'>,
  choice: ScannerChoice,
): boolean {
  if (choice.scanners && !choice.scanners.includes(name)) return false
  return concerns.some((concern) => !choice.bypass.includes(concern))
}

/**
 * Those that have to be asked for recipients of these policies, backups among them: one is wanted when one of the
 * scanners that it stands in for is. In their order.
 */
export function wantedScanners<T extends Pick<ConfiguredScanner, 'name' | 'concerns' | 'backupFor'>>(
  scanners: readonly T[],
  choices: readonly ScannerChoice[],
): readonly T[] {
  const different = [...new Set(choices)]
  const names = new Set(
    scanners
      .filter((scanner) => !scanner.backupFor && different.some((choice) => isWanted(scanner, choice)))
      .map(({ name }) => name),
  )
  const wanted = scanners.filter(({ name, backupFor = [name] }) => backupFor.some((of) => names.has(of)))
  return wanted.length === scanners.length ? scanners : wanted
}

/** Brings together the results that count under a policy. */
export function assess(results: readonly ScanResult[], choice: ScannerChoice): Assessment {
  const counted = results.flatMap((result) =>
    countsFor(result, results, choice) ? countedPart(result, choice) : [],
  )
  if (counted.length === 0) return NOTHING
  const findings = counted.flatMap((result) => (result.outcome === 'done' ? result.verdict.findings : []))
  const names = new Set(findings.flatMap((finding) => (finding.kind === 'virus' ? [finding.name] : [])))
  const { viruses, symbols: byName } = sortNames([...names], choice)
  const limits = findings.flatMap((finding) => (finding.kind === 'unchecked' ? [finding.reason] : []))
  const scored = findings.filter((finding) => finding.kind === 'score')
  const unseen = counted.flatMap(unseenByVirusScanner)
  const backups = counted.flatMap(backupThatLooked)
  const looked = counted.some(({ concerns }) => concerns.includes('virus'))
  const virusStatus =
    viruses.length > 0 ? 'infected' : (unseen[0] ?? limits[0] ?? (looked ? 'clean' : undefined))
  return {
    viruses,
    unchecked: [...new Set([...counted.flatMap(countedAsUnchecked), ...limits])],
    ...(virusStatus && { virusStatus }),
    ...(backups.length > 0 && { virusBackups: backups }),
    scores: scored.map(({ points }) => points),
    virusPoints: byName.reduce((sum, { score }) => sum + score, 0),
    symbols: [...scored.flatMap(({ symbols }) => symbols), ...byName],
    mustDefer: counted.some((result) => failureRule(result) === 'tempfail'),
  }
}

const CONCERN_OF: Readonly<Partial<Record<Finding['kind'], Concern>>> = {
  virus: 'virus',
  unchecked: 'virus',
  score: 'spam',
}

/** Whether the policy lets the scanner count; a backup counts where one of those does that it stood in for. */
function countsFor(result: ScanResult, all: readonly ScanResult[], choice: ScannerChoice): boolean {
  const { scanner: name, concerns, backupFor } = result
  if (!backupFor) return isWanted({ name, concerns }, choice)
  return all.some((of) => !of.backupFor && backupFor.includes(of.scanner) && countsFor(of, all, choice))
}

/** The result without what the policy bypasses; a list, to be chained. */
function countedPart(result: ScanResult, choice: ScannerChoice): ScanResult[] {
  if (choice.bypass.length === 0) return [result]
  const concerns = result.concerns.filter((concern) => !choice.bypass.includes(concern))
  if (result.outcome !== 'done') return [{ ...result, concerns }]
  const findings = result.verdict.findings.filter(({ kind }) => {
    const concern = CONCERN_OF[kind]
    return concern === undefined || concerns.includes(concern)
  })
  return [{ ...result, concerns, verdict: { findings } }]
}

/**
 * Which names are viruses, and what the others are worth. Beside a real virus the points of the others are of no
 * interest, as in amavisd (virus_name_to_spam_score_maps); nor are they where nobody looks for spam.
 */
function sortNames(
  names: readonly string[],
  { virusNames, bypass }: ScannerChoice,
): { readonly viruses: readonly string[]; readonly symbols: readonly SpamSymbol[] } {
  const patterns = Object.entries(virusNames)
  if (patterns.length === 0 || names.length === 0) return { viruses: names, symbols: [] }
  const read = names.map((name): [string, VirusMeaning] => [
    name,
    patterns.find(([pattern]) => globPattern(pattern)(name))?.[1] ?? 'virus',
  ])
  const viruses = read.flatMap(([name, meaning]) => (meaning === 'virus' ? [name] : []))
  if (viruses.length > 0 || bypass.includes('spam')) return { viruses, symbols: [] }
  const symbols = read.flatMap(([name, meaning]) =>
    typeof meaning === 'number' ? [{ name: `AV:${name.replace(/[\s,[\]=]/g, '_')}`, score: meaning }] : [],
  )
  return { viruses, symbols }
}

/** Why a scanner that should have looked for viruses did not; empty: it did, or looks for other things. */
function unseenByVirusScanner(result: ScanResult): UncheckedReason[] {
  if (result.outcome === 'done' || !result.concerns.includes('virus') || isCovered(result)) return []
  return [result.outcome === 'failed' ? 'scanner failed' : result.reason]
}

/** What puts the message into the category unchecked; a failure with `onError: pass` only shows in the header. */
function countedAsUnchecked(result: ScanResult): UncheckedReason[] {
  if (result.outcome === 'failed') return failureRule(result) === 'unchecked' ? ['scanner failed'] : []
  return unseenByVirusScanner(result)
}

/** What the failure means; absent: it did not fail, or a backup looked in its place. */
function failureRule(result: ScanResult): OnError | undefined {
  return result.outcome === 'failed' && !isCovered(result) ? result.onError : undefined
}

function isCovered(result: ScanResult): boolean {
  return result.outcome === 'failed' && result.coveredBy !== undefined
}

function backupThatLooked({ scanner, concerns, backupFor, outcome }: ScanResult): string[] {
  return outcome === 'done' && backupFor && concerns.includes('virus') ? [scanner] : []
}
