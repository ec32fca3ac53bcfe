import { crc32 } from 'node:zlib'
import { CATEGORIES } from '@ecluse/core'
import { LEDGER_OUTCOMES, type LedgerOutcome, type LedgerResult } from './ledger.ts'

/** No line is longer, its newline included. */
export const MAX_LINE_BYTES = 256 * 1024
/** A line is closed once its items have come so far: the largest item fits in what is left. */
const LINE_TEXT_LENGTH = 16 * 1024

const LF = 0x0a
const BLANK = 0x20
const CRC_DIGITS = 8
const KEY_START = CRC_DIGITS + 1
const KEY_DIGITS = 32
const TIME_START = KEY_START + KEY_DIGITS + 1
const TIME_DIGITS = 13
const ITEMS_START = TIME_START + TIME_DIGITS + 1

/** What one record remembers of one recipient: what was done, or the id that is reserved for it. */
export interface LedgerItem {
  readonly recipient: string
  readonly result?: LedgerResult
  readonly reservedId?: string
}

/** One record, read. */
export interface LedgerRecord {
  readonly key: string
  /** When it was made, in milliseconds since 1970. */
  readonly at: number
  readonly items: readonly LedgerItem[]
}

/** What the index needs of a line. */
export interface LineHead {
  readonly key: string
  readonly at: number
}

/**
 * The lines of a record, each complete in itself: CRC-32 of what follows in hex, key, time in milliseconds, items as JSON,
 * newline. Many recipients make several lines.
 *
 * @throws TypeError for an item that no line can hold.
 */
export function formatRecord({ key, at, items }: LedgerRecord): Buffer[] {
  const head = `${key} ${String(at).padStart(TIME_DIGITS, '0')} `
  const lines: Buffer[] = []
  let parts: string[] = []
  let length = 0
  for (const item of items) {
    const text = formatItem(item)
    if (parts.length > 0 && length + text.length > LINE_TEXT_LENGTH) {
      lines.push(formatLine(`${head}[${parts.join(',')}]`))
      parts = []
      length = 0
    }
    parts.push(text)
    length += text.length
  }
  if (parts.length > 0) lines.push(formatLine(`${head}[${parts.join(',')}]`))
  return lines
}

function formatLine(text: string): Buffer {
  const line = Buffer.from(`${' '.repeat(KEY_START)}${text}\n`)
  if (line.length > MAX_LINE_BYTES)
    throw new TypeError('a recipient and its reply are too long for the ledger')
  const sum = crc32(line.subarray(KEY_START, -1)).toString(16).padStart(CRC_DIGITS, '0')
  line.write(sum, 'latin1')
  return line
}

/** The head of the line that is `bytes`, without its newline; absent: it is damaged. */
export function readHead(bytes: Buffer): LineHead | undefined {
  if (bytes.length <= ITEMS_START || bytes[CRC_DIGITS] !== BLANK || bytes.includes(LF)) return undefined
  const sum = bytes.toString('latin1', 0, CRC_DIGITS)
  if (crc32(bytes.subarray(KEY_START)).toString(16).padStart(CRC_DIGITS, '0') !== sum) return undefined
  const key = bytes.toString('latin1', KEY_START, KEY_START + KEY_DIGITS)
  const at = Number(bytes.toString('latin1', TIME_START, TIME_START + TIME_DIGITS))
  return Number.isSafeInteger(at) ? { key, at } : undefined
}

/** The record in the line that is `bytes`, without its newline; absent: it is damaged, or says what we do not know. */
export function readRecord(bytes: Buffer): LedgerRecord | undefined {
  const head = readHead(bytes)
  if (head === undefined) return undefined
  const fields = parseJson(bytes.subarray(ITEMS_START).toString())
  if (!Array.isArray(fields)) return undefined
  const items = fields.map(itemOf)
  if (!items.every((item) => item !== undefined)) return undefined
  return { ...head, items }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // A line whose checksum is right and whose text is not: of a version that we do not know.
    return undefined
  }
}

/** An item as JSON, in ASCII but for what is well-formed: lone surrogates are escaped. */
export function formatItem(item: LedgerItem): string {
  return JSON.stringify(itemFields(item))
}

/** The inverse of {@link formatItem}; absent: it is damaged, or says what we do not know. */
export function readItem(text: string): LedgerItem | undefined {
  return itemOf(parseJson(text))
}

function itemFields({ recipient, result, reservedId }: LedgerItem): unknown[] {
  if (result === undefined) return [recipient, reservedId]
  const { reply, outcome, queuedAs, category } = result
  const fields = [recipient, outcome, reply.code, reply.enhanced, reply.text]
  if (category !== undefined) return [...fields, queuedAs ?? null, category]
  return queuedAs === undefined ? fields : [...fields, queuedAs]
}

function itemOf(fields: unknown): LedgerItem | undefined {
  if (!Array.isArray(fields)) return undefined
  const [recipient, second, ...rest] = fields as unknown[]
  if (typeof recipient !== 'string') return undefined
  if (rest.length === 0) return typeof second === 'string' ? { recipient, reservedId: second } : undefined
  const outcome = LEDGER_OUTCOMES.find((each) => each === second)
  const result = outcome && readResult(outcome, rest)
  return result && { recipient, result }
}

function readResult(
  outcome: LedgerOutcome,
  [code, enhanced, text, queuedAs = null, filed]: readonly unknown[],
): LedgerResult | undefined {
  if (typeof code !== 'number' || typeof enhanced !== 'string' || typeof text !== 'string') return undefined
  if (queuedAs !== null && typeof queuedAs !== 'string') return undefined
  const category = CATEGORIES.find((each) => each === filed)
  if (filed !== undefined && category === undefined) return undefined
  const reply = { code, enhanced, text }
  return { reply, outcome, ...(queuedAs !== null && { queuedAs }), ...(category && { category }) }
}
