import {
  blockedReply,
  combineForSmtp,
  deliveryReply,
  isSettled,
  planNotices,
  type Decision,
  type DeliveryResult,
  type Envelope,
  type Recipient,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import { isAutomatic, type Reinjector } from '@ecluse/mail'
import { quarantineRecord, type QuarantineStore } from '@ecluse/quarantine'
import type { Ledger, LedgerResult } from '@ecluse/state'
import { bounce, leaseBounce, noticeSource, type BounceLease } from './bounce.ts'
import { handOver, isAllOrNothing, withheld, withholdsAll } from './handOver.ts'
import { judge, type Case, type JudgeParts, type Judgement } from './judge.ts'
import type { NoticeSource } from './noticeOutbox.ts'
import type { Notifier } from './notify.ts'
import { blockedResults, finalResults, recall, type RecipientResult, type Recollection } from './recall.ts'
import { stopwatch, type StageTimes } from './stageTimes.ts'

/** What the pipeline works with. */
export interface PipelineParts extends JudgeParts {
  readonly quarantine: QuarantineStore
  readonly reinjector: Reinjector
  /** Absent: nothing is remembered. */
  readonly ledger?: Ledger
  /** Absent: nobody is told anything, and what would be bounced is kept. */
  readonly notifier?: Notifier
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
  readonly forgotten: readonly unknown[]
  /** Whether the sender got a DSN. */
  readonly bounced: boolean
  readonly times: StageTimes
}

/**
 * The life of one message between spool and reply:
 *
 * 1. `recall`: who is done by an earlier try gets the same reply again
 * 2. `judge`: scanners and policy decide for each recipient; so far nothing has happened that others could see
 * 3. `keepCopy`: what must be kept is durable in the quarantine
 * 4. `deliver`: the copies go to the next hop
 * 5. `bounce`: where the policy wants it, our own sender is told what was not delivered
 * 6. one reply for each recipient; who else is told hears of it later
 *
 * What is done for good is recorded before it is answered. Nothing is answered 2xx before Postfix has it, the
 * quarantine is durable, or a rule discards.
 *
 * @throws FilterError when a stage before the first delivery failed: then nothing has been delivered
 */
export async function processMessage(
  parts: PipelineParts,
  arrived: Case,
  signal: AbortSignal,
): Promise<Outcome> {
  const recollection = await recall(parts.ledger, arrived, signal)
  const forgotten: unknown[] = []
  const lease = leaseBounce(parts.notifier)
  let sent = false
  try {
    const outcome = await processRest(parts, arrived, { recollection, forgotten, lease, signal })
    sent = outcome.bounced
    return outcome
  } finally {
    lease.end(sent)
    try {
      recollection.end()
    } catch (error) {
      // What was done stands, and is answered; a bug behind it must not bring the message again.
      forgotten.push(error)
    }
  }
}

/** One try to deal with a message. */
interface Try {
  readonly recollection: Recollection
  /** What could not be remembered although it was done. */
  readonly forgotten: unknown[]
  readonly lease: BounceLease
  readonly signal: AbortSignal
}

/** Deals with the recipients that are not done. */
async function processRest(parts: PipelineParts, arrived: Case, current: Try): Promise<Outcome> {
  const { envelope, message, receivedAt } = arrived
  const { recollection, forgotten, lease, signal } = current
  const { done } = recollection
  const known = { replayed: done, unknowable: recollection.blind }
  const rest = done.size === 0 ? envelope : withoutDone(envelope, done)
  if (rest.recipients.length === 0)
    return { replies: repliesOf(envelope, done), times: {}, forgotten, ...NOTHING_LEFT, ...known }

  const idFor = (of: readonly Decision[]): string | undefined => recollection.reservedId(keptFor(of))
  const { mayBounce } = lease
  const othersDone = done.size > 0
  const asked = { envelope: rest, message, receivedAt, idFor, mayBounce, othersDone }
  const judgement = await judge(parts, asked, signal)
  const { scans, decisions, times } = judgement
  const quarantine = await keepCopy(parts.quarantine, { judgement, message }, current)
  if (isSettled(rest, decisions))
    await recollection.record(blockedResults(decisions.filter(isFinal), message.id))
  const deliveries = await deliver(parts.reinjector, { judgement, message }, current)
  const source = (): NoticeSource => noticeSource(judgement, message, quarantine.quarantineId)
  const bounced = await bounce(parts.notifier, { judgement, message, source, deliveries }, signal)
  await remember(recollection, blockedResults(bounced.done, message.id), forgotten)
  tellOthers(parts, { judgement, message }, { deliveries, source })

  const fresh = new Map([...freshReplies(decisions, deliveries, message.id), ...bounced.replies])
  return {
    scans,
    decisions,
    deliveries,
    replies: repliesOf(envelope, done, fresh),
    forgotten,
    bounced: bounced.done.length > 0,
    times,
    ...quarantine,
    ...known,
  }
}

/** A bounce is final when the sender has been told. */
const isFinal = ({ destiny }: Decision): boolean => destiny !== 'bounce'

/** Whoever is told beside the sender of a DSN: planned here, sent when there is time. */
function tellOthers(
  { notifier, rules }: PipelineParts,
  { judgement, message }: Judged,
  { deliveries, source }: { readonly deliveries: Outcome['deliveries']; readonly source: () => NoticeSource },
): void {
  const { context, decisions, mailRules } = judgement
  if (
    !notifier ||
    decisions.every(({ destiny, assessment }) => destiny === 'pass' && assessment.viruses.length === 0)
  )
    return
  const relayed = [...deliveries.values()].filter(({ outcome }) => outcome === 'relayed')
  const planned = planNotices(
    {
      envelope: context.envelope,
      decisions,
      originating: mailRules.facts.originating,
      isLocal: rules.isLocal,
      isAutomatic: isAutomatic(message.header),
      relayed: new Set(relayed.map(({ recipient }) => recipient)),
    },
    notifier.options,
  ).filter(({ kind }) => kind !== 'dsn')
  if (planned.length > 0) notifier.tell(planned, source())
}

const NOTHING_LEFT = {
  bounced: false,
  scans: [],
  decisions: [],
  deliveries: new Map<Recipient, DeliveryResult>(),
}

function withoutDone(envelope: Envelope, done: ReadonlyMap<Recipient, unknown>): Envelope {
  return { ...envelope, recipients: envelope.recipients.filter((recipient) => !done.has(recipient)) }
}

function keptFor(decisions: readonly Decision[]): Recipient[] {
  return decisions.flatMap(({ quarantined, recipient }) => (quarantined ? [recipient] : []))
}

/** A message that has been judged. */
interface Judged {
  readonly judgement: Judgement
  readonly message: Case['message']
}

/** Keeps the message where some recipient's policy wants it; durable when it resolves. */
async function keepCopy(
  store: QuarantineStore,
  { judgement, message }: Judged,
  { recollection, signal }: Try,
): Promise<Pick<Outcome, 'quarantineId'>> {
  const { context, decisions, times } = judgement
  const recipients = keptFor(decisions)
  if (recipients.length === 0) return {}
  const clock = stopwatch()
  await recollection.reserve(context.id, recipients)
  await store.put(quarantineRecord(context, decisions), message, signal)
  times.quarantine = clock()
  return { quarantineId: context.id }
}

/** Hands over the copies, and remembers each as soon as it is done: from here on nothing may make the message fail. */
async function deliver(
  reinjector: Reinjector,
  { judgement, message }: Judged,
  { recollection, forgotten, signal }: Try,
): Promise<Outcome['deliveries']> {
  const { context, decisions, plan, times } = judgement
  const deliveries = new Map<Recipient, DeliveryResult>()
  if (plan.length === 0) return deliveries
  const clock = stopwatch()
  const categories = new Map(decisions.map(({ recipient, category }) => [recipient, category]))
  const onResults = async (results: readonly DeliveryResult[]): Promise<void> => {
    await remember(recollection, finalResults(results, categories, message.id), forgotten)
  }
  const job = { envelope: context.envelope, message, plan, decisions, onResults }
  for (const result of await handOver(reinjector, job, signal)) deliveries.set(result.recipient, result)
  times.reinject = clock()
  return deliveries
}

async function remember(
  recollection: Recollection,
  results: readonly RecipientResult[],
  forgotten: unknown[],
): Promise<void> {
  const error = await failureOf(recollection.record(results))
  if (error !== undefined) forgotten.push(error)
}

/** What it fails with, a bug included: the copy is delivered by then. Absent: it does not. */
async function failureOf(work: Promise<void>): Promise<unknown> {
  try {
    await work
    return undefined
  } catch (error) {
    return error
  }
}

function freshReplies(
  decisions: readonly Decision[],
  deliveries: ReadonlyMap<Recipient, DeliveryResult>,
  id: string,
): ReadonlyMap<Recipient, SmtpReply> {
  return new Map(
    decisions.map((decision) => {
      const result = deliveries.get(decision.recipient)
      return [decision.recipient, result ? deliveryReply(result, id) : blockedReply(decision, id)]
    }),
  )
}

function repliesOf(
  { recipients }: Envelope,
  done: ReadonlyMap<Recipient, LedgerResult>,
  fresh?: ReadonlyMap<Recipient, SmtpReply>,
): SmtpReply[] {
  return recipients.map((recipient) => {
    const reply = done.get(recipient)?.reply ?? fresh?.get(recipient)
    if (!reply) throw new TypeError('a recipient without a reply')
    return reply
  })
}

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

/** The replies that the listener's protocol wants: LMTP one for each recipient, SMTP one. */
export function repliesFor(
  { protocol }: Envelope,
  replies: readonly SmtpReply[],
  id: string,
): readonly SmtpReply[] {
  return protocol === 'lmtp' ? replies : [combineForSmtp(replies, id)]
}
