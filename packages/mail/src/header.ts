import { Readable } from 'node:stream'
import type { HeaderEdit, Message } from '@ecluse/core'
import { FieldSpoiler } from './longHeader.ts'
import type { OutgoingMessage } from './outgoing.ts'

/** RFC 5322 section 2.1.1: a line should be no longer than this. */
const FOLD_COLUMN = 78

/** RFC 5322 section 3.6.8 names, then optional blanks (section 4.5), then the colon. */
const FIELD_NAME = /^([\x21-\x39\x3b-\x7e]+)[ \t]*:/

/** Limit of the header block that is looked at; Postfix's own header_size_limit is 102,400 bytes. */
export const MAX_HEADER_BYTES = 1024 * 1024

/** Where the header block of a message ends. */
export interface HeaderEnd {
  /** Bytes of its fields and of the empty line that ends it. */
  readonly length: number
  /** Whether these bytes show its end; false: it may go on behind them. */
  readonly certain: boolean
}

/**
 * Finds the end of the header block. As Postfix's cleanup(8) sees it, a line that is neither field nor continuation
 * begins the body, without an empty line. A bare CR or LF ends a line too, since it does so after the way through
 * Postfix.
 *
 * @param bytes the message, or its beginning; not more than {@link MAX_HEADER_BYTES} of it are looked at
 */
export function findHeaderEnd(bytes: Buffer): HeaderEnd {
  // A quick search for the usual end; the slow walk below only judges what comes before it.
  const end = bytes.indexOf('\r\n\r\n')
  const block = bytes.toString('latin1', 0, Math.min(MAX_HEADER_BYTES, end === -1 ? bytes.length : end + 4))
  const lineEnd = /\r\n|\n|\r/g
  let start = 0
  for (let match = lineEnd.exec(block); match; match = lineEnd.exec(block)) {
    if (match.index === start) return { length: lineEnd.lastIndex, certain: true }
    const continues = start > 0 && (block[start] === ' ' || block[start] === '\t')
    if (!continues && !isField(block, start, match.index)) return { length: start, certain: true }
    start = lineEnd.lastIndex
  }
  return { length: isField(block, start, block.length) ? block.length : start, certain: false }
}

function isField(block: string, start: number, end: number): boolean {
  // Names and the blanks behind them have any length, as for Postfix: what it takes for a field, we may have to remove.
  return FIELD_NAME.test(block.slice(start, end))
}

/** Lines with their ends: CRLF, bare LF or bare CR. */
function linesOf(block: string): string[] {
  return block.match(/[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+$/g) ?? []
}

/**
 * The message with the edits applied to its header. Not one body byte changes, nor a header byte of a field that
 * stays; new fields stand above the first original one. Where there was no header, an empty line ends the new one.
 *
 * Behind the first {@link MAX_HEADER_BYTES} fields are not removed, but get another name ({@link FieldSpoiler}).
 */
export function editMessage(message: Message, edits: readonly HeaderEdit[]): OutgoingMessage {
  const parts = readEdits(edits)
  if (goesOn(message)) return editLongHeader(message, parts)
  const head = editHeader(message.header, parts)
  const bodyOffset = message.header.length - head.kept
  // A body without a header in front of it may begin with a blank: it would go on with our last field, and what follows
  // would be fields. Postfix's smtpd puts an empty line there too.
  const separator = message.header.length === 0 && message.sizeBytes > 0 && head.text !== '' ? '\r\n' : ''
  const start = Buffer.from(head.text + separator, 'latin1')
  const sizeBytes = start.length + message.sizeBytes - bodyOffset
  const open = (): ReturnType<Message['open']> => {
    const reader = message.open(bodyOffset)
    reader.unshift(start)
    return reader
  }
  if (!message.bytes) return { sizeBytes, open }
  return { sizeBytes, chunks: [start, message.bytes.subarray(bodyOffset)], open }
}

const EMPTY_LINE = /(?:\r\n|\n|\r(?!\n))(?:\r\n|[\r\n])$/

/** Whether there may be fields behind those that are held. */
function goesOn({ header, sizeBytes }: Message): boolean {
  if (sizeBytes <= MAX_HEADER_BYTES || header.length === 0) return false
  // One that ends without an empty line has ended there all the same: then the spoiler finds nothing to spoil.
  return !EMPTY_LINE.test(header.toString('latin1', Math.max(0, header.length - 4)))
}

function editLongHeader(message: Message, edits: EditParts): OutgoingMessage {
  // The last field may be cut off: its rest, too, is the spoiler's.
  const whole = message.header.length - (headerFields(message.header).at(-1)?.length ?? 0)
  const head = editHeader(message.header.subarray(0, whole), edits)
  const rest = whole - head.kept
  const start = Buffer.from(head.text, 'latin1')
  return {
    sizeBytes: start.length + message.sizeBytes - rest,
    open: () => Readable.from(longMessage(message, { start, rest, removed: edits.removed })),
  }
}

async function* longMessage(
  message: Message,
  { start, rest, removed }: { start: Buffer; rest: number; removed: RegExp | undefined },
): AsyncGenerator<Buffer> {
  const spoiler = new FieldSpoiler(removed)
  yield start
  for await (const chunk of message.open(rest)) yield spoiler.push(chunk as Buffer)
  yield spoiler.end()
}

interface EditedHeader {
  /** latin1: what to write in front of the rest. */
  readonly text: string
  /** How many of the last bytes of the header stay as they are, and follow `text`. */
  readonly kept: number
}

/** What edits come to. */
interface EditParts {
  /** Fields, as they are written. */
  readonly added: string
  /** Absent: nothing is removed. */
  readonly removed: RegExp | undefined
  readonly tag: string | undefined
}

function readEdits(edits: readonly HeaderEdit[]): EditParts {
  let added = ''
  let removedNames = ''
  let tag: string | undefined
  for (const edit of edits) {
    if (edit.op === 'prepend') added += foldField(edit.name, edit.value)
    else if (edit.op === 'remove') removedNames += `${edit.name}\n`
    else tag = edit.tag
  }
  return { added, removed: removalPattern(removedNames), tag }
}

function editHeader(header: Buffer, { added, removed, tag }: EditParts): EditedHeader {
  const block = header.toString('latin1')
  if (tag === undefined && !removed?.test(block)) return { text: added, kept: header.length }
  const fields = fieldsOf(block)
  const end = fields.length > 0 && /^[\r\n]/.test(fields[fields.length - 1] ?? '') ? fields.pop() : ''
  const kept = fields.filter((field) => !removed?.test(field))
  const tagged = (tag === undefined ? kept : tagSubject(kept, tag)).join('')
  // What was removed may have stood between a bare CR and a bare LF: as one line end they would hide the empty line, and
  // the body would be fields. On the way out a bare CR becomes CRLF in any case.
  const lineFeed = tagged.endsWith('\r') && end?.startsWith('\n') ? '\n' : ''
  return { text: added + tagged + lineFeed + end, kept: 0 }
}

/**
 * The fields of a header block, whole: with folded lines and line ends, latin1. The empty line that ends the header is
 * the last entry.
 */
export function headerFields(header: Buffer): string[] {
  return fieldsOf(header.toString('latin1'))
}

function fieldsOf(block: string): string[] {
  const fields: string[] = []
  for (const line of linesOf(block)) {
    if (/^[ \t]/.test(line) && fields.length > 0) fields.push(`${fields.pop() ?? ''}${line}`)
    else fields.push(line)
  }
  return fields
}

/** The value of the first field of that name, unfolded, latin1; absent: there is none. */
export function headerField(header: Buffer, name: string): string | undefined {
  return headerValues(header, name).next().value
}

/** The values of all fields of that name, as they stand from the top; each as {@link headerField} gives it. */
export function* headerValues(header: Buffer, name: string): Generator<string, undefined> {
  const wanted = name.toLowerCase()
  for (const field of fieldsOf(header.toString('latin1'))) {
    const [start = '', found] = FIELD_NAME.exec(field) ?? []
    if (found?.toLowerCase() === wanted)
      yield field
        .slice(start.length)
        .replace(/[\r\n]+/g, '')
        .trim()
  }
  return undefined
}

const patterns = new Map<string, RegExp | undefined>()

/** Matches a block that holds one of the fields; kept, since the list is the same for every message. */
function removalPattern(names: string): RegExp | undefined {
  if (!patterns.has(names)) {
    const alternatives = names
      .split('\n')
      .filter((name) => name !== '')
      .map((name) => name.replace(/[^\w*-]/g, '\\$&').replace(/\*$/, '[^\\s:]*'))
    patterns.set(
      names,
      alternatives.length === 0
        ? undefined
        : new RegExp(`(?:^|[\\r\\n])(?:${alternatives.join('|')})[ \\t]*:`, 'i'),
    )
  }
  return patterns.get(names)
}

const MIN_REMOVABLE_TAG = 3

/** A copy of the tag that stands in the subject already goes, as amavisd does it from three characters on. */
function tagSubject(fields: readonly string[], tag: string): string[] {
  const index = fields.findIndex((field) => /^subject[ \t]*:/i.test(field))
  if (index === -1) return [`Subject: ${tag.trimEnd()}\r\n`, ...fields]
  const [name = '', blanks = ''] = /^[^:]+:([ \t]*)/.exec(fields[index] ?? '') ?? []
  const value = (fields[index] ?? '').slice(name.length)
  const rest = tag.trim().length >= MIN_REMOVABLE_TAG ? withoutTag(value, tag) : value
  return fields.toSpliced(index, 1, `${name.slice(0, name.length - blanks.length)} ${tag}${rest}`)
}

/** At the end of a line a tag has no blank behind it: so it stands where a subject was missing. */
function withoutTag(value: string, tag: string): string {
  const atLineEnd = new RegExp(`${tag.trimEnd().replace(/[^\w ]/g, '\\$&')}(?=[\r\n]|$)`, 'g')
  const rest = value.split(tag).join('').replace(atLineEnd, '')
  // A folded line of blanks alone is, for some readers, the end of the header (RFC 5322 section 3.2.2).
  return rest === value ? value : rest.replace(/(?:\r\n|[\r\n])[ \t]+(?=[\r\n])/g, '')
}

/**
 * A field as it is written: folded between words, or behind a comma, at 78 columns, each further line with one
 * blank in front, CRLF at the end. An empty value leaves no blank behind the colon.
 */
export function foldField(name: string, value: string): string {
  if (name.length + value.length + 2 <= FOLD_COLUMN)
    return value === '' ? `${name}:\r\n` : `${name}: ${value}\r\n`
  const words = value.split(/ +|(?<=,)(?! )/)
  let line = `${name}:`
  let field = ''
  let position = 0
  for (const word of words) {
    // Where the value has no blank, behind a comma, only a fold may put one there.
    const glue = position === 0 || value[position - 1] === ' ' ? ' ' : ''
    if (line.length + glue.length + word.length > FOLD_COLUMN && position > 0) {
      field += `${line}\r\n`
      line = ` ${word}`
    } else {
      line += `${glue}${word}`
    }
    position += word.length
    while (value[position] === ' ') position++
  }
  return `${field}${line}\r\n`
}
