import type { DeliveryResult } from '@ecluse/core'
import {
  releaseMessage,
  type QuarantinedMessage,
  type QuarantineEntry,
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
  const results = await releaseBy(task, message, { to, force, ...(as && { as }) })
  for (const result of results) await print(context.stdout, `${resultText(result)}\n`)
  const released = results.filter(({ outcome }) => outcome === 'relayed')
  const taught = learn === undefined || (await teach(task, message, learn))
  if (released.length > 0) await print(context.stdout, allowHint(message.entry, released))
  return taught && released.length === results.length ? 0 : 1
}

/** The same, as the command is configured. @throws FilterError E_QUARANTINE */
export async function releaseBy(
  { setup, context }: Task,
  message: QuarantinedMessage,
  wish: ReleaseWish,
): Promise<DeliveryResult[]> {
  const { store, hostname } = setup
  const { now, user: by, signal } = context
  const gate = setup.openGate()
  try {
    return await releaseMessage({ store, gate, hostname }, message, { ...wish, now, by, signal })
  } finally {
    await gate.close()
  }
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
