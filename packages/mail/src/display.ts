import { Readable, Transform, type TransformCallback } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { FilterError } from '@ecluse/core'
import type { AddressObject, AttachmentStream, MailParser } from 'mailparser'
import { headerField } from './header.ts'

/** How much of a message is read for people. */
export interface DisplayLimits {
  /** Bytes of the message; what comes after them is not looked at. */
  readonly inputBytes: number
  /** Characters of the text, and of each header value. */
  readonly textLength: number
  readonly valueLength: number
  /** Attachments named. */
  readonly attachments: number
  /** MIME parts, nested or not. */
  readonly parts: number
}

/** Enough for any mail of people to people; a hostile one costs well below a second. */
export const DISPLAY_LIMITS: DisplayLimits = {
  inputBytes: 8 * 1024 * 1024,
  textLength: 20_000,
  valueLength: 2000,
  attachments: 100,
  parts: 200,
}

/** An attachment as people are told of it; its bytes are not kept. */
export interface DisplayedAttachment {
  /** As the message names it, decoded; absent: it has no name. */
  readonly name?: string
  /** Media type as the message claims it. */
  readonly type: string
  /** Decoded; as far as it was read. */
  readonly sizeBytes: number
}

/** A message as people read it. Every string is the sender's: it may hold controls, and lie. */
export interface DisplayedMessage {
  readonly subject?: string
  readonly from?: string
  readonly to?: string
  readonly date?: Date
  /** Plain text, or the HTML as text where there is no other; '' where there is none at all. */
  readonly text: string
  /** In the order of the message. */
  readonly attachments: readonly DisplayedAttachment[]
  /** Whether a limit was reached, or the parser gave up: then there is more than is shown. */
  readonly truncated: boolean
}

/** RFC 2046 section 4.5.1. */
const UNKNOWN_TYPE = 'application/octet-stream'
const MAX_HTML_LENGTH = 256 * 1024
const MAX_HEAD_BYTES = 256 * 1024

/**
 * Reads a message for people to look at, never to decide on: mailparser sees one reading of an ambiguous message.
 * Attachments are measured, not held. Whatever the message is, it answers, with what could be read.
 *
 * @throws FilterError E_ABORTED when `signal` aborts; the error of `source` as it is.
 */
export async function describeMessage(
  source: Readable,
  limits: DisplayLimits,
  signal: AbortSignal,
): Promise<DisplayedMessage> {
  // Loaded when somebody looks: it takes 20 MB of memory, and the filter needs none of it.
  const mailparser = await import('mailparser')
  const parser = new mailparser.MailParser({
    checksumAlgo: false,
    // An embedded message is an attachment here: no nesting of messages.
    ignoreEmbedded: true,
    maxChildNodes: limits.parts,
    maxHeadSize: MAX_HEAD_BYTES,
    // Its converter takes seconds, without giving way, for 12 KiB of nested quotations.
    skipHtmlToText: true,
    skipImageLinks: true,
    skipTextLinks: true,
    skipTextToHtml: true,
  })
  const found: FoundParts = { text: '', attachments: [], truncated: false }
  const first = new FirstBytes(limits.inputBytes)
  try {
    // As a Transform: the overloads of MailParser's own `on` are too narrow for pipeline.
    await pipeline(
      source,
      first,
      parser as Transform,
      async (items: AsyncIterable<unknown>) => await collect(items, { found, limits }),
      { signal },
    )
  } catch (cause) {
    if (signal.aborted) throw new FilterError('E_ABORTED', 'reading a message for display', { cause })
    if (source.errored) throw source.errored
    found.truncated = true
  }
  return describe(parser, found, { limits, cut: first.cut })
}

interface FoundParts {
  text: string
  readonly attachments: { readonly stream: AttachmentStream; sizeBytes: number }[]
  truncated: boolean
}

async function collect(
  items: AsyncIterable<unknown>,
  { found, limits }: { readonly found: FoundParts; readonly limits: DisplayLimits },
): Promise<void> {
  for await (const item of items as AsyncIterable<
    AttachmentStream | { type: 'text'; text?: string; html?: string }
  >) {
    if (item.type === 'text') {
      const { html = '' } = item
      const text = item.text?.trim() ? item.text : htmlText(html.slice(0, MAX_HTML_LENGTH))
      found.truncated ||= html.length > MAX_HTML_LENGTH
      found.text = text.slice(0, limits.textLength)
      found.truncated ||= text.length > limits.textLength
    } else measure(item, found, limits)
  }
}

/** Not awaited: the parser waits for `release` by itself, and where it fails the content never ends. */
function measure(stream: AttachmentStream, found: FoundParts, limits: DisplayLimits): void {
  const attachment = { stream, sizeBytes: 0 }
  if (found.attachments.length < limits.attachments) found.attachments.push(attachment)
  else found.truncated = true
  stream.content.on('data', (chunk: Buffer) => {
    attachment.sizeBytes += chunk.length
  })
  stream.content.on('error', () => {
    found.truncated = true
    stream.release?.()
  })
  stream.content.on('end', () => stream.release?.())
}

function describe(
  parser: MailParser,
  { text, attachments, truncated }: FoundParts,
  { limits, cut }: { readonly limits: DisplayLimits; readonly cut: boolean },
): DisplayedMessage {
  const value = (of: string | undefined): string | undefined => of?.slice(0, limits.valueLength)
  const shown = {
    subject: value(parser.subject),
    from: value(addressText(parser.from)),
    to: value(addressText(parser.to)),
    date: dateOf(parser),
  }
  return {
    ...(shown.subject !== undefined && { subject: shown.subject }),
    ...(shown.from !== undefined && { from: shown.from }),
    ...(shown.to !== undefined && { to: shown.to }),
    ...(shown.date !== undefined && { date: shown.date }),
    text,
    attachments: attachments.map(({ stream: { filename, contentType }, sizeBytes }) => {
      const name = value(filename)
      return {
        ...(name !== undefined && { name }),
        // mailparser: false for a Content-Type without a value.
        type: (contentType || UNKNOWN_TYPE).slice(0, limits.valueLength),
        sizeBytes,
      }
    }),
    truncated: truncated || cut,
  }
}

function addressText(of: AddressObject | AddressObject[] | undefined): string | undefined {
  return of === undefined
    ? undefined
    : [of]
        .flat()
        .map(({ text }) => text)
        .join(', ')
}

/** mailparser takes the present time for a date that it cannot read. */
function dateOf(parser: MailParser): Date | undefined {
  const line = parser.headerLines ? parser.headerLines.find(({ key }) => key === 'date')?.line : undefined
  const date = new Date(line?.slice(line.indexOf(':') + 1, 200).trim() ?? '')
  return Number.isNaN(date.getTime()) ? undefined : date
}

/** Passes the first bytes on and takes the rest without looking at it. */
class FirstBytes extends Transform {
  cut = false
  private left: number

  constructor(count: number) {
    super()
    this.left = count
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (chunk.length > this.left) this.cut = true
    const part = chunk.subarray(0, this.left)
    this.left -= part.length
    if (part.length > 0) this.push(part)
    done()
  }
}

const LINES =
  /^\/?(?:p|br|div|h[1-6]|tr|li|ul|ol|dl|dt|dd|table|hr|pre|blockquote|section|article|header|footer)$/
const HIDDEN = new Set(['script', 'style', 'title', 'template', 'noscript'])
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  apos: "'",
  gt: '>',
  lt: '<',
  nbsp: ' ',
  quot: '"',
}

/** Text of an HTML part, in one pass: tags away, blocks on lines of their own. Never used to decide on anything. */
function htmlText(html: string): string {
  const lower = html.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  const pieces: string[] = []
  for (let at = 0; at !== -1 && at < html.length;) {
    const tag = html.indexOf('<', at)
    pieces.push(html.slice(at, tag === -1 ? undefined : tag).replace(/\s+/g, ' '))
    if (tag === -1) break
    const name = /^\/?[a-z][a-z0-9]{0,15}/.exec(lower.slice(tag + 1, tag + 18))?.[0] ?? ''
    if (name === '' && !/[!?/]/.test(html.charAt(tag + 1))) {
      pieces.push('<')
      at = tag + 1
      continue
    }
    if (LINES.test(name)) pieces.push('\n')
    const comment = html.startsWith('<!--', tag)
    const from = HIDDEN.has(name) ? lower.indexOf(`</${name}`, tag) : tag
    const close = from === -1 ? -1 : html.indexOf(comment ? '-->' : '>', from)
    at = close === -1 ? -1 : close + (comment ? 3 : 1)
  }
  const text = pieces.join('').replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,4}));/gi, entity)
  return text
    .replace(/ {2,}/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
}

function entity(whole: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole
  const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal)
  return code > 0 && code <= 0x10_ffff ? String.fromCodePoint(code) : whole
}

// RFC 2047 for one header value, at once and bounded: mailparser decodes only in its stream.
const MAX_VALUE = 4096
const WORD = /=\?([\w.:+-]{1,40})(?:\*[\w-]{0,40})?\?([BbQq])\?([^?\s]{0,1000})\?=/g

/**
 * The Subject of a header block, unfolded and decoded; absent: there is none. Of several, the first. What cannot be
 * decoded stays as it stands. Hostile: controls and anything else may be in it.
 */
export function headerSubject(header: Buffer): string | undefined {
  const value = headerField(header, 'subject')?.slice(0, MAX_VALUE)
  return value === undefined ? undefined : decodeWords(value)
}

/** Decodes the encoded words in a value that was read as latin1. */
function decodeWords(value: string): string {
  const pieces: string[] = []
  let open: { readonly charset: string; readonly bytes: Buffer[] } | undefined
  let end = 0
  const close = (): void => {
    if (open) pieces.push(decode(Buffer.concat(open.bytes), open.charset))
    open = undefined
  }
  for (const word of value.matchAll(WORD)) {
    const [whole, charset = '', encoding = '', text = ''] = word
    if (!isKnown(charset)) continue
    const between = value.slice(end, word.index)
    // Blanks between two encoded words are not part of the text (section 6.2); nor, in practice, is a split in the
    // middle of a character.
    const joins = open !== undefined && /^[ \t]*$/.test(between)
    if (!joins || open?.charset !== charset.toLowerCase()) close()
    if (!joins) pieces.push(plain(between))
    open ??= { charset: charset.toLowerCase(), bytes: [] }
    open.bytes.push(encoding.toLowerCase() === 'b' ? Buffer.from(text, 'base64') : fromQ(text))
    end = word.index + whole.length
  }
  close()
  return pieces.join('') + plain(value.slice(end))
}

function fromQ(text: string): Buffer {
  const bytes = text
    .replaceAll('_', ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1')
}

/** Raw 8-bit text: UTF-8 where it is (RFC 6532), else the charset that it most often is. */
function plain(latin1: string): string {
  const bytes = Buffer.from(latin1, 'latin1')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return decode(bytes, 'windows-1252')
  }
}

function decode(bytes: Buffer, charset: string): string {
  return new TextDecoder(charset).decode(bytes)
}

function isKnown(charset: string): boolean {
  try {
    return new TextDecoder(charset).encoding !== ''
  } catch {
    // A charset that nobody here knows: the word stays as it stands.
    return false
  }
}
