import { FilterError, type DeliveryResult, type Envelope } from '@ecluse/core'
import { attachMessage, type OutgoingMessage } from '@ecluse/mail'
import {
  releasePlan,
  resentFields,
  withFields,
  type QuarantinedMessage,
  type QuarantineEntry,
  type ReleaseForm,
  type ReleaseWish,
} from '@ecluse/quarantine'
import { escapeControls } from '../terminal.ts'
import { teach } from './learn.ts'
import { print, type Task } from './task.ts'
import { resultText } from './text.ts'

/** `release`: back through the re-entry service, where nothing is filtered; recorded for those who got it. */
export async function release(task: Task): Promise<number> {
  const { setup, context, options, id } = task
  const message = await setup.store.open(id)
  const { to, force, as, learn } = options
  const results = await releaseMessage(task, message, { to, force, ...(as && { as }) })
  for (const result of results) await print(context.stdout, `${resultText(result)}\n`)
  const released = results.filter(({ outcome }) => outcome === 'relayed')
  const taught = learn === undefined || (await teach(task, message, learn))
  if (released.length > 0) await print(context.stdout, allowHint(message.entry, released))
  return taught && released.length === results.length ? 0 : 1
}

/**
 * Hands it to Postfix, and records who got it.
 *
 * @returns one result for each recipient, in order
 * @throws FilterError E_QUARANTINE when it may not go, and when it went and that could not be recorded
 */
export async function releaseMessage(
  { setup, context }: Task,
  { entry, ...original }: QuarantinedMessage,
  wish: ReleaseWish,
): Promise<DeliveryResult[]> {
  const { id } = entry
  const plan = releasePlan(entry, wish)
  if (plan.action === 'refuse') {
    throw new FilterError('E_QUARANTINE', `${id}: ${plan.reason}`, { hint: plan.hint })
  }
  const { as } = plan
  const { envelope, message } = copyOf(
    { entry, original, as, envelope: plan.envelope },
    setup.hostname,
    context.now,
  )
  const { recipients } = envelope
  const gate = setup.openGate()
  try {
    const request = { id, envelope, recipients, message, allOrNothing: false }
    const results = await gate.deliver(request, context.signal)
    const to = results.flatMap(({ outcome, recipient }) => (outcome === 'relayed' ? [recipient.address] : []))
    if (to.length > 0) await setup.store.markReleased(id, { at: context.now, by: context.user, to, as })
    return results
  } finally {
    await gate.close()
  }
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

/** How the next mail of that sender comes through by itself; not for the null sender, which is everybody. */
function allowHint({ envelope, outcomes }: QuarantineEntry, released: readonly DeliveryResult[]): string {
  const { mailFrom } = envelope
  const isSpam = outcomes.some(({ category }) => category === 'spam' || category === 'spammy')
  if (!isSpam || mailFrom === '' || !/^[\w.+=-]+@[\w.-]+$/.test(mailFrom)) return ''
  const recipients = released
    .map(({ recipient }) => recipient.address)
    .filter((to) => /^[\w.+=-]+@[\w.-]+$/.test(to))
  if (recipients.length === 0) return ''
  return (
    'To let mail of this sender through, add to `senders:` of the configuration\n' +
    `  - { action: allow, senders: [${escapeControls(mailFrom)}], recipients: [${recipients.join(', ')}] }\n`
  )
}
