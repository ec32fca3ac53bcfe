import { constants } from 'node:fs'
import { open, rename, type FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { CATEGORIES, type Category } from '@ecluse/core'
import { asciiJson } from './fields.ts'
import { isSettled, type QuarantineItem } from './record.ts'
import { codeOf } from './storeError.ts'

/*
 * A line for each message, so that a list need not open each file:
 *
 *     CRC ID CATEGORY EVENTS STORED BYTES SCORE SETTLED {JSON}
 *
 * It is a copy of what the message's own files say, and never believed without their names: whatever is torn, lost,
 * doubled or outdated in it is read from the message again. So nothing in it is synced, and nobody waits for a lock.
 */

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
const CRC_LENGTH = 8
const BRACE = 0x7b
const LINE_END = 0x0a
const CHUNK_BYTES = 64 * 1024
/** A thousand recipients fit. What is longer is not in the index: its message is read for each list. */
const MAX_LINE_BYTES = 512 * 1024
const PREFIX = new RegExp(
  `^ ([A-Za-z0-9_-]{12}) (${CATEGORIES.join('|')}) (\\d{1,3}) (\\d{1,15}) (\\d{1,15}) (-|-?[\\d.e+-]{1,30}) ([01]) $`,
)

/** What a line says of a message before its JSON. */
export interface IndexRow {
  readonly id: string
  readonly category: Category
  /** How many events of the message it knows of. */
  readonly events: number
  readonly storedAtMs: number
  /** Of the file, as stored. */
  readonly fileBytes: number
  /** Absent: no scanner scored. */
  readonly score?: number
  /** Whether nobody waits for the message any more. */
  readonly settled: boolean
}

/** A row, and the rest of it for {@link itemOfLine}, which is only there while the line is shown. */
export interface IndexLine {
  readonly row: IndexRow
  readonly rest: Buffer
}

/** What of an item only its JSON says. */
type Rest = Pick<QuarantineItem, 'mailFrom' | 'recipients' | 'subject' | 'sizeBytes' | 'reasons'>

/** Makes the line of an item. */
export function indexLine(
  item: QuarantineItem,
  { events, fileBytes }: Pick<IndexRow, 'events' | 'fileBytes'>,
): {
  readonly line: IndexLine
  /** With its line end; absent: too long for the index. */
  readonly bytes?: Buffer
} {
  const { id, category, storedAt, score, mailFrom, recipients, subject, sizeBytes, reasons } = item
  const settled = isSettled(item)
  const row = {
    id,
    category,
    events,
    storedAtMs: storedAt.getTime(),
    fileBytes,
    ...(score !== undefined && { score }),
    settled,
  }
  const rest: Rest = { mailFrom, recipients, sizeBytes, reasons, ...(subject !== undefined && { subject }) }
  const facts = [id, category, events, row.storedAtMs, fileBytes, score ?? '-', settled ? 1 : 0]
  const json = asciiJson(rest)
  const text = ` ${facts.join(' ')} ${json}`
  const line = { row, rest: Buffer.from(json, 'latin1') }
  if (CRC_LENGTH + text.length >= MAX_LINE_BYTES) return { line }
  const sum = crc32(Buffer.from(text, 'latin1')).toString(16).padStart(CRC_LENGTH, '0')
  return { line, bytes: Buffer.from(`${sum}${text}\n`, 'latin1') }
}

/** Reads a line without its end; absent: it is torn, or none of ours. The bytes are not held. */
export function readIndexLine(bytes: Buffer): IndexLine | undefined {
  const sum = Number.parseInt(bytes.toString('latin1', 0, CRC_LENGTH), 16)
  if (crc32(bytes.subarray(CRC_LENGTH)) !== sum) return undefined
  const brace = bytes.indexOf(BRACE, CRC_LENGTH)
  if (brace === -1) return undefined
  const match = PREFIX.exec(bytes.toString('latin1', CRC_LENGTH, brace))
  const category = CATEGORIES.find((each) => each === match?.[2])
  if (match === null || category === undefined) return undefined
  const [, id = '', , events, stored, size, score = '-', settled] = match
  const row: IndexRow = {
    id,
    category,
    events: Number(events),
    storedAtMs: Number(stored),
    fileBytes: Number(size),
    settled: settled === '1',
    ...(score !== '-' && { score: Number(score) }),
  }
  return { row, rest: bytes.subarray(brace) }
}

/** What a list shows of it. */
export function itemOfLine({
  row: { id, category, storedAtMs, score },
  rest: json,
}: IndexLine): QuarantineItem {
  const rest = JSON.parse(json.toString('latin1')) as Rest
  const storedAt = new Date(storedAtMs)
  return score === undefined
    ? { id, category, storedAt, ...rest }
    : { id, category, storedAt, score, ...rest }
}

/**
 * Shows each line of the file, without its end; none where there is no file. A line is only there while it is shown.
 * Lines of more than 512 KiB are passed over.
 */
export async function readIndex(path: string, show: (line: Buffer) => void): Promise<void> {
  let file: FileHandle
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return
    throw err
  }
  try {
    await showLines(file, show)
  } finally {
    await file.close()
  }
}

async function showLines(file: FileHandle, show: (line: Buffer) => void): Promise<void> {
  const { size } = await file.stat()
  // Most are small: a new page of memory takes longer than the reading of it.
  const buffer = Buffer.allocUnsafe(Math.min(size + 1, MAX_LINE_BYTES) + CHUNK_BYTES)
  let have = 0
  let tooLong = false
  for (;;) {
    const { bytesRead } = await file.read(buffer, have, buffer.length - have)
    if (bytesRead === 0) return
    have += bytesRead
    const lines = buffer.subarray(0, have)
    let begin = 0
    for (let end = lines.indexOf(LINE_END); end !== -1; end = lines.indexOf(LINE_END, begin)) {
      if (!tooLong) show(lines.subarray(begin, end))
      tooLong = false
      begin = end + 1
    }
    buffer.copyWithin(0, begin, have)
    have -= begin
    if (have <= MAX_LINE_BYTES) continue
    tooLong = true
    have = 0
  }
}

/**
 * Adds lines behind those that are there, in one write: those of other processes come before or after them. An error is
 * that of the system call; what it leaves is torn, and nothing is lost.
 */
export async function appendIndex(path: string, lines: Buffer): Promise<void> {
  const file = await open(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600)
  try {
    await file.write(lines)
  } finally {
    await file.close()
  }
}

/** Puts lines in the place of all that are there. What another process adds meanwhile is read from its message again. */
export async function replaceIndex(
  { path, temp }: { readonly path: string; readonly temp: string },
  lines: readonly Buffer[],
): Promise<void> {
  await appendIndex(temp, Buffer.concat(lines))
  await rename(temp, path)
}
