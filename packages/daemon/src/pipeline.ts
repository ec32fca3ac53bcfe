import {
  assess,
  blockedReply,
  combineForSmtp,
  decide,
  deliveryReply,
  failpoint,
  FilterError,
  planDeliveries,
  wantedScanners,
  type Assessment,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type DeliveryResult,
  type Destiny,
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
  type Steps,
} from '@ecluse/core'
import { editMessage, readAuthenticationResults, readAuthors, type Reinjector } from '@ecluse/mail'
import { quarantineRecord, type QuarantineStore } from '@ecluse/quarantine'
import { scanAll, type ScanAll } from '@ecluse/scanners'
import type { Ledger, LedgerResult } from '@ecluse/state'
import { recall, type Recollection } from './recall.ts'
import { inTurns } from './turns.ts'

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
  /** Absent: nothing is remembered. */
  readonly ledger?: Ledger
}

/** A message on its way through. */
export interface Case {
  readonly envelope: Envelope
  readonly message: Message
  readonly receivedAt: Date
  /** The id under which a copy may already be kept; absent: the message's own. */
  readonly idFor?: (decisions: readonly Decision[]) => string | undefined
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
  /** Addresses of From:; empty also where nobody asks, see {@link Rules.wantsAuthors}. */
  readonly authors: readonly string[]
  /** Of the scanners that somebody wants, in the order of the configuration. */
  readonly scans: readonly ScanResult[]
  /** Everything that could prove the sender; empty also where nobody asks. */
  readonly proofs: readonly Finding[]
  readonly decisions: readonly Decision[]
  /** The copies to hand over; empty: nobody gets the message. */
  readonly plan: readonly Delivery[]
}

/** What became of one message. */
export interface Outcome {
  readonly scans: readonly ScanResult[]
  /** Of those recipients that were not done before, in RCPT TO order. */
  readonly decisions: readonly Decision[]
  /** Recipients that were done by an earlier try; their reply stands. */
  readonly replayed: ReadonlyMap<Recipient, LedgerResult>
  /** What the next hop said; absent for a recipient that nothing was handed over for. */
  readonly deliveries: ReadonlyMap<Recipient, DeliveryResult>
  /** One for each recipient in RCPT TO order, as LMTP gives them. */
  readonly replies: readonly SmtpReply[]
  /** Under which id a copy is kept; absent: none is, or an earlier try has kept it. */
  readonly quarantineId?: string
  /** Whether Postfix gave no queue id, so that a second try could not be told from a new message. */
  readonly unknowable: boolean
  /** Why something that was done could not be remembered; empty: it could. A second try would do it again. */
  readonly forgotten: readonly FilterError[]
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
  arrived: Case,
  signal: AbortSignal,
): Promise<Outcome> {
  const recollection = await recall(parts.ledger, arrived, signal)
  try {
    return await processRest(parts, arrived, { recollection, signal })
  } finally {
    recollection.end()
  }
}

/** Deals with the recipients that are not done. */
async function processRest(
  parts: PipelineParts,
  { envelope, message, receivedAt }: Case,
  { recollection, signal }: { readonly recollection: Recollection; readonly signal: AbortSignal },
): Promise<Outcome> {
  const { done } = recollection
  const times: StageTimes = {}
  const rest = done.size === 0 ? envelope : withoutDone(envelope, done)
  const known = { replayed: done, unknowable: recollection.blind, times }
  if (rest.recipients.length === 0) {
    const nothing = {
      scans: [],
      decisions: [],
      deliveries: new Map<Recipient, DeliveryResult>(),
      forgotten: [],
    }
    return { replies: repliesOf(envelope, done, () => undefined), ...nothing, ...known }
  }
  const idFor = (of: readonly Decision[]): string | undefined => recollection.reservedId(keptFor(of))
  const judgement = await judge(parts, { envelope: rest, message, receivedAt, idFor }, signal, times)
  const { scans, decisions, plan, context } = judgement
  const clock = stopwatch()

  const kept = keptFor(decisions)
  if (kept.length > 0) {
    await recollection.reserve(context.id, kept)
    await parts.quarantine.put(quarantineRecord(context, decisions), message, signal)
    times.quarantine = clock()
  }
  const blocked = isSettled(rest, decisions) ? decisions.filter(({ destiny }) => destiny !== 'pass') : []
  await recollection.record(
    blocked.map((decision) => [decision.recipient, blockedResult(decision, message.id)]),
  )

  const forgotten: FilterError[] = []
  const onResults = async (results: readonly DeliveryResult[]): Promise<void> => {
    const final = results.flatMap((result) => finalResult(result, message.id, decisions))
    const error = await failureOf(recollection.record(final))
    if (error) forgotten.push(error)
  }
  const deliveries = new Map<Recipient, DeliveryResult>()
  if (plan.length > 0) {
    const job = { envelope: rest, message, plan, decisions, onResults }
    for (const result of await deliverAll(parts.reinjector, job, signal))
      deliveries.set(result.recipient, result)
    times.reinject = clock()
  }
  const fresh = new Map(decisions.map((decision) => [decision.recipient, decision]))
  const replies = repliesOf(envelope, done, (recipient) => {
    const result = deliveries.get(recipient)
    const decision = fresh.get(recipient)
    if (result) return deliveryReply(result, message.id)
    return decision && blockedReply(decision, message.id)
  })
  const quarantine = kept.length > 0 ? { quarantineId: context.id } : {}
  return { scans, decisions, deliveries, replies, forgotten, ...known, ...quarantine }
}

function withoutDone(envelope: Envelope, done: ReadonlyMap<Recipient, unknown>): Envelope {
  return { ...envelope, recipients: envelope.recipients.filter((recipient) => !done.has(recipient)) }
}

function keptFor(decisions: readonly Decision[]): Recipient[] {
  return decisions.flatMap(({ quarantined, recipient }) => (quarantined ? [recipient] : []))
}

function repliesOf(
  { recipients }: Envelope,
  done: ReadonlyMap<Recipient, LedgerResult>,
  fresh: (recipient: Recipient) => SmtpReply | undefined,
): SmtpReply[] {
  return recipients.map((recipient) => {
    const reply = done.get(recipient)?.reply ?? fresh(recipient)
    if (!reply) throw new TypeError('a recipient without a reply')
    return reply
  })
}

function blockedResult(decision: Decision, id: string): LedgerResult {
  return { reply: blockedReply(decision, id), outcome: 'blocked', category: decision.category }
}

/** What a second try must not do again; empty: it has to. The ledger leaves replies of 4xx out. */
function finalResult(
  result: DeliveryResult,
  id: string,
  decisions: readonly Decision[],
): (readonly [Recipient, LedgerResult])[] {
  const { recipient, outcome } = result
  if (outcome !== 'relayed' && outcome !== 'refused') return []
  const category = decisions.find((decision) => decision.recipient === recipient)?.category
  const queuedAs = outcome === 'relayed' ? result.queuedAs : undefined
  return [
    [
      recipient,
      {
        reply: deliveryReply(result, id),
        outcome,
        ...(queuedAs !== undefined && { queuedAs }),
        ...(category && { category }),
      },
    ],
  ]
}

/** The FilterError that it fails with; absent: it does not. */
async function failureOf(work: Promise<void>): Promise<FilterError | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    if (error instanceof FilterError) return error
    throw error
  }
}

/**
 * Whether something can become of the message. Over SMTP, with one reply for all, it comes again when one recipient is
 * deferred, or refused and another is not: each new try would make one more copy in quarantine.
 */
function isSettled({ protocol }: Envelope, decisions: readonly Decision[]): boolean {
  if (protocol === 'lmtp') return true
  const destinies = new Set(decisions.map(({ destiny }) => destiny))
  return !destinies.has('tempfail') && (!destinies.has('reject') || destinies.size === 1)
}

function withoutCopy(decision: Decision): Decision {
  return decision.quarantined ? { ...decision, quarantined: false } : decision
}

/** The first half of it, without any effect: scanners and policy, up to the copies that would be handed over. */
export async function judge(
  parts: JudgeParts,
  { envelope, message, receivedAt, idFor }: Case,
  signal: AbortSignal,
  times: StageTimes = {},
): Promise<Judgement> {
  const { hostname, alertHeader, rules } = parts
  const clock = stopwatch()
  const authors = rules.wantsAuthors ? readAuthors(message.header) : []
  const mailRules = await inTurns(rules.mailInSteps(envelope, authors), signal)
  const policies = await inTurns(
    oneByOne(envelope.recipients, ({ address }) => mailRules.policyFor(address)),
    signal,
  )
  const wanted = wantedScanners(parts.scanners, policies)

  const scans = await (parts.scanAll ?? scanAll)(wanted, { message, envelope, hostname }, signal)
  times.scan = clock()
  failpoint('K9-verdict-known')

  const proofs = rules.wantsAuthors ? proofsOf(scans, message, rules) : []
  const assessmentFor = assessOnce(scans)
  const decideFor = (recipient: Recipient, index: number): Decision => {
    const policy = policies[index] ?? mailRules.policyFor(recipient.address)
    const about = {
      policy,
      local: rules.isLocal(recipient.address),
      sender: mailRules.standingFor(recipient.address, proofs),
      sizeBytes: message.sizeBytes,
      softBounce: rules.softBounce,
    }
    return decide(recipient, about, assessmentFor(policy))
  }
  const decided = await inTurns(oneByOne(envelope.recipients, decideFor), signal)
  const decisions = isSettled(envelope, decided) ? decided : decided.map(withoutCopy)
  const { recipientDelimiter } = rules
  const id = idFor?.(decisions) ?? message.id
  const context = { id, hostname, alertHeader, envelope, recipientDelimiter, date: receivedAt }
  const plan = planDeliveries(decisions, context)
  times.decide = clock()
  return { context, rules: mailRules, authors, scans, proofs, decisions, plan }
}

/** A step for each recipient: a lookup may take long, and there may be many. */
function* oneByOne<R>(
  recipients: readonly Recipient[],
  work: (recipient: Recipient, index: number) => R,
): Steps<R[]> {
  const results: R[] = []
  for (const [index, recipient] of recipients.entries()) {
    results.push(work(recipient, index))
    yield
  }
  return results
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
  /** Told of each copy as soon as the next hop has answered; waited for. */
  readonly onResults: (results: readonly DeliveryResult[]) => Promise<void>
}

/** Copies of one message on their way at the same time: one message must not take all connections. */
const PARALLEL_COPIES = 5

/** Hands over every copy. Never rejects: a copy that failed does not undo another. */
async function deliverAll(
  reinjector: Reinjector,
  job: DeliveryJob,
  signal: AbortSignal,
): Promise<DeliveryResult[]> {
  const { envelope, message, plan, decisions, onResults } = job
  // The copies go one after the other, and none after a refusal.
  const allOrNothing = isAllOrNothing(envelope)
  const send = async ({ edits, recipients, targets }: Delivery): Promise<DeliveryResult[]> => {
    const results = await reinjector.deliver(
      { id: message.id, envelope, recipients: targets, message: editMessage(message, edits), allOrNothing },
      signal,
    )
    // In the order of the targets, and those in the order of the recipients.
    const ours = results.map((result, index) => {
      const recipient = recipients[index]
      return recipient && recipient !== result.recipient ? { ...result, recipient } : result
    })
    await onResults(ours)
    return ours
  }
  if (!allOrNothing) return await sendAll(plan, send)
  let refused = withholdsAll(envelope, decisions)
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

/** SMTP has one reply for all. */
function isAllOrNothing({ protocol }: Envelope): boolean {
  return protocol === 'smtp'
}

/** Whether nobody gets the message since somebody is refused. */
function withholdsAll(envelope: Envelope, decisions: readonly Decision[]): boolean {
  return isAllOrNothing(envelope) && decisions.some(({ destiny }) => REFUSING.has(destiny))
}

const REFUSING: ReadonlySet<Destiny> = new Set(['reject', 'tempfail'])

/**
 * The replies that stand before anything is handed over, in RCPT TO order; absent ones are up to the next hop. They are
 * what the listener's protocol says: over SMTP all are the same one.
 *
 * @param id the message's
 */
export function repliesInAdvance(
  envelope: Envelope,
  decisions: readonly Decision[],
  id: string,
): (SmtpReply | undefined)[] {
  const withholds = withholdsAll(envelope, decisions)
  const replies = decisions.map((decision) => {
    if (decision.destiny !== 'pass') return blockedReply(decision, id)
    return withholds ? deliveryReply(withheld(decision.recipient), id) : undefined
  })
  if (!isAllOrNothing(envelope)) return replies
  const known = replies.filter((reply) => reply !== undefined)
  const all = known.length === replies.length ? repliesFor(envelope, known, id)[0] : undefined
  return replies.map(() => all)
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
