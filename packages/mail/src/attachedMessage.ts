import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { formatDate } from '@ecluse/core'
import type { OutgoingMessage } from './outgoing.ts'

/** The message that stands around another one. Values are of our own making: ASCII without line ends, but for `text`. */
export interface Note {
  readonly from: string
  /** Addresses as the envelope has them, without brackets. At least one. */
  readonly to: readonly string[]
  readonly subject: string
  readonly date: Date
  /** Without its brackets. */
  readonly messageId: string
  /** Plain ASCII, lines with LF. */
  readonly text: string
}

/**
 * A short note with the message attached as message/rfc822 (RFC 2046 section 5.2.1). Its bytes stay as they are: such a
 * part may have no encoding but 7bit, 8bit or binary.
 */
export function attachMessage(note: Note, original: OutgoingMessage): OutgoingMessage {
  const boundary = `=_${randomBytes(24).toString('hex')}`
  // RFC 6532 section 3.2: an address beyond ASCII is UTF-8.
  const head = Buffer.from(headOf(note, boundary))
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  return {
    sizeBytes: head.length + original.sizeBytes + tail.length,
    open: () => Readable.from(inOrder(head, original, tail), { objectMode: false }),
  }
}

function headOf({ from, to, subject, date, messageId, text }: Note, boundary: string): string {
  return [
    `From: <${from}>`,
    `To: ${to.map((address) => `<${onOneLine(address)}>`).join(',\r\n ')}`,
    `Subject: ${subject}`,
    `Date: ${formatDate(date)}`,
    `Message-ID: <${messageId}>`,
    // RFC 3834 section 5: nobody's vacation notice answers it.
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=us-ascii',
    '',
    ...text.split('\n'),
    `--${boundary}`,
    'Content-Type: message/rfc822',
    'Content-Transfer-Encoding: 8bit',
    'Content-Disposition: attachment; filename="message.eml"',
    '',
    '',
  ].join('\r\n')
}

/** No address may begin a line of its own. */
function onOneLine(address: string): string {
  // oxlint-disable-next-line no-control-regex -- replacing them is the purpose
  return address.replace(/[\x00-\x1f\x7f]/g, '?')
}

async function* inOrder(head: Buffer, message: OutgoingMessage, tail: Buffer): AsyncGenerator<Buffer> {
  yield head
  yield* message.open() as AsyncIterable<Buffer>
  yield tail
}
