import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { MAX_LINE_BYTES, readHead, readRecord, type LedgerRecord } from './ledgerRecord.ts'
import { PlaceTable } from './placeTable.ts'

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
const LF = 0x0a
const NAME = /^ledger-(\d{13})-[0-9a-f]{8}\.log$/
const SCAN_BYTES = 1024 * 1024
// A record of a few recipients; more is read only where it has no end there.
const FIRST_READ_BYTES = 2048

/** One file of the ledger: lines in the order of time. */
export interface Segment {
  readonly path: string
  /** In milliseconds since 1970, as its name says. */
  readonly createdAt: number
  readonly table: PlaceTable
  /** When its last record was made; of a file without one, when the file was. */
  lastAt: number
  /** Up to the end of the last whole line: the next one is written there. */
  sizeBytes: number
}

/** The name of a new file: when it was made, and something that no other file has. */
export function segmentName(createdAt: number): string {
  return `ledger-${String(createdAt).padStart(13, '0')}-${randomBytes(4).toString('hex')}.log`
}

/** When the file of that name was made; absent: the name is none of ours. */
export function segmentTime(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** An empty one; the file is the affair of the caller. */
export function newSegment(path: string, createdAt: number): Segment {
  return { path, createdAt, table: new PlaceTable(), lastAt: createdAt, sizeBytes: 0 }
}

/**
 * Reads a file of the ledger, of any size, holding little of it.
 *
 * @returns the segment, and how many lines were passed over: torn, of another checksum, or too long; absent: a folder, FIFO
 *   or device has the name
 * @throws errors of system calls
 */
export async function scanSegment(
  path: string,
  createdAt: number,
): Promise<{ readonly segment: Segment; readonly damaged: number } | undefined> {
  const segment = newSegment(path, createdAt)
  const file = await openSegment(path)
  try {
    if (!(await file.stat()).isFile()) return undefined
    let damaged = 0
    await eachLine(file, (bytes, place, whole) => {
      if (whole) segment.sizeBytes = place + bytes.length + 1
      const head = whole && bytes.length < MAX_LINE_BYTES ? readHead(bytes) : undefined
      if (head === undefined) {
        damaged++
        return
      }
      segment.table.add(head.key, place)
      segment.lastAt = Math.max(segment.lastAt, head.at)
    })
    return { segment, damaged }
  } finally {
    await file.close()
  }
}

/**
 * The record that begins at that place; absent: there is none of ours.
 *
 * @throws errors of system calls
 */
export async function readPlace(path: string, place: number): Promise<LedgerRecord | undefined> {
  const file = await openSegment(path)
  try {
    for (let wanted = FIRST_READ_BYTES; ; wanted = MAX_LINE_BYTES) {
      const bytes = await readBytes(file, wanted, place)
      const end = bytes.indexOf(LF)
      if (end !== -1) return readRecord(bytes.subarray(0, end))
      if (bytes.length < wanted || wanted === MAX_LINE_BYTES) return undefined
    }
  } finally {
    await file.close()
  }
}

/**
 * Shows every line in turn, without its newline, and where it begins. Not whole is what stands behind the last newline.
 * Of a line that fills the buffer only the end is shown, which no checksum fits.
 */
async function eachLine(
  file: FileHandle,
  show: (bytes: Buffer, place: number, whole: boolean) => void,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(SCAN_BYTES)
  let base = 0
  let held = 0
  for (;;) {
    const { bytesRead } = await file.read(buffer, held, buffer.length - held, base + held)
    if (bytesRead === 0) break
    held += bytesRead
    const chunk = buffer.subarray(0, held)
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      show(chunk.subarray(start, end), base + start, true)
      start = end + 1
    }
    // One byte of it stays, so that a file that ends there has its torn line.
    if (start === 0 && held === buffer.length) start = held - 1
    buffer.copyWithin(0, start, held)
    base += start
    held -= start
  }
  if (held > 0) show(buffer.subarray(0, held), base, false)
}

async function openSegment(path: string): Promise<FileHandle> {
  return await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
}

/** Fewer where the file ends. */
async function readBytes(file: FileHandle, count: number, place: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(count)
  let have = 0
  while (have < count) {
    const { bytesRead } = await file.read(bytes, have, count - have, place + have)
    if (bytesRead === 0) break
    have += bytesRead
  }
  return bytes.subarray(0, have)
}
