import type { Decision, Delivery, DeliveryResult, Destiny, Envelope, Message, Recipient } from '@ecluse/core'
import { editMessage, type Reinjector } from '@ecluse/mail'

/** The copies of one message, and whom they are for. */
export interface DeliveryJob {
  readonly envelope: Envelope
  readonly message: Message
  readonly plan: readonly Delivery[]
  readonly decisions: readonly Decision[]
  /** Told of each copy as soon as the next hop has answered; waited for. */
  readonly onResults: (results: readonly DeliveryResult[]) => Promise<void>
}

/** Copies of one message on their way at the same time: one message must not take all connections. */
const PARALLEL_COPIES = 5

/**
 * Hands over every copy; one result for each recipient of the plan, in no order. A copy that failed does not undo
 * another: a failure is a result, and only `onResults` can make it reject.
 */
export async function handOver(
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

/** Whether all recipients get it or none: SMTP has one reply for all. */
export function isAllOrNothing({ protocol }: Envelope): boolean {
  return protocol === 'smtp'
}

/** Whether nobody gets the message since somebody is refused. */
export function withholdsAll(envelope: Envelope, decisions: readonly Decision[]): boolean {
  return isAllOrNothing(envelope) && decisions.some(({ destiny }) => REFUSING.has(destiny))
}

const REFUSING: ReadonlySet<Destiny> = new Set(['reject', 'tempfail'])

/** The result of a recipient that got nothing since another one was refused. */
export function withheld(recipient: Recipient): DeliveryResult {
  return { recipient, outcome: 'withheld' }
}
