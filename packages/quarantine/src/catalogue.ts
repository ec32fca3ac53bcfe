import { FilterError } from '@ecluse/core'
import { applyEvents } from './events.ts'
import { readEvents } from './eventFiles.ts'
import type { Folders, NamedFile } from './folders.ts'
import {
  appendIndex,
  indexLine,
  readIndex,
  readIndexLine,
  replaceIndex,
  type IndexLine,
} from './indexFile.ts'
import { readFront } from './messageFile.ts'
import { itemOf, type QuarantineEntry } from './record.ts'
import { codeOf } from './storeError.ts'

/** Shards that are read at the same time: one is looked through while the disk is asked for others. */
const SHARDS_AT_ONCE = 4
/** Messages of a shard that are read at the same time because the index does not know them. */
const READ_AT_ONCE = 8
/** Written to the index together. */
const WRITE_AT_ONCE = 256
/** A line waits no longer for others. */
const WRITE_AFTER_MS = 1000
/** Lines of no use that an index may have at least. */
const SPARE_LINES = 1000

/** What walking through the store takes. */
interface Walk {
  /** Shown each message once, in no order. The line is only there while it is shown. */
  readonly show: (line: IndexLine) => void
  /** Told of each message that cannot be read. */
  readonly onDamaged?: ((error: unknown) => void) | undefined
}

/** All messages of the store with what is known of each; the names of the files are the truth. */
export interface Catalogue {
  /** Goes through all shards. Errors are those of the system calls. */
  walk(walk: Walk): Promise<void>
  /** Goes through one. */
  walkShard(shard: string, walk: Walk): Promise<void>
  /**
   * Adds what was just stored, or changed: soon, and with others, since a write of its own for each holds up what
   * must be durable. What is not added is found by its name.
   */
  add(entry: QuarantineEntry, about: { readonly events: number; readonly fileBytes: number }): void
  /** Makes the index of a shard anew where most of it is of no use. */
  tidy(shard: string): Promise<void>
  /** Adds what waits. */
  close(): Promise<void>
}

/** The catalogue of a file store. */
export function createCatalogue(folders: Folders): Catalogue {
  const waiting = createWaiting(folders)

  async function walkShard(shard: string, { show, onDamaged }: Walk): Promise<void> {
    await waiting.write()
    // The names first: what comes after them is not among those that the index seems to have lost.
    const names = await folders.names(shard)
    if (names === undefined || names.files.size === 0) return
    const { files, events } = names
    await readIfThere(folders.indexPath(shard), (bytes) => {
      const line = readIndexLine(bytes)
      if (line === undefined) return
      const { id, category } = line.row
      if (files.get(id)?.category !== category || (events.get(id) ?? 0) !== line.row.events) return
      files.delete(id)
      show(line)
    })
    await readAgain(folders, [...files.values()], { show, onDamaged })
  }

  return {
    walkShard,
    async walk(walk) {
      const waiting = (await folders.shards()).values()
      const lane = async (): Promise<void> => {
        for (const shard of waiting) await walkShard(shard, walk)
      }
      await Promise.all(Array.from({ length: SHARDS_AT_ONCE }, lane))
    },
    add(entry, about) {
      const { bytes } = indexLine(itemOf(entry), about)
      if (bytes !== undefined) waiting.add(entry.id, bytes)
    },
    async tidy(shard) {
      const names = await folders.names(shard)
      if (names === undefined) return
      await tidy(folders, shard, names.files)
    },
    close: () => waiting.write(),
  }
}

/** Lines that wait for others of their shards. */
function createWaiting(folders: Folders): {
  add(id: string, line: Buffer): void
  /** Writes them all; fulfilled when they are written. Never rejects. */
  write(): Promise<void>
} {
  let lines = new Map<string, Buffer[]>()
  let count = 0
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()

  const writeAfter = async (before: Promise<void>, shards: ReadonlyMap<string, Buffer[]>): Promise<void> => {
    await before
    for (const [shard, of] of shards) await append(folders, shard, of)
  }
  const write = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    if (count > 0) {
      writing = writeAfter(writing, lines)
      lines = new Map()
      count = 0
    }
    await writing
  }
  return {
    add(id, line) {
      const shard = id.slice(0, 1)
      const of = lines.get(shard) ?? []
      of.push(line)
      lines.set(shard, of)
      count++
      if (count >= WRITE_AT_ONCE) void write()
      // Nobody needs it so much that a process would have to live on.
      else timer ??= setTimeout(() => void write(), WRITE_AFTER_MS).unref()
    },
    write,
  }
}

/** Reads messages that the index does not know, shows them, and adds them to it. */
async function readAgain(
  folders: Folders,
  unknown: readonly NamedFile[],
  { show, onDamaged }: Walk,
): Promise<void> {
  const waiting = unknown.values()
  let lines: Buffer[] = []
  const lane = async (): Promise<void> => {
    for (const file of waiting) {
      const read = await readOne(folders, file, onDamaged)
      if (read === undefined) continue
      show(read.line)
      if (read.bytes !== undefined) lines.push(read.bytes)
      if (lines.length < WRITE_AT_ONCE) continue
      const full = lines
      lines = []
      await append(folders, file.id, full)
    }
  }
  await Promise.all(Array.from({ length: Math.min(READ_AT_ONCE, unknown.length) }, lane))
  const [first] = unknown
  if (first !== undefined && lines.length > 0) await append(folders, first.id, lines)
}

/** Absent: it is gone, or no message. */
async function readOne(
  folders: Folders,
  named: NamedFile,
  onDamaged: Walk['onDamaged'],
): Promise<ReturnType<typeof indexLine> | undefined> {
  try {
    const file = await folders.stat(named)
    if (file === undefined) return undefined
    const { entry } = await readFront(file)
    const events = await readEvents(folders, file.id)
    const item = itemOf(applyEvents(entry, events.known))
    return indexLine(
      { ...item, category: file.category },
      { events: events.count, fileBytes: file.sizeBytes },
    )
  } catch (err) {
    // Deleted since its name was read.
    if (codeOf(err) === 'ENOENT') return undefined
    if (!(err instanceof FilterError) && codeOf(err) === undefined) throw err
    onDamaged?.(err)
    return undefined
  }
}

/** As far as there is an index, and it can be read. */
async function readIfThere(path: string, show: (line: Buffer) => void): Promise<void> {
  try {
    await readIndex(path, show)
  } catch (err) {
    // Whatever is wrong with it: the messages are there.
    if (codeOf(err) === undefined) throw err
  }
}

async function append(folders: Folders, id: string, lines: readonly Buffer[]): Promise<void> {
  try {
    await folders.makeIndex()
    await appendIndex(folders.indexPath(id), Buffer.concat(lines))
  } catch {
    // A full disk, a read-only one: the messages themselves are there, and are read the next time.
  }
}

async function tidy(folders: Folders, shard: string, files: Map<string, NamedFile>): Promise<void> {
  const path = folders.indexPath(shard)
  let useless = 0
  const rest = new Map<string, Buffer>()
  await readIfThere(path, (bytes) => {
    const line = readIndexLine(bytes)
    const isOurs = line !== undefined && files.has(line.row.id)
    if (!isOurs || rest.has(line.row.id)) useless++
    // The last one knows of the most events.
    if (isOurs) rest.set(line.row.id, Buffer.concat([bytes, Buffer.from('\n')]))
  })
  if (useless < SPARE_LINES || useless < rest.size) return
  await replaceIndex({ path, temp: await folders.tempPath(`index.${shard}`) }, [...rest.values()])
}
