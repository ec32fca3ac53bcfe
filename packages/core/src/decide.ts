import type { Assessment } from './assess.ts'
import type { BounceSuppression } from './bounce.ts'
import type { Recipient } from './envelope.ts'
import { BLEMISHES, type Blemish, type Destiny, type Policy, type ScoreRule } from './policy.ts'
import { NOT_LISTED, type SenderStanding } from './senderLists.ts'
import { printable, type Category } from './verdict.ts'

/** What decides about one recipient beside the scanners. */
export interface RecipientCase {
  readonly policy: Policy
  /** Whether the recipient is in the local domains. */
  readonly local: boolean
  /** What the sender lists say; absent: nothing. */
  readonly sender?: SenderStanding
  /** Bytes of the message; absent: below every limit. */
  readonly sizeBytes?: number
  /** Roll-out: what we would refuse or discard stays in the queue of Postfix. */
  readonly softBounce?: boolean
}

/** What happens to the message for one recipient, and why. */
export interface Decision {
  readonly recipient: Recipient
  readonly policy: Policy
  /** Whether the recipient is in the local domains. */
  readonly local: boolean
  /** All that apply, worst first; empty: clean. */
  readonly blemishes: readonly Blemish[]
  /** The one that the message is filed under: the worst one that blocks, or of all that apply. */
  readonly category: Category
  readonly destiny: Destiny
  /** With `softBounce`, the destiny without it; then `destiny` is tempfail. */
  readonly softened?: Destiny
  /** Why the sender gets no DSN although the destiny was bounce; then `destiny` is discard, and a copy is kept. */
  readonly suppressed?: BounceSuppression
  /** Spam points under this policy; absent: no scanner scored. */
  readonly score?: number
  readonly sender: SenderStanding
  readonly assessment: Assessment
  /** Whether a copy must be kept before anything is answered. */
  readonly quarantined: boolean
  /** One line for log and reply, printable ASCII; '' for clean. */
  readonly reason: string
}

/** amavisd's points of a blocked sender: at least these. */
const BLOCKED_POINTS = 64

/**
 * Decides for one recipient. A virus that one scanner found counts although another scanner failed; otherwise a
 * failed scanner with `onError: tempfail` defers, whatever the others found. Of several categories the worst one
 * that is not passed decides. Of what stays in the queue of Postfix no copy is kept.
 *
 * @param assessment made with the same policy
 */
export function decide(recipient: Recipient, about: RecipientCase, assessment: Assessment): Decision {
  const { policy, local, softBounce = false } = about
  // Whoever is not looked at for spam has no use for lists of spammers either.
  const sender = policy.bypass.includes('spam') ? NOT_LISTED : (about.sender ?? NOT_LISTED)
  const score = scoreOf(assessment, policy, sender)
  const known = { recipient, policy, local, sender, assessment }
  const base = score === undefined ? known : { score, ...known }
  if (assessment.mustDefer && assessment.viruses.length === 0) {
    const nothing = { blemishes: [], quarantined: false, reason: '' }
    return { category: 'unchecked', destiny: 'tempfail', ...nothing, ...base }
  }
  const blemishes = BLEMISHES.filter((category) => applies(category, { ...about, sender }, assessment, score))
  const blocking = blemishes.find((category) => destinyOf(category, policy) !== 'pass')
  const category = blocking ?? blemishes[0]
  if (category === undefined) {
    return { blemishes, category: 'clean', destiny: 'pass', quarantined: false, reason: '', ...base }
  }
  const reason = printable(reasonOf(category, assessment), Infinity)
  const destiny = destinyOf(category, policy)
  if (destiny === 'tempfail') return { blemishes, category, destiny, quarantined: false, reason, ...base }
  if (softBounce && destiny !== 'pass') {
    // Nothing is settled yet, and each new try would make one more copy.
    return {
      blemishes,
      category,
      destiny: 'tempfail',
      softened: destiny,
      quarantined: false,
      reason,
      ...base,
    }
  }
  const quarantined = keptCategories(blemishes, policy, score).length > 0
  return { blemishes, category, destiny, quarantined, reason, ...base }
}

/** What a policy does with a category by itself, `deliverAnyway` considered. */
export function destinyOf(category: Blemish, policy: Policy): Destiny {
  return policy.deliverAnyway.includes(category) ? 'pass' : policy.destiny[category]
}

/**
 * Those of the categories that apply for which a policy wants a copy kept; empty: none.
 *
 * @param score spam points; absent: no scanner scored
 */
export function keptCategories(
  blemishes: readonly Blemish[],
  policy: Policy,
  score = -Infinity,
): readonly Blemish[] {
  const { quarantineCutoffLevel = Infinity } = policy
  return blemishes.filter((category) => {
    if (!policy.quarantine.includes(category)) return false
    return score < quarantineCutoffLevel || (category !== 'spam' && category !== 'spammy')
  })
}

/** Points of the scanners, of virus names and of the sender lists. A recipient that bypasses spam has none. */
function scoreOf(assessment: Assessment, policy: Policy, sender: SenderStanding): number | undefined {
  const scanned = combine(assessment.scores, policy.scores)
  const added = assessment.virusPoints + sender.points
  const listed = sender.listed !== undefined || sender.points !== 0
  if (scanned === undefined && assessment.virusPoints === 0 && !listed) return undefined
  const score = (scanned ?? 0) + added
  if (sender.listed === 'blocked') return Math.max(BLOCKED_POINTS, score)
  return sender.listed === 'allowed' ? Math.min(0, score) : score
}

function combine(scores: readonly number[], rule: ScoreRule): number | undefined {
  if (scores.length === 0) return undefined
  return rule === 'sum' ? scores.reduce((sum, points) => sum + points, 0) : Math.max(...scores)
}

function applies(
  category: Blemish,
  { policy, sender = NOT_LISTED, sizeBytes = 0 }: RecipientCase,
  assessment: Assessment,
  score = -Infinity,
): boolean {
  switch (category) {
    case 'virus':
      return assessment.viruses.length > 0
    case 'unchecked':
      return assessment.unchecked.length > 0
    case 'spam':
      return reaches(score, policy.killLevel, sender)
    case 'spammy':
      return reaches(score, policy.tag2Level, sender)
    case 'oversized':
      return sizeBytes > (policy.messageSize ?? Infinity)
    // No scanner finds these yet.
    case 'banned':
    case 'bad-header':
      return false
  }
}

function reaches(score: number, level: number, { listed }: SenderStanding): boolean {
  return listed === undefined ? score >= level : listed === 'blocked'
}

function reasonOf(category: Blemish, assessment: Assessment): string {
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
