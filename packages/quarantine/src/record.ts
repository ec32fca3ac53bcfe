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

/** The keys and values that scripts rely on. */
export function summarize(entry: QuarantineEntry): QuarantineSummary {
  const score = highestScore(entry.outcomes)
  return {
    id: entry.id,
    category: entry.category,
    storedAt: entry.storedAt.toISOString(),
    mailFrom: entry.envelope.mailFrom,
    recipients: entry.envelope.recipients.map(({ address }) => address),
    ...(entry.subject !== undefined && { subject: entry.subject }),
    size: entry.sizeBytes,
    ...(score !== undefined && { score }),
    reasons: [...new Set(entry.outcomes.map(({ reason }) => reason).filter((reason) => reason !== ''))],
  }
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
