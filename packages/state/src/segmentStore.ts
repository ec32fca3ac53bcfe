import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FilterError } from '@ecluse/core'
import { lockFolder, type FolderLock } from './folderLock.ts'
import type { LedgerRecord } from './ledgerRecord.ts'
import { codeOf } from './ledgerError.ts'
import { newSegment, readPlace, scanSegment, segmentName, segmentTime, type Segment } from './segment.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR, O_WRONLY } = constants
/** Files that a time to live is divided into: what has expired goes in steps of a sixteenth of it. */
const SEGMENTS_PER_TTL = 16
/** So that the table of one file grows in steps of some milliseconds at most, and places fit in 32 bits. */
const FILE_LIMITS: FileLimits = { records: 100_000, bytes: 64 * 1024 * 1024 }
/** How long it may go unnoticed that the folder was removed or replaced. */
const PLACE_CHECK_MS = 1000
// A block: a smaller one may find room in the last block of a file on a full disk.
const PROBE = Buffer.alloc(4096, '.')

/** What goes to the disk; exchanged only by tests, for faults that no file system shows when asked. */
export interface Disk {
  /** One write(2); gives how many bytes it took. */
  write(file: FileHandle, bytes: Buffer, place: number): Promise<number>
  truncate(file: FileHandle, sizeBytes: number): Promise<void>
}

/** The system calls themselves. */
export const KERNEL_DISK: Disk = {
  async write(file, bytes, place) {
    const { bytesWritten } = await file.write(bytes, 0, bytes.length, place)
    return bytesWritten
  },
  truncate: (file, sizeBytes) => file.truncate(sizeBytes),
}

/** A line to write. */
export interface KeyedLine {
  readonly key: string
  readonly bytes: Buffer
}

interface OpenSegment {
  readonly segment: Segment
  readonly file: FileHandle
  readonly ino: bigint
  readonly lock: FolderLock
}

/** A file that has come so far is followed by a new one. */
export interface FileLimits {
  readonly records: number
  readonly bytes: number
}

/** Where the files are, how long they count, and how they are written. */
export interface SegmentStoreOptions {
  readonly directory: string
  readonly ttlMs: number
  readonly disk: Disk
  /** Absent: 100,000 records, 64 MiB. */
  readonly limits?: FileLimits
}

/**
 * The files of a ledger and the tables that tell what is where in them. Only one of `prepare`, `append` and `probe` may
 * run at a time. Errors are those of the system calls, but for E_LEDGER where another process has the folder.
 */
export class SegmentStore {
  readonly #options: SegmentStoreOptions
  /** Oldest first. */
  #segments: Segment[] = []
  #current: OpenSegment | undefined
  #lock: FolderLock | undefined
  #checkedAt = 0
  /** Files that have expired, and are not removed yet. */
  #expired = new Set<string>()

  constructor(options: SegmentStoreOptions) {
    this.#options = options
  }

  get entries(): number {
    return this.#segments.reduce((sum, { table }) => sum + table.count, 0)
  }

  /** Takes the folder and reads all files. Gives how many lines were passed over. */
  async prepare(now: number): Promise<number> {
    const { directory } = this.#options
    await this.#takeFolder()
    this.#segments = []
    let damagedLines = 0
    for (const { path, createdAt } of await listSegments(directory)) {
      const scanned = await scanSegment(path, createdAt)
      if (scanned === undefined) continue
      const { segment, damaged } = scanned
      damagedLines += damaged
      if (segment.lastAt + this.#options.ttlMs <= now) this.#expired.add(path)
      else this.#segments.push(segment)
    }
    await this.removeExpired()
    const last = this.#segments.at(-1)
    if (last !== undefined && !this.#isFull(last, now)) await this.#continue(last)
    await this.probe(now)
    return damagedLines
  }

  /** Writes all of it, or nothing of it counts. */
  async append(lines: readonly KeyedLine[], now: number): Promise<void> {
    const current = await this.#open(now)
    const { segment } = current
    await this.#write(current, Buffer.concat(lines.map(({ bytes }) => bytes)))
    for (const { key, bytes } of lines) {
      segment.table.add(key, segment.sizeBytes)
      segment.sizeBytes += bytes.length
    }
    segment.lastAt = Math.max(segment.lastAt, now)
  }

  /** Tests that a record could be written; leaves no trace. */
  async probe(now: number): Promise<void> {
    const current = await this.#open(now)
    await this.#write(current, PROBE)
    await this.#truncate(current)
  }

  /** The records of that key that have not expired, oldest first. Without a place for it: at once, no file is touched. */
  find(key: string, now: number): readonly LedgerRecord[] | Promise<readonly LedgerRecord[]> {
    const places = this.#segments.flatMap(({ path, table }) =>
      table.find(key).map((place) => ({ path, place })),
    )
    return places.length === 0 ? [] : this.#read(places, { key, after: now - this.#options.ttlMs })
  }

  /** Forgets the records of one file at most, if all of them have expired. The file goes with {@link removeExpired}. */
  expire(now: number): boolean {
    const { ttlMs } = this.#options
    const index = this.#segments.findIndex(
      (segment) => segment.lastAt + ttlMs <= now && segment !== this.#current?.segment,
    )
    if (index === -1) return false
    for (const { path } of this.#segments.splice(index, 1)) this.#expired.add(path)
    return true
  }

  /** What cannot be removed now is tried again the next time. Never rejects. */
  async removeExpired(): Promise<void> {
    for (const path of this.#expired) {
      try {
        await unlink(path)
      } catch (err) {
        if (codeOf(err) !== 'ENOENT') continue
      }
      this.#expired.delete(path)
    }
  }

  async close(): Promise<void> {
    await this.#closeCurrent()
    await this.#lock?.release()
    this.#lock = undefined
  }

  async #read(
    places: readonly { readonly path: string; readonly place: number }[],
    { key, after }: { readonly key: string; readonly after: number },
  ): Promise<readonly LedgerRecord[]> {
    const records: LedgerRecord[] = []
    for (const { path, place } of places) {
      const record = await readIfThere(path, place)
      if (record?.key === key && record.at > after) records.push(record)
    }
    return records
  }

  /** The file to write to, which is in its place and neither too old nor too large. */
  async #open(now: number): Promise<OpenSegment> {
    const current = this.#current
    if (current !== undefined) {
      if (!this.#isFull(current.segment, now) && (await this.#isInPlace(current, now))) return current
      await this.#closeCurrent()
    }
    const lock = await this.#takeFolder()
    const path = join(this.#options.directory, segmentName(now))
    const file = await open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
    const segment = newSegment(path, now)
    this.#segments.push(segment)
    return await this.#setCurrent({ segment, file, lock })
  }

  async #continue(segment: Segment): Promise<void> {
    const lock = await this.#takeFolder()
    const file = await open(segment.path, O_RDWR | O_NOFOLLOW)
    const current = await this.#setCurrent({ segment, file, lock })
    await this.#truncate(current)
  }

  async #setCurrent(opened: Omit<OpenSegment, 'ino'>): Promise<OpenSegment> {
    try {
      const { ino } = await opened.file.stat({ bigint: true })
      this.#current = { ...opened, ino }
      return this.#current
    } catch (err) {
      await opened.file.close().catch(() => undefined)
      throw err
    }
  }

  async #isInPlace({ segment, ino, lock }: OpenSegment, now: number): Promise<boolean> {
    if (Math.abs(now - this.#checkedAt) < PLACE_CHECK_MS) return true
    const found = await lstat(segment.path, { bigint: true }).catch(() => undefined)
    if (found?.ino !== ino || !(await lock.isHeld())) return false
    this.#checkedAt = now
    return true
  }

  #isFull({ createdAt, sizeBytes, table }: Segment, now: number): boolean {
    if (table.count === 0) return false
    const { ttlMs, limits = FILE_LIMITS } = this.#options
    if (table.count >= limits.records || sizeBytes >= limits.bytes) return true
    return Math.abs(now - createdAt) >= ttlMs / SEGMENTS_PER_TTL
  }

  async #takeFolder(): Promise<FolderLock> {
    const { directory } = this.#options
    if (await this.#lock?.isHeld()) return this.#lock as FolderLock
    await this.#lock?.release()
    this.#lock = undefined
    await mkdir(directory, { recursive: true, mode: 0o700 })
    this.#lock = await lockFolder(directory)
    return this.#lock
  }

  async #write(current: OpenSegment, bytes: Buffer): Promise<void> {
    const { file, segment } = current
    try {
      for (let done = 0; done < bytes.length;) {
        const taken = await this.#options.disk.write(file, bytes.subarray(done), segment.sizeBytes + done)
        if (taken === 0) throw new FilterError('E_LEDGER', `${segment.path}: takes no bytes`)
        done += taken
      }
    } catch (err) {
      // What was written of it is taken back, or the file is given up: the next line must not follow a torn one.
      await this.#truncate(current).catch(() => undefined)
      throw err
    }
  }

  /** Cuts what stands behind the last whole line. A file where that fails is not written any more. */
  async #truncate({ file, segment }: OpenSegment): Promise<void> {
    try {
      await this.#options.disk.truncate(file, segment.sizeBytes)
    } catch (err) {
      await this.#closeCurrent()
      if (segment.table.count === 0) {
        this.#segments = this.#segments.filter((other) => other !== segment)
        this.#expired.add(segment.path)
        await this.removeExpired()
      }
      throw err
    }
  }

  async #closeCurrent(): Promise<void> {
    const file = this.#current?.file
    this.#current = undefined
    // Nothing is lost by it: every byte was given to write(2).
    await file?.close().catch(() => undefined)
  }
}

/** Absent also where somebody has removed the file: then what it remembered is lost. */
async function readIfThere(path: string, place: number): Promise<LedgerRecord | undefined> {
  try {
    return await readPlace(path, place)
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
}

/** The files of the ledger in a folder, oldest first; whatever has another name is left alone. */
async function listSegments(
  directory: string,
): Promise<{ readonly path: string; readonly createdAt: number }[]> {
  const names = await readdir(directory)
  return names.sort().flatMap((name) => {
    const createdAt = segmentTime(name)
    return createdAt === undefined ? [] : [{ path: join(directory, name), createdAt }]
  })
}
