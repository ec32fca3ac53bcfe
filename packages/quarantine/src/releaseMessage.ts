import { FilterError, type DeliveryResult, type Envelope, type Recipient } from '@ecluse/core'
import { attachMessage, type OutgoingMessage } from '@ecluse/mail'
import type { QuarantineEntry, ReleaseForm } from './record.ts'
import { releasePlan, resentFields, withFields, type ReleaseWish } from './release.ts'
import type { QuarantinedMessage, QuarantineStore } from './store.ts'

/** What hands a released message to Postfix; the reinjector of the mail package is one. */
export interface ReleaseGate {
  /** One result for each recipient, in order. */
  deliver(
    request: {
      readonly id: string
      readonly envelope: Envelope
      readonly recipients: readonly Recipient[]
      readonly message: OutgoingMessage
      readonly allOrNothing: boolean
    },
    signal: AbortSignal,
  ): Promise<DeliveryResult[]>
}

/** What a release works with. Nothing of it is closed. */
export interface ReleaseParts {
  readonly store: Pick<QuarantineStore, 'markReleased'>
  readonly gate: ReleaseGate
  /** Our own: it stands in what we add. */
  readonly hostname: string
}

/** One release: what is asked for, and by whom. */
export interface ReleaseRequest extends ReleaseWish {
  readonly now: Date
  /** Who does it: stands in the record. */
  readonly by: string
  readonly signal: AbortSignal
}

/**
 * Hands it to Postfix, and records who got it.
 *
 * @returns one result for each recipient, in order
 * @throws FilterError E_QUARANTINE when it may not go, and when it went and that could not be recorded
 */
export async function releaseMessage(
  { store, gate, hostname }: ReleaseParts,
  { entry, ...original }: QuarantinedMessage,
  { now, by, signal, ...wish }: ReleaseRequest,
): Promise<DeliveryResult[]> {
  const { id } = entry
  const plan = releasePlan(entry, wish)
  if (plan.action === 'refuse') {
    throw new FilterError('E_QUARANTINE', `${id}: ${plan.reason}`, { hint: plan.hint })
  }
  const { as } = plan
  const { envelope, message } = copyOf({ entry, original, as, envelope: plan.envelope }, hostname, now)
  const { recipients } = envelope
  const results = await gate.deliver({ id, envelope, recipients, message, allOrNothing: false }, signal)
  const to = results.flatMap(({ outcome, recipient }) => (outcome === 'relayed' ? [recipient.address] : []))
  if (to.length > 0) await store.markReleased(id, { at: now, by, to, as })
  return results
}

interface Copy {
  readonly entry: QuarantineEntry
  readonly original: OutgoingMessage
  readonly as: ReleaseForm
  readonly envelope: Envelope
}

function copyOf(
  { entry, original, as, envelope }: Copy,
  hostname: string,
  date: Date,
): { readonly envelope: Envelope; readonly message: OutgoingMessage } {
  const { id } = entry
  const { recipients } = envelope
  switch (as) {
    case 'plain':
      return { envelope, message: original }
    case 'resend':
      return { envelope, message: withFields(original, resentFields(recipients, { id, hostname, date })) }
    case 'attachment': {
      const note = {
        from: `postmaster@${hostname}`,
        to: recipients.map(({ address }) => address),
        subject: `Message ${id} from the quarantine`,
        date,
        messageId: `${id}.${date.getTime()}@${hostname}`,
        text: noteText(entry),
      }
      // It is mail of ours: nothing of the other's envelope is true of it.
      const { protocol, peer, listener, smtpUtf8 } = envelope
      const from = {
        protocol,
        peer,
        listener,
        smtpUtf8,
        mailFrom: note.from,
        body: '8BITMIME',
        client: {},
      } as const
      return { envelope: { ...from, recipients }, message: attachMessage(note, original) }
    }
  }
}

function noteText({ id, storedAt, outcomes }: QuarantineEntry): string {
  const reasons = [...new Set(outcomes.map(({ reason }) => reason).filter((reason) => reason !== ''))]
  return [
    `The attached message was kept in the quarantine on ${storedAt.toISOString()}`,
    `as ${id}: ${reasons.join('; ').slice(0, 400) || 'no reason is known'}.`,
    '',
    'It was released by hand. Do not open what you do not expect.',
    '',
  ].join('\n')
}
