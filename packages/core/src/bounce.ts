import { keptCategories, type Decision } from './decide.ts'
import type { Envelope, Recipient } from './envelope.ts'
import type { LocalDomains } from './policy.ts'

/** Why a sender gets no DSN; in the order in which they are looked for. */
export const BOUNCE_SUPPRESSIONS = [
  'null sender',
  'sender not ours',
  'automatic message',
  'not wanted by the sender',
  'virus',
  'sender blocked',
  'score above the cutoff',
  'budget used up',
] as const
export type BounceSuppression = (typeof BOUNCE_SUPPRESSIONS)[number]

/** What decides about the DSNs of one message. */
export interface BounceFacts {
  readonly envelope: Envelope
  /** Whether one of our own clients has sent it. */
  readonly originating: boolean
  readonly isLocal: LocalDomains
  /** Whether the header says that a program wrote it, or a list sent it; asked only where it matters. */
  readonly isAutomatic: () => boolean
  /** Whether an earlier try has dealt with other recipients of the message. */
  readonly othersDone: boolean
  /** Whether one more DSN may be sent today; asked once for a message, last of all. */
  readonly mayBounce: () => boolean
}

/**
 * Whether what is decided can stand. Over SMTP, with one reply for all, the whole message comes again when one
 * recipient is deferred: each new try would make one more copy in quarantine.
 */
export function isSettled({ protocol }: Envelope, decisions: readonly Decision[]): boolean {
  return protocol === 'lmtp' || decisions.every(({ destiny }) => destiny !== 'tempfail')
}

/**
 * What is decided, as the listener's protocol and the sender allow it:
 *
 * - Over SMTP, where some recipient is deferred, nothing is kept: the message comes again.
 * - Over SMTP, `reject` beside another destiny becomes `bounce`: a 5xx would have Postfix tell the sender, whoever it
 *   is, that nobody got the message, and a 4xx would bring it again without end.
 * - A `bounce` stands where our own sender may be told. Elsewhere it becomes `discard` with the reason in
 *   `suppressed`, and a copy is kept, but for spam above the cutoff of the quarantine.
 *
 * @returns the same array where nothing changes
 */
export function settle(decisions: readonly Decision[], facts: BounceFacts): readonly Decision[] {
  const { envelope } = facts
  if (!isSettled(envelope, decisions)) return decisions.map(withoutCopy)
  const told = envelope.protocol === 'smtp' ? withOneReply(decisions, facts) : decisions
  if (!told.some(({ destiny }) => destiny === 'bounce')) return told
  const ofMessage = messageSuppression(facts)
  const judged = told.map((decision): Decision => {
    if (decision.destiny !== 'bounce') return decision
    const reason = ofMessage ?? recipientSuppression(decision)
    return reason === undefined ? decision : suppress(decision, reason)
  })
  if (!judged.some(({ destiny }) => destiny === 'bounce') || facts.mayBounce()) return judged
  return judged.map((decision) =>
    decision.destiny === 'bounce' ? suppress(decision, 'budget used up') : decision,
  )
}

function withOneReply(decisions: readonly Decision[], { othersDone }: BounceFacts): readonly Decision[] {
  const rejects = decisions.filter(({ destiny }) => destiny === 'reject').length
  if (rejects === 0 || (rejects === decisions.length && !othersDone)) return decisions
  return decisions.map((decision) =>
    decision.destiny === 'reject' ? { ...decision, destiny: 'bounce' } : decision,
  )
}

/** Nobody but a mailbox of ours, from which one of our own clients has sent: anything else can be forged. */
function messageSuppression({
  envelope,
  originating,
  isLocal,
  isAutomatic,
}: BounceFacts): BounceSuppression | undefined {
  if (envelope.mailFrom === '') return 'null sender'
  if (!originating || !isOwnMailbox(envelope.mailFrom, isLocal)) return 'sender not ours'
  return isAutomatic() ? 'automatic message' : undefined
}

function recipientSuppression({
  recipient,
  assessment,
  sender,
  score = -Infinity,
  policy,
}: Decision): BounceSuppression | undefined {
  if (!wantsFailures(recipient)) return 'not wanted by the sender'
  if (assessment.viruses.length > 0) return 'virus'
  if (sender.listed === 'blocked') return 'sender blocked'
  return score >= policy.bounceCutoffLevel ? 'score above the cutoff' : undefined
}

/** RFC 3461 section 4.1: without NOTIFY, a failure is told. */
function wantsFailures({ notify }: Recipient): boolean {
  return notify === undefined || notify.includes('FAILURE')
}

function suppress(decision: Decision, suppressed: BounceSuppression): Decision {
  const { category, policy, score } = decision
  // As if the policy kept all of this category: the cutoff of the quarantine stands.
  const kept =
    category === 'clean' ? [] : keptCategories([category], { ...policy, quarantine: [category] }, score)
  const quarantined = decision.quarantined || kept.length > 0
  return { ...decision, destiny: 'discard', suppressed, quarantined }
}

function withoutCopy(decision: Decision): Decision {
  return decision.quarantined ? { ...decision, quarantined: false } : decision
}

// Atoms of RFC 5321 section 4.1.2, and letters of any script. No quotes; and neither % nor !: Postfix may read an address outside in
// user%other.example@example.org (allow_percent_hack, swap_bangpath).
const LOCAL_PART = /^[\p{L}\p{M}\p{N}#$&'*+/=?^_`{|}~.-]{1,64}$/u
const DOMAIN = /^[\p{L}\p{M}\p{N}_.-]+$/u
const SPECIAL = /^(?:mailer-daemon|double-bounce)$/i
// RFC 5321 section 4.5.3.1.3, without the brackets.
const MAX_PATH = 254

/** Whether a notice may go there: a plain address with a domain of ours, that no mail server reads in another way. */
export function isOwnMailbox(address: string, isLocal: LocalDomains): boolean {
  const at = address.lastIndexOf('@')
  if (at < 1 || address.length > MAX_PATH) return false
  const localPart = address.slice(0, at)
  if (!LOCAL_PART.test(localPart) || SPECIAL.test(localPart)) return false
  return DOMAIN.test(address.slice(at + 1)) && isLocal(address)
}
