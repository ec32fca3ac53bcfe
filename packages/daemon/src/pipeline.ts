import {
  assess,
  blockedReply,
  combineForSmtp,
  decide,
  deliveryReply,
  planDeliveries,
  wantedScanners,
  type Assessment,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type DeliveryResult,
  type Envelope,
  type Finding,
  type MailRules,
  type MarkContext,
  type Message,
  type Policy,
  type Recipient,
  type Rules,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import { editMessage, readAuthenticationResults, readAuthors, type Reinjector } from '@ecluse/mail'
import { quarantineRecord, type QuarantineStore } from '@ecluse/quarantine'
import { scanAll, type ScanAll } from '@ecluse/scanners'

/** What a message is judged by: the same for every message until a reload. */
export interface JudgeParts {
  readonly hostname: string
  readonly alertHeader: string
  readonly scanners: readonly ConfiguredScanner[]
  readonly rules: Rules
  /** How scanners are asked; absent: each time, whatever happened before. */
  readonly scanAll?: ScanAll
}

/** What the pipeline works with. */
export interface PipelineParts extends JudgeParts {
  readonly quarantine: QuarantineStore
  readonly reinjector: Reinjector
}

/** A message on its way through. */
export interface Case {
  readonly envelope: Envelope
  readonly message: Message
  readonly receivedAt: Date
}

/** Milliseconds that each stage took; absent: the message did not come to it. */
export interface StageTimes {
  scan?: number
  decide?: number
  quarantine?: number
  reinject?: number
}

/** What shall become of one message, and why. Lists with one entry for each recipient are in RCPT TO order. */
export interface Judgement {
  readonly context: MarkContext
  readonly rules: MailRules
  readonly scans: readonly ScanResult[]
  readonly decisions: readonly Decision[]
  /** The copies to hand over; empty: nobody gets the message. */
  readonly plan: readonly Delivery[]
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
  { envelope, message, receivedAt }: Case,
  signal: AbortSignal,
): Promise<Outcome> {
  const times: StageTimes = {}
  const judgement = await judge(parts, { envelope, message, receivedAt }, signal, times)
  const { scans, decisions, plan, context } = judgement
  const clock = stopwatch()

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

/** The first half of it, without any effect: scanners and policy, up to the copies that would be handed over. */
export async function judge(
  parts: JudgeParts,
  { envelope, message, receivedAt }: Case,
  signal: AbortSignal,
  times: StageTimes = {},
): Promise<Judgement> {
  const { hostname, alertHeader, rules } = parts
  const clock = stopwatch()
  const authors = rules.wantsAuthors ? readAuthors(message.header) : []
  const mailRules = rules.forMail(envelope, authors)
  const policies = envelope.recipients.map(({ address }) => mailRules.policyFor(address))
  const wanted = wantedScanners(parts.scanners, policies)

  const scans = await (parts.scanAll ?? scanAll)(wanted, { message, envelope, hostname }, signal)
  times.scan = clock()

  const proofs = rules.wantsAuthors ? proofsOf(scans, message, rules) : []
  const assessmentFor = assessOnce(scans)
  const decisions = envelope.recipients.map((recipient, index) => {
    const policy = policies[index] ?? mailRules.policyFor(recipient.address)
    const about = {
      policy,
      local: rules.isLocal(recipient.address),
      sender: mailRules.standingFor(recipient.address, proofs),
      sizeBytes: message.sizeBytes,
      softBounce: rules.softBounce,
    }
    return decide(recipient, about, assessmentFor(policy))
  })
  const { recipientDelimiter } = rules
  const context = { id: message.id, hostname, alertHeader, envelope, recipientDelimiter, date: receivedAt }
  const plan = planDeliveries(decisions, context)
  times.decide = clock()
  return { context, rules: mailRules, scans, decisions, plan }
}

/** What scanners and our own Postfix proved about the sender. */
function proofsOf(
  scans: readonly ScanResult[],
  message: Message,
  { authservIds }: Rules,
): readonly Finding[] {
  const scanned = scans.flatMap((scan) => (scan.outcome === 'done' ? scan.verdict.findings : []))
  return authservIds.length === 0
    ? scanned
    : [...scanned, ...readAuthenticationResults(message.header, authservIds)]
}

/** Recipients with the same policy share it. */
function assessOnce(scans: readonly ScanResult[]): (policy: Policy) => Assessment {
  const known = new Map<Policy, Assessment>()
  return (policy) => {
    let assessment = known.get(policy)
    if (!assessment) {
      assessment = assess(scans, policy)
      known.set(policy, assessment)
    }
    return assessment
  }
}

interface DeliveryJob {
  readonly envelope: Envelope
  readonly message: Message
  readonly plan: readonly Delivery[]
  readonly decisions: readonly Decision[]
}

/** Copies of one message on their way at the same time: one message must not take all connections. */
const PARALLEL_COPIES = 5

/** Hands over every copy. Never rejects: a copy that failed does not undo another. */
async function deliverAll(
  reinjector: Reinjector,
  job: DeliveryJob,
  signal: AbortSignal,
): Promise<DeliveryResult[]> {
  const { envelope, message, plan, decisions } = job
  // SMTP has one reply for all: the copies go one after the other, and none after a refusal.
  const allOrNothing = envelope.protocol === 'smtp'
  const send = async ({ edits, recipients, targets }: Delivery): Promise<DeliveryResult[]> => {
    const results = await reinjector.deliver(
      { id: message.id, envelope, recipients: targets, message: editMessage(message, edits), allOrNothing },
      signal,
    )
    // In the order of the targets, and those in the order of the recipients.
    return results.map((result, index) => {
      const recipient = recipients[index]
      return recipient && recipient !== result.recipient ? { ...result, recipient } : result
    })
  }
  if (!allOrNothing) return await sendAll(plan, send)
  let refused = decisions.some(({ destiny }) => destiny === 'reject' || destiny === 'tempfail')
  const results: DeliveryResult[] = []
  for (const delivery of plan) {
    const of = refused ? delivery.recipients.map(withheld) : await send(delivery)
    refused ||= of.some(({ outcome }) => outcome !== 'relayed')
    results.push(...of)
  }
  return results
}

async function sendAll(
  plan: readonly Delivery[],
  send: (delivery: Delivery) => Promise<DeliveryResult[]>,
): Promise<DeliveryResult[]> {
  if (plan.length === 1) return await send(plan[0] as Delivery)
  const results: DeliveryResult[] = []
  const waiting = plan.values()
  const lane = async (): Promise<void> => {
    for (const delivery of waiting) results.push(...(await send(delivery)))
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL_COPIES, plan.length) }, lane))
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
