import {
  CATEGORIES,
  planDeliveries,
  type Category,
  type Decision,
  type Destiny,
  type Envelope,
  type MarkContext,
  type Recipient,
} from '@ecluse/core'

/** One message to keep, with everything that was decided about it. */
export interface QuarantineRecord {
  /** The message's id: it names the file. */
  readonly id: string
  /** The worst category of the recipients for whom it is kept: it names the file too. */
  readonly category: Category
  readonly storedAt: Date
  /** Our own host name. */
  readonly hostname: string
  /** Name of the alert field: X-Ecluse-Alert, or X-Amavis-Alert for tools that look for it. */
  readonly alertHeader: string
  readonly envelope: Envelope
  /** In RCPT TO order. */
  readonly decisions: readonly Decision[]
  /** Value of our own Received field, unfolded; absent: none is written. */
  readonly received?: string
}

/** What was decided for one recipient of a message in quarantine. */
export interface QuarantineOutcome {
  readonly recipient: Recipient
  readonly category: Category
  readonly destiny: Destiny
  readonly local: boolean
  /** Whether this recipient's policy asked for the copy. */
  readonly quarantined: boolean
  /** Spam points; absent: no scanner scored. */
  readonly score?: number
  /** One line of printable ASCII; '' for clean. */
  readonly reason: string
  /** What has become of the recipient's copy; absent: none was kept for this recipient, and none was released. */
  readonly state?: RecipientState
}

/**
 * What has become of a message for one recipient; it is stored once for all of them. `kept`: it waits; `released`: it
 * was handed to Postfix; `deleted`: this recipient does not want it, others may.
 */
export const RECIPIENT_STATES = ['kept', 'released', 'deleted'] as const
export type RecipientState = (typeof RECIPIENT_STATES)[number]

/**
 * How a message leaves: `resend`, with Resent fields above it; `attachment`, inside a short note; `plain`, the very
 * bytes that came.
 */
export const RELEASE_FORMS = ['resend', 'attachment', 'plain'] as const
export type ReleaseForm = (typeof RELEASE_FORMS)[number]

/** One release, or the part of it that Postfix has taken. */
export interface Release {
  readonly at: Date
  /** Who did it, as the system or the console knows them. */
  readonly by: string
  /** The addresses that got it; at least one. */
  readonly to: readonly string[]
  readonly as: ReleaseForm
}

/** A virus that was found in a message only later, with other signatures. */
export interface Infection {
  readonly at: Date
  /** For whom it counts as one: at least one address. */
  readonly recipients: readonly string[]
  /** One line of printable ASCII; takes the place of the recipients' reason. */
  readonly reason: string
}

/** What is known of a message in quarantine without reading the message. */
export interface QuarantineEntry {
  readonly id: string
  readonly category: Category
  readonly storedAt: Date
  readonly hostname: string
  /** As it was received: release needs every parameter of it. */
  readonly envelope: Envelope
  /** In RCPT TO order. */
  readonly outcomes: readonly QuarantineOutcome[]
  /** Decoded, hostile; absent: the message has none. */
  readonly subject?: string
  /** Size of the original. */
  readonly sizeBytes: number
  /** Hex SHA-256 of the original. */
  readonly digest: string
  /** In the order in which they happened; empty: it was never released. */
  readonly releases: readonly Release[]
}

/** What a list shows of a message: little enough to have it for every message at hand. */
export interface QuarantineItem {
  readonly id: string
  readonly category: Category
  readonly storedAt: Date
  readonly mailFrom: string
  /** In RCPT TO order. */
  readonly recipients: readonly { readonly address: string; readonly state?: RecipientState }[]
  /** Decoded, hostile; absent: the message has none. */
  readonly subject?: string
  /** Size of the original. */
  readonly sizeBytes: number
  /** The highest of the recipients; absent: no scanner scored. */
  readonly score?: number
  /** Each once, in RCPT TO order; empty: clean mail that was kept. */
  readonly reasons: readonly string[]
}

/** The entry as scripts see it: the keys of `quarantine list --json`, in this order. */
export interface QuarantineSummary {
  readonly id: string
  readonly category: Category
  /** ISO 8601 in UTC. */
  readonly storedAt: string
  readonly mailFrom: string
  /** In RCPT TO order. */
  readonly recipients: readonly string[]
  readonly subject?: string
  /** Bytes of the original. */
  readonly size: number
  /** The highest of the recipients; absent: no scanner scored. */
  readonly score?: number
  /** Each once, in RCPT TO order; empty: clean mail that was kept. */
  readonly reasons: readonly string[]
  /** Of each recipient, in the order of `recipients`; `none`: no copy is kept for this one. */
  readonly states: readonly (RecipientState | 'none')[]
}

/** Whether the message is kept from that recipient for good: it has not passed, and Postfix does not come again. */
export function isBlocked({ destiny }: { readonly destiny: Destiny }): boolean {
  return destiny === 'discard' || destiny === 'reject' || destiny === 'bounce'
}

/** Makes the record of one message; pure. Kept for nobody, it is filed under the worst category of all. */
export function quarantineRecord(context: MarkContext, decisions: readonly Decision[]): QuarantineRecord {
  const kept = decisions.filter(({ quarantined }) => quarantined)
  const received = receivedValue(context, decisions)
  return {
    id: context.id,
    category: worst(kept.length > 0 ? kept : decisions),
    storedAt: context.date,
    hostname: context.hostname,
    alertHeader: context.alertHeader,
    envelope: context.envelope,
    decisions,
    ...(received !== undefined && { received }),
  }
}

/** The part of an entry that a list shows. */
export function itemOf(entry: QuarantineEntry): QuarantineItem {
  const { id, category, storedAt, envelope, outcomes, subject, sizeBytes } = entry
  const score = highestScore(outcomes)
  const states = new Map(outcomes.map(({ recipient, state }) => [recipient, state]))
  return {
    id,
    category,
    storedAt,
    mailFrom: envelope.mailFrom,
    recipients: envelope.recipients.map((recipient) => {
      const state = states.get(recipient)
      return { address: recipient.address, ...(state !== undefined && { state }) }
    }),
    ...(subject !== undefined && { subject }),
    sizeBytes,
    ...(score !== undefined && { score }),
    reasons: [...new Set(outcomes.map(({ reason }) => reason).filter((reason) => reason !== ''))],
  }
}

/** The keys and values that scripts rely on. */
export function summarize(item: QuarantineItem): QuarantineSummary {
  const { id, category, storedAt, mailFrom, recipients, subject, sizeBytes, score, reasons } = item
  return {
    id,
    category,
    storedAt: storedAt.toISOString(),
    mailFrom,
    recipients: recipients.map(({ address }) => address),
    ...(subject !== undefined && { subject }),
    size: sizeBytes,
    ...(score !== undefined && { score }),
    reasons,
    states: recipients.map(({ state }) => state ?? 'none'),
  }
}

/** Whether nobody waits for the message any more: each copy that was kept is released or deleted. */
export function isSettled({ recipients }: Pick<QuarantineItem, 'recipients'>): boolean {
  return !recipients.some(({ state }) => state === 'kept')
}

/** Whether a copy waits for that recipient. */
export function waitsFor({ outcomes }: QuarantineEntry, address: string): boolean {
  return outcomes.some(({ recipient, state }) => recipient.address === address && state === 'kept')
}

/** The highest spam points of some recipients; absent: no scanner scored. */
export function highestScore(outcomes: readonly { readonly score?: number }[]): number | undefined {
  const scores = outcomes.flatMap(({ score }) => (score === undefined ? [] : [score]))
  return scores.length === 0 ? undefined : scores.reduce((most, score) => Math.max(most, score))
}

function worst(decisions: readonly Decision[]): Category {
  return CATEGORIES.find((category) => decisions.some((each) => each.category === category)) ?? 'clean'
}

/** The field that a delivered copy would carry: one home for its form, in core. */
function receivedValue(context: MarkContext, [first]: readonly Decision[]): string | undefined {
  if (first === undefined) return undefined
  const edits = planDeliveries([{ ...first, destiny: 'pass' }], context).flatMap((delivery) => delivery.edits)
  const edit = edits.find((each) => each.op === 'prepend' && each.name === 'Received')
  return edit?.op === 'prepend' ? edit.value : undefined
}
