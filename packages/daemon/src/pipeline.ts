import {
  assess,
  blockedReply,
  combineForSmtp,
  decide,
  deliveryReply,
  planDeliveries,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type DeliveryResult,
  type Envelope,
  type LocalDomains,
  type Message,
  type PolicyLookup,
  type Recipient,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import { editMessage, type Reinjector } from '@ecluse/mail'
import { quarantineRecord, type QuarantineStore } from '@ecluse/quarantine'
import { scanAll } from '@ecluse/scanners'

/** What the pipeline works with: the same for every message until a reload. */
export interface PipelineParts {
  readonly hostname: string
  readonly alertHeader: string
  readonly scanners: readonly ConfiguredScanner[]
  readonly policyFor: PolicyLookup
  readonly isLocal: LocalDomains
  readonly quarantine: QuarantineStore
  readonly reinjector: Reinjector
}

/** Milliseconds that each stage took; absent: the message did not come to it. */
export interface StageTimes {
  scan?: number
  decide?: number
  quarantine?: number
  reinject?: number
}

/** What became of one message. Lists with one entry for each recipient are in RCPT TO order. */
export interface Outcome {
  readonly scans: readonly ScanResult[]
  readonly decisions: readonly Decision[]
  /** What the next hop said; absent for a recipient that nothing was handed over for. */
  readonly deliveries: ReadonlyMap<Recipient, DeliveryResult>
  /** One for each recipient, as LMTP gives them. */
  readonly replies: readonly SmtpReply[]
  readonly quarantined: boolean
  readonly times: StageTimes
}

/**
 * The life of one message between spool and reply. Nothing is answered 2xx before Postfix has it, the quarantine
 * is durable, or a rule discards.
 *
 * @throws FilterError when a stage before the first delivery failed: then nothing has been delivered
 */
export async function processMessage(
  parts: PipelineParts,
  { envelope, message, receivedAt }: { envelope: Envelope; message: Message; receivedAt: Date },
  signal: AbortSignal,
): Promise<Outcome> {
  const { hostname, alertHeader } = parts
  const times: StageTimes = {}
  const clock = stopwatch()

  const scans = await scanAll(parts.scanners, { message, envelope, hostname }, signal)
  times.scan = clock()

  const assessment = assess(scans)
  const decisions = envelope.recipients.map((recipient) =>
    decide(recipient, parts.policyFor(recipient.address), assessment, parts.isLocal(recipient.address)),
  )
  const context = { id: message.id, hostname, alertHeader, envelope, date: receivedAt }
  const plan = planDeliveries(decisions, context)
  times.decide = clock()

  const quarantined = decisions.some((decision) => decision.quarantined)
  if (quarantined) {
    await parts.quarantine.put(quarantineRecord(context, decisions), message, signal)
    times.quarantine = clock()
  }

  const deliveries = new Map<Recipient, DeliveryResult>()
  if (plan.length > 0) {
    for (const result of await deliverAll(parts.reinjector, { envelope, message, plan, decisions }, signal)) {
      deliveries.set(result.recipient, result)
    }
    times.reinject = clock()
  }
  const replies = decisions.map((decision) => {
    const result = deliveries.get(decision.recipient)
    return result ? deliveryReply(result, message.id) : blockedReply(decision, message.id)
  })
  return { scans, decisions, deliveries, replies, quarantined, times }
}

interface DeliveryJob {
  readonly envelope: Envelope
  readonly message: Message
  readonly plan: readonly Delivery[]
  readonly decisions: readonly Decision[]
}

/** Hands over every copy. Never rejects: a copy that failed does not undo another. */
async function deliverAll(
  reinjector: Reinjector,
  job: DeliveryJob,
  signal: AbortSignal,
): Promise<DeliveryResult[]> {
  const { envelope, message, plan, decisions } = job
  // SMTP has one reply for all: the copies go one after the other, and none after a refusal.
  const allOrNothing = envelope.protocol === 'smtp'
  const send = ({ edits, recipients }: Delivery): Promise<DeliveryResult[]> =>
    reinjector.deliver(
      { id: message.id, envelope, recipients, message: editMessage(message, edits), allOrNothing },
      signal,
    )
  if (!allOrNothing) return (await Promise.all(plan.map(send))).flat()
  let refused = decisions.some(({ destiny }) => destiny === 'reject' || destiny === 'tempfail')
  const results: DeliveryResult[] = []
  for (const delivery of plan) {
    const of = refused ? delivery.recipients.map(withheld) : await send(delivery)
    refused ||= of.some(({ outcome }) => outcome !== 'relayed')
    results.push(...of)
  }
  return results
}

function withheld(recipient: Recipient): DeliveryResult {
  return { recipient, outcome: 'withheld' }
}

/** The replies that the listener's protocol wants: LMTP one for each recipient, SMTP one. */
export function repliesFor(
  { protocol }: Envelope,
  replies: readonly SmtpReply[],
  id: string,
): readonly SmtpReply[] {
  return protocol === 'lmtp' ? replies : [combineForSmtp(replies, id)]
}

/** Each call gives the milliseconds since the one before. */
function stopwatch(): () => number {
  let last = performance.now()
  return () => {
    const before = last
    last = performance.now()
    return last - before
  }
}
