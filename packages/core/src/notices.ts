import { isOwnMailbox, isSettled } from './bounce.ts'
import type { Decision } from './decide.ts'
import type { Envelope, Recipient } from './envelope.ts'
import type { LocalDomains, NoticeAudience } from './policy.ts'

/** Whom the configuration wants told, and how often. */
export interface NoticeRules {
  /** Who is told of viruses; absent: nobody. */
  readonly admin?: string
  /** Whether our own senders are told of mail that was kept from its recipients. */
  readonly senders: boolean
}

/** What became of one message, as far as anybody may be told of it. */
export interface NoticeFacts {
  readonly envelope: Envelope
  /** As they stand after `settle`, in RCPT TO order; without recipients that an earlier try has done. */
  readonly decisions: readonly Decision[]
  readonly originating: boolean
  readonly isLocal: LocalDomains
  /** Whether the header says that a program wrote it, or a list sent it. */
  readonly isAutomatic: boolean
  /** Those that the next hop has taken the message for. */
  readonly relayed: ReadonlySet<Recipient>
}

/** One mail to write about a message. */
export interface PlannedNotice {
  /**
   * - `dsn`: an RFC 3464 report that takes the place of the refusal: part of what is done with the message
   * - `admin`: a virus was found
   * - `sender`: the mail was discarded or kept, and no DSN tells it
   */
  readonly kind: 'dsn' | 'admin' | 'sender'
  readonly to: string
  /** Of the recipients that it tells of; at least one, in RCPT TO order. */
  readonly about: readonly Decision[]
}

/**
 * Who is told of one message. Nobody outside is ever told anything: a notice goes to the administrator that the
 * configuration names, or to the address of one of our own senders, from whose network the message came. Nobody is told
 * of what stays in the queue of Postfix, for it comes again.
 *
 * @returns at most one notice of each kind; empty: nobody is told
 */
export function planNotices(facts: NoticeFacts, rules: NoticeRules): PlannedNotice[] {
  return [...planDsn(facts), ...planAdmin(facts, rules), ...planSender(facts, rules)]
}

/** The DSN alone, for it is sent before the message is answered. */
export function planDsn({
  envelope,
  decisions,
}: Pick<NoticeFacts, 'envelope' | 'decisions'>): PlannedNotice[] {
  if (!isSettled(envelope, decisions)) return []
  return planned(
    'dsn',
    envelope.mailFrom,
    decisions.filter(({ destiny }) => destiny === 'bounce'),
  )
}

function planAdmin(facts: NoticeFacts, { admin }: NoticeRules): PlannedNotice[] {
  if (admin === undefined || isOurNotice(facts, admin)) return []
  const infected = finished(facts).filter(
    (decision) => decision.assessment.viruses.length > 0 && mayTell(decision, 'admin'),
  )
  return planned('admin', admin, infected)
}

/**
 * A notice that came back to the filter, and has something in it that a scanner takes for a virus, such as the name of
 * one: to tell of it would make the next.
 */
function isOurNotice({ envelope, isAutomatic }: NoticeFacts, admin: string): boolean {
  const { mailFrom, recipients } = envelope
  return mailFrom === '' && isAutomatic && recipients.every(({ address }) => address === admin)
}

/** What was refused is told by Postfix, and what was bounced by the DSN; viruses write themselves. */
function planSender(facts: NoticeFacts, { senders }: NoticeRules): PlannedNotice[] {
  const { envelope, originating, isAutomatic, isLocal } = facts
  if (!senders || !originating || isAutomatic || !isOwnMailbox(envelope.mailFrom, isLocal)) return []
  const kept = finished(facts).filter(
    (decision) =>
      decision.destiny === 'discard' &&
      decision.assessment.viruses.length === 0 &&
      decision.suppressed !== 'not wanted by the sender' &&
      mayTell(decision, 'senders'),
  )
  return planned('sender', envelope.mailFrom, kept)
}

/** Those that nobody will decide about again. */
function finished({ envelope, decisions, relayed }: NoticeFacts): Decision[] {
  if (!isSettled(envelope, decisions)) return []
  return decisions.filter(
    ({ destiny, recipient }) => destiny !== 'tempfail' && (destiny !== 'pass' || relayed.has(recipient)),
  )
}

function mayTell({ policy }: Decision, audience: NoticeAudience): boolean {
  return policy.notices.includes(audience)
}

function planned(kind: PlannedNotice['kind'], to: string, about: readonly Decision[]): PlannedNotice[] {
  return about.length === 0 ? [] : [{ kind, to, about }]
}
