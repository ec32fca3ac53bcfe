import { blockedCode, formatDate, printable, type Decision, type Envelope } from '@ecluse/core'
import { headerField } from './header.ts'
import {
  composed,
  noticeHeader,
  noticeSubject,
  noticeValues,
  type ComposedNotice,
  type NoticeMessage,
  type NoticeSender,
} from './notice.ts'
import { plainLine } from './plainLine.ts'
import { decodeXtext } from './xforward.ts'

/** A report to write: RFC 3464, with what RFC 3461 wants in it. */
export interface DsnRequest {
  /** Of the message that was not delivered; its sender gets the report. */
  readonly envelope: Envelope
  /** Of the recipients that it tells of; at least one. */
  readonly about: readonly Decision[]
  readonly message: NoticeMessage
  /** The message's header block, as in Message. */
  readonly header: Buffer
  /** The whole message, where it is small enough to go back; absent: the header goes back alone. */
  readonly bytes?: Buffer
  /** When the report is written. */
  readonly date: Date
}

const LF = 0x0a
/** Of the header that goes back; the rest is left out, whole fields at a time. */
const MAX_HEADER_BYTES = 32_768
// oxlint-disable-next-line no-control-regex -- all of ASCII
const ASCII = /^[\x00-\x7f]*$/

/**
 * Writes a delivery status notification (RFC 3464) as multipart/report (RFC 6522): text for people, a block for each
 * recipient, and what goes back of the message: with RET=FULL all of it, otherwise its header. Where a recipient or the
 * sender has a UTF-8 address the parts are those of RFC 6533, which needs SMTPUTF8 on the way.
 */
export async function composeDsn(sender: NoticeSender, request: DsnRequest): Promise<ComposedNotice> {
  const { envelope, about, message, date } = request
  const to = envelope.mailFrom
  const { subject, text } = sender.templates.kinds.dsn
  const recipients = about.map(({ recipient, category, destiny }) => {
    return { address: recipient.address, category, destiny }
  })
  const values = noticeValues(sender, { to, messages: [{ ...message, recipients }] })
  const international = ![to, ...about.map(({ recipient }) => recipient.address)].every((of) =>
    ASCII.test(of),
  )
  const { default: MimeNode } = await import('nodemailer/lib/mime-node')
  const id = `${message.id}.dsn`
  const {
    headers,
    from,
    to: addressee,
    messageId,
    baseBoundary,
    newline,
  } = noticeHeader(sender, {
    to,
    date,
    id,
    submitted: 'auto-replied',
  })
  const root = new MimeNode('multipart/report; report-type=delivery-status', {
    baseBoundary,
    newline,
    textEncoding: 'Q',
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  root.setHeader({
    From: from,
    To: addressee,
    ...headers,
    Subject: noticeSubject(subject, values),
    Date: formatDate(date),
    'Message-ID': messageId,
    ...references(request.header),
  })
  root.createChild('text/plain; charset=utf-8').setContent(text.render(values, (value) => value))
  const status = deliveryStatus(sender.hostname, { ...request, international })
  root
    .createChild(international ? 'message/global-delivery-status' : 'message/delivery-status')
    .setContent(Buffer.from(status, 'utf8'))
  root.createChild().setRaw(returnedPart(request, international))
  return { ...composed(await root.build(), to), smtpUtf8: international }
}

/** So that mail programs show the report below the message; absent: it has no id that could stand in a field. */
function references(header: Buffer): Record<string, string> {
  const id = headerField(header, 'message-id')
  if (id === undefined || !/^<[\x21-\x3b\x3d\x3f-\x7e]{1,250}>$/.test(id)) return {}
  return { 'In-Reply-To': id, References: id }
}

/** The third part of RFC 6522 section 3, with its header: the bytes are those of the message, or quoted-printable. */
function returnedPart({ envelope, header, bytes }: DsnRequest, international: boolean): Buffer {
  const whole = envelope.ret === 'FULL' && bytes !== undefined
  const content = withCrlf(whole ? bytes : cutHeader(header))
  const plain = isSevenBit(content)
  // No encoding may lie around a message (RFC 2046 section 5.2.1), and headers of RFC 6532 need none.
  const quoted = !whole && !international && !plain
  const encoding = quoted ? 'quoted-printable' : plain ? '7bit' : '8bit'
  const [ascii, utf8] = whole
    ? ['message/rfc822', 'message/global']
    : ['text/rfc822-headers', 'message/global-headers']
  const type = international ? utf8 : ascii
  const head = `Content-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), quoted ? Buffer.from(quotedPrintable(content)) : content])
}

/** RFC 2045 section 6.7, line by line; the line ends stay. */
function quotedPrintable(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .split('\r\n')
    .map((line) => {
      const encoded = line.replace(/[^\x20-\x3c\x3e-\x7e]| $/g, hexEscape)
      // An escape is never split: 24 of them are 72 characters.
      return (encoded.match(/(?:=[0-9A-F]{2}|[^=]){1,24}/g) ?? []).join('=\r\n')
    })
    .join('\r\n')
}

function hexEscape(character: string): string {
  return `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

/** As it goes out in any case: the library needs a second for 256 KiB of bare LF, in which nothing else is done. */
function withCrlf(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1')
  return /(?<!\r)\n/.test(text) ? Buffer.from(text.replace(/(?<!\r)\n/g, '\r\n'), 'latin1') : bytes
}

const MAX_LINE_BYTES = 998

/** RFC 2045 section 2.7: ASCII without NUL, in lines of at most 998. Byte by byte: of millions of lines, too. */
function isSevenBit(bytes: Buffer): boolean {
  let lineStart = 0
  for (let at = 0; at <= bytes.length; at++) {
    const byte = bytes[at] ?? LF
    if (byte === 0 || byte > 0x7f) return false
    if (byte !== LF) continue
    if (at - lineStart > MAX_LINE_BYTES) return false
    lineStart = at + 1
  }
  return true
}

/** Whole lines, and no more than a reader needs. */
function cutHeader(header: Buffer): Buffer {
  if (header.length <= MAX_HEADER_BYTES) return header
  const end = header.lastIndexOf('\n', MAX_HEADER_BYTES - 1)
  return header.subarray(0, end === -1 ? MAX_HEADER_BYTES : end + 1)
}

/**
 * The fields of RFC 3464 section 2: one block for the message, then one for each recipient, an empty line between them.
 * ASCII, but for addresses where it is `international` (RFC 6533 section 3).
 */
function deliveryStatus(
  hostname: string,
  {
    envelope,
    about,
    message,
    date,
    international,
  }: Omit<DsnRequest, 'header' | 'bytes'> & { readonly international: boolean },
): string {
  const envid = envelope.envid === undefined ? undefined : decodeXtext(envelope.envid)
  const blocks = [
    [
      // Section 2.2.1: as it was before it became xtext.
      ...(envid !== undefined && /^[\x20-\x7e]+$/.test(envid) ? [`Original-Envelope-Id: ${envid}`] : []),
      `Reporting-MTA: dns; ${hostname}`,
      `Arrival-Date: ${formatDate(message.date)}`,
    ],
    ...about.map((decision) => recipientBlock(decision, { id: message.id, date, international })),
  ]
  return blocks.map((lines) => lines.map((line) => `${line}\r\n`).join('')).join('\r\n')
}

function recipientBlock(
  decision: Decision,
  { id, date, international }: { readonly id: string; readonly date: Date; readonly international: boolean },
): string[] {
  const { address, orcpt } = decision.recipient
  const { code, enhanced } = blockedCode(decision.category)
  const original = orcpt === undefined ? undefined : originalRecipient(orcpt)
  const type = international && !ASCII.test(address) ? 'utf-8' : 'rfc822'
  return [
    ...(original === undefined ? [] : [`Original-Recipient: ${original}`]),
    // Only what could end the line: quoted local parts may hold anything else.
    `Final-Recipient: ${type}; ${international ? plainLine(address, 512) : printable(address, 512)}`,
    'Action: failed',
    `Status: ${enhanced}`,
    `Diagnostic-Code: smtp; ${code} ${enhanced} id=${id} - ${printable(decision.reason, 450)}`,
    `Last-Attempt-Date: ${formatDate(date)}`,
    `Final-Log-ID: ${id}`,
  ]
}

/** RFC 3464 section 2.3.1: the type as given, the address no longer as xtext. Absent: it cannot stand in a field. */
function originalRecipient(orcpt: string): string | undefined {
  const semicolon = orcpt.indexOf(';')
  const type = orcpt.slice(0, semicolon)
  const encoded = orcpt.slice(semicolon + 1)
  if (!/^[A-Za-z0-9-]{1,40}$/.test(type)) return undefined
  // RFC 6533 section 3 has an encoding of its own, which stands in ASCII fields as it is.
  const address = type.toLowerCase() === 'utf-8' ? encoded : decodeXtext(encoded)
  return address !== undefined && /^[\x21-\x7e][\x20-\x7e]{0,500}$/.test(address)
    ? `${type}; ${address}`
    : undefined
}
