import { pipeline } from 'node:stream/promises'
import { FilterError } from '@ecluse/core'
import type { QuarantinedMessage } from '@ecluse/quarantine'
import { tellOf } from './list.ts'
import { usage } from './options.ts'
import { goOn, printBytes, type Task } from './task.ts'

/** `export`: one message as it is, or those that the filter chooses as an mbox (RFC 4155), to stdout. */
export async function exportMail(task: Task): Promise<number> {
  const { setup, context, options, id } = task
  const { stdout } = context
  if (id !== '' && options.format === 'eml') {
    await pipeline((await setup.store.open(id)).open(), stdout, { end: false })
    return 0
  }
  if (options.format === 'eml') throw usage('quarantine export: of which message? (--format mbox takes many)')
  if (id !== '') {
    await writeMbox(task, await setup.store.open(id))
    return 0
  }
  let whole = true
  for await (const item of setup.store.list(options.filter, { onDamaged: tellOf(context) })) {
    goOn(context, 'export: not all is written')
    const message = await openOne(task, item.id)
    if (message === undefined) whole = false
    else await writeMbox(task, message)
  }
  return whole ? 0 : 1
}

/** Absent: it cannot be read, and stderr says so. */
async function openOne({ setup, context }: Task, id: string): Promise<QuarantinedMessage | undefined> {
  try {
    return await setup.store.open(id)
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    tellOf(context)(error)
    return undefined
  }
}

/** A line that is longer is written in pieces. */
const MAX_LINE = 64 * 1024

/** As mutt and procmail read it (mboxrd): LF, and one more `>` before each line of `>` and `From `. */
async function writeMbox({ context }: Task, message: QuarantinedMessage): Promise<void> {
  const { entry } = message
  const { mailFrom } = entry.envelope
  const sender = /^[\x21-\x7e]{1,254}$/.test(mailFrom) ? mailFrom : 'MAILER-DAEMON'
  const write = async (text: string): Promise<void> => await printBytes(context.stdout, text)
  await write(`From ${sender} ${asctime(entry.storedAt)}\n`)
  let rest = ''
  let begins = true
  for await (const chunk of message.open() as AsyncIterable<Buffer>) {
    const lines = `${rest}${chunk.toString('latin1')}`.split('\n')
    rest = lines.pop() ?? ''
    let text = ''
    for (const line of lines) {
      text += `${begins ? quoted(line) : line}`.replace(/\r$/, '') + '\n'
      begins = true
    }
    if (rest.length > MAX_LINE) {
      text += begins ? quoted(rest) : rest
      begins = false
      rest = ''
    }
    await write(text)
  }
  const last = begins ? quoted(rest) : rest
  await write(last === '' && begins ? '\n' : `${last}\n\n`)
}

function quoted(line: string): string {
  return /^>*From /.test(line) ? `>${line}` : line
}

/** `Tue Nov 24 08:00:00 2026`, in UTC (RFC 4155). */
function asctime(date: Date): string {
  // `Tue, 24 Nov 2026 08:00:00 GMT`: ECMA-262 prescribes it.
  const [day = '', dayOfMonth = '', month = '', year = '', time = ''] = date.toUTCString().split(/,? /)
  return `${day} ${month} ${String(Number(dayOfMonth)).padStart(2)} ${time} ${year}`
}
