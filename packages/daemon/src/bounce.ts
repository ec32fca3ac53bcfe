import {
  blockedReply,
  deliveryReply,
  planDsn,
  type Decision,
  type DeliveryResult,
  type Envelope,
  type Message,
  type Recipient,
  type SmtpReply,
} from '@ecluse/core'
import { headerSubject, type NoticeMessage } from '@ecluse/mail'
import { ledgerKey } from '@ecluse/state'
import { isAllOrNothing, withheld } from './handOver.ts'
import type { Judgement } from './judge.ts'
import type { NoticeSource } from './noticeOutbox.ts'
import type { Notifier } from './notify.ts'

/** What a message whose sender is told of it looks like. */
export function noticeSource(
  { context: { envelope, id, date } }: Judgement,
  message: Message,
  kept: string | undefined,
): NoticeSource {
  const subject = headerSubject(message.header)
  const { client, mailFrom } = envelope
  const key = ledgerKey(envelope, message.digest)
  const told: NoticeMessage = {
    id,
    date,
    mailFrom,
    sizeBytes: message.sizeBytes,
    viruses: [],
    recipients: [],
    ...(kept !== undefined && { kept }),
    ...(subject !== undefined && { subject }),
    ...(client.address !== undefined && { client: client.address }),
    ...(client.queueId !== undefined && { queueId: client.queueId }),
  }
  return { envelope, message: told, ...(key !== undefined && { ledgerKey: key }) }
}

/** The place in the budget that one message may have. */
export interface BounceLease {
  readonly mayBounce: () => boolean
  /** Gives the place back, unless a DSN was sent. */
  end(sent: boolean): void
}

/** @param notifier absent: no DSN may be sent */
export function leaseBounce(notifier: Notifier | undefined): BounceLease {
  let taken = false
  return {
    mayBounce() {
      taken ||= notifier?.budget.take() === true
      return taken
    },
    end(sent) {
      if (taken && !sent) notifier?.budget.giveBack()
      taken = false
    },
  }
}

/** What bouncing has come to. */
export interface Bounced {
  /** For the recipients whose destiny is bounce. */
  readonly replies: ReadonlyMap<Recipient, SmtpReply>
  /** The decisions whose sender has been told: they are done for good. */
  readonly done: readonly Decision[]
}

const NOTHING: Bounced = { replies: new Map(), done: [] }

/**
 * Tells the sender, before anything is answered, that the message was not delivered to some recipients. Where the DSN
 * cannot be sent now, these recipients are deferred, so that nobody believes that the mail has come. Where it is refused
 * for good, Postfix is left to tell the sender, who is one of our own; over SMTP, with one reply, it comes again.
 *
 * @param deliveries what the next hop said for the others: over SMTP nothing is told while the message may come again
 */
export async function bounce(
  notifier: Notifier | undefined,
  job: {
    readonly judgement: Judgement
    readonly message: Message
    readonly source: () => NoticeSource
    readonly deliveries: ReadonlyMap<Recipient, DeliveryResult>
  },
  signal: AbortSignal,
): Promise<Bounced> {
  const { judgement, message, source, deliveries } = job
  const { context, decisions } = judgement
  const { envelope, id } = context
  const bounces = decisions.filter(({ destiny }) => destiny === 'bounce')
  if (bounces.length === 0) return NOTHING
  const answer = (reply: (decision: Decision) => SmtpReply): Bounced['replies'] =>
    new Map(bounces.map((decision) => [decision.recipient, reply(decision)]))
  const [planned] = planDsn({ envelope, decisions })
  if (!notifier || !planned || comesAgain(envelope, deliveries)) {
    return { replies: answer(({ recipient }) => deliveryReply(withheld(recipient), id)), done: [] }
  }
  const { header, bytes } = message
  const result = await notifier.bounce(planned, { ...source(), header, ...(bytes && { bytes }) }, signal)
  if (result.outcome === 'relayed')
    return { replies: answer((decision) => blockedReply(decision, id)), done: bounces }
  const refused = result.outcome === 'refused' && result.line.startsWith('5')
  if (refused && !isAllOrNothing(envelope)) {
    return { replies: answer((decision) => blockedReply({ ...decision, destiny: 'reject' }, id)), done: [] }
  }
  const deferred = refused ? withheld(planned.about[0]?.recipient ?? { address: '' }) : result
  return { replies: answer(() => deliveryReply(deferred, id)), done: [] }
}

/** Whether Postfix brings the whole message again. */
function comesAgain(envelope: Envelope, deliveries: ReadonlyMap<Recipient, DeliveryResult>): boolean {
  return isAllOrNothing(envelope) && [...deliveries.values()].some(({ outcome }) => outcome !== 'relayed')
}
