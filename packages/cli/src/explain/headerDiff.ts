import type { HeaderEdit } from '@ecluse/core'
import { editMessage, headerFields, headerSubject, type SpooledMessage } from '@ecluse/mail'

/** One field that a copy has and the message has not, or the other way round. */
export interface FieldChange {
  readonly op: '+' | '-'
  /** As it stands there, folded, without its last line end; what is not UTF-8 as latin1. Long ones are cut. */
  readonly field: string
}

/** How the header of a copy differs from the message. */
export interface HeaderDiff {
  /** What is added, from the top, then what is removed, from the top; the tagged Subject last. */
  readonly changes: readonly FieldChange[]
  /** Changes that are too many to show. */
  readonly leftOut: number
  /** Decoded; absent: the same before and after. */
  readonly subject?: { readonly before?: string; readonly after?: string }
}

const MAX_FIELD_LENGTH = 2000
const MAX_CHANGES = 200
const SUBJECT = /^subject[ \t]*:/i

/** Compares the very bytes that a copy would have with those that came in. */
export async function headerDiff(message: SpooledMessage, edits: readonly HeaderEdit[]): Promise<HeaderDiff> {
  const edited = editMessage(message, edits)
  const length = edited.sizeBytes - (message.sizeBytes - message.header.length)
  const after = await firstBytes(edited.open(), length)
  const changes = compareFields(headerFields(message.header), headerFields(after))
  const before = subjectOf(message.header)
  const subject = { ...before, after: subjectOf(after).before }
  return {
    changes: changes.slice(0, MAX_CHANGES).map(({ op, field }) => ({ op, field: readable(field) })),
    leftOut: Math.max(0, changes.length - MAX_CHANGES),
    ...(subject.before !== subject.after && {
      subject: { ...before, ...(subject.after !== undefined && { after: subject.after }) },
    }),
  }
}

function subjectOf(header: Buffer): { before?: string } {
  const subject = headerSubject(header)
  return subject === undefined ? {} : { before: cut(subject) }
}

async function firstBytes(stream: ReturnType<SpooledMessage['open']>, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= length) break
  }
  return Buffer.concat(chunks).subarray(0, length)
}

/**
 * From the end upwards: what stays is in the same order in both, below all that is added, whose last field, Received,
 * carries an id of this message alone.
 */
function compareFields(before: readonly string[], after: readonly string[]): FieldChange[] {
  const added: string[] = []
  const removed: string[] = []
  const tagged: FieldChange[] = []
  let upper = after.length - 1
  for (let lower = before.length - 1; lower >= 0; lower--) {
    const [old = '', now = ''] = [before[lower], after[upper]]
    if (old === now) upper--
    else if (SUBJECT.test(old) && SUBJECT.test(now)) {
      tagged.push({ op: '-', field: old }, { op: '+', field: now })
      upper--
    } else removed.push(old)
  }
  for (; upper >= 0; upper--) added.push(after[upper] ?? '')
  return [
    ...added.toReversed().map((field): FieldChange => ({ op: '+', field })),
    ...removed.toReversed().map((field): FieldChange => ({ op: '-', field })),
    ...tagged,
  ]
}

function readable(field: string): string {
  const text = Buffer.from(field.replace(/[\r\n]+$/, ''), 'latin1').toString('utf8')
  return cut(text.includes('\ufffd') ? field.replace(/[\r\n]+$/, '') : text)
}

function cut(text: string): string {
  if (text.length <= MAX_FIELD_LENGTH) return text
  return `${text.slice(0, MAX_FIELD_LENGTH)}… (${text.length - MAX_FIELD_LENGTH} more)`
}
