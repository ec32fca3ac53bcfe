import { constants, type Stats } from 'node:fs'
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { CATEGORIES, FilterError, type Category } from '@ecluse/core'
import { isRunning } from './fileLock.ts'
import { ENDINGS, PACKINGS, type Packing } from './packing.ts'
import { codeOf } from './storeError.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
/** One folder for each first character of an id, so that none grows too large. */
const SHARD = /^[A-Za-z0-9_-]$/
const FILE = new RegExp(`^(${CATEGORIES.join('|')})-([A-Za-z0-9_-]{12})(\\.eml(?:\\.gz|\\.zst)?)$`)
const EVENT = /^([A-Za-z0-9_-]{12})\.([1-9]\d{0,2})\.event$/
/** Two characters at least: never the names of shards. */
const TEMP_FOLDER = 'tmp'
const INDEX_FOLDER = 'index'
/** Version of the lines in it: files of another one are as good as none. */
const INDEX_ENDING = '.1'
// A put ends with its message's deadline, at most 600 s.
const ABANDONED_MS = 3_600_000

/** What the name of a message's file says. */
export interface NamedFile {
  readonly id: string
  readonly category: Category
  readonly packing: Packing
  readonly path: string
}

/** A message file, not opened yet. */
export interface StoredFile extends NamedFile {
  readonly sizeBytes: number
}

/** The names in one shard. */
interface ShardNames {
  readonly files: Map<string, NamedFile>
  /** How many events of each id there are; the ids may have no file. */
  readonly events: ReadonlyMap<string, number>
}

/** The folders of a file store. Errors are those of the system calls, but for E_QUARANTINE where told. */
export interface Folders {
  /** Makes what is missing, removes what a killed process left, writes a file and removes it. */
  prepare(): Promise<void>
  /** Writes a file and removes it. */
  check(): Promise<void>
  /** Where a file is written before it gets its name. */
  tempPath(base: string): Promise<string>
  /** Where the message stands, or will; its folder is made where it is missing. */
  place(id: string, kind: Pick<NamedFile, 'category' | 'packing'>): Promise<string>
  /** Where a lock of that name stands. */
  lockPath(name: string): Promise<string>
  /** Where the nth event of a message stands, from 1. */
  eventPath(id: string, count: number): string
  /** Makes what happened in the folder of this message, or in a shard, durable. */
  sync(id: string): Promise<void>
  /** The file of that id; absent: there is none. Each packing that may be is a look for each category. */
  find(id: string, packings?: readonly Packing[]): Promise<StoredFile | undefined>
  /** Makes folders anew that were there: somebody may have removed them. */
  forget(): void
  /** Size and kind of a file; absent: it is gone, or no file. */
  stat(file: NamedFile): Promise<StoredFile | undefined>
  shards(): Promise<string[]>
  /** Absent: not a folder. */
  names(shard: string): Promise<ShardNames | undefined>
  /** When something came to a shard or left it, in milliseconds. */
  changedMs(shard: string): Promise<number>
  /** The index of the shard, or of the one of an id. */
  indexPath(id: string): string
  /** Makes the folder of the indexes where it is missing. */
  makeIndex(): Promise<void>
}

/** The folders below `directory`; nothing is touched before the first call. */
export function createFolders(directory: string): Folders {
  const made = new Set<string>()
  const shardOf = (id: string): string => join(directory, id.slice(0, 1))

  async function make(name: string): Promise<string> {
    const path = join(directory, name)
    if (made.has(name)) return path
    await makeFolder(path)
    // Synced by whoever comes first in this process: another one may have made it and not have come so far.
    await syncFolder(directory, 'follow')
    made.add(name)
    return path
  }

  async function check(): Promise<void> {
    made.clear()
    await probe(join(await make(TEMP_FOLDER), tempName('probe')))
  }

  return {
    async prepare() {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      await syncFolder(dirname(directory), 'follow')
      await removeLeftovers(await make(TEMP_FOLDER))
      await check()
      // Every folder can be read, or it is told now and not when somebody asks for the list.
      for (const shard of await shards(directory)) await namesOf(directory, shard)
    },
    check,
    async tempPath(base) {
      return join(await make(TEMP_FOLDER), tempName(base))
    },
    async place(id, { category, packing }) {
      return join(await make(id.slice(0, 1)), `${category}-${id}${ENDINGS[packing]}`)
    },
    async lockPath(name) {
      return join(await make(TEMP_FOLDER), `${name}.lock`)
    },
    eventPath: (id, count) => join(shardOf(id), `${id}.${count}.event`),
    sync: (id) => syncFolder(shardOf(id), 'nofollow'),
    find: (id, packings = PACKINGS) => findFile(directory, id, packings),
    forget: () => made.clear(),
    stat: storedFile,
    shards: () => shards(directory),
    names: (shard) => namesOf(directory, shard),
    changedMs: async (shard) => (await lstat(shardOf(shard))).mtimeMs,
    indexPath: (id) => join(directory, INDEX_FOLDER, `${id.slice(0, 1)}${INDEX_ENDING}`),
    makeIndex: async () => void (await make(INDEX_FOLDER)),
  }
}

async function findFile(
  directory: string,
  id: string,
  packings: readonly Packing[],
): Promise<StoredFile | undefined> {
  const folder = join(directory, id.slice(0, 1))
  const names = packings.flatMap((packing) =>
    CATEGORIES.map((category) => ({ name: `${category}-${id}${ENDINGS[packing]}`, category, packing })),
  )
  const files = await Promise.all(
    names.map(async ({ name, ...kind }) => await storedFile({ id, path: join(folder, name), ...kind })),
  )
  return files.find((file) => file !== undefined)
}

async function namesOf(directory: string, shard: string): Promise<ShardNames | undefined> {
  const folder = join(directory, shard)
  const stats = await statIfThere(folder)
  if (!stats?.isDirectory()) return undefined
  const files = new Map<string, NamedFile>()
  const events = new Map<string, number>()
  for (const name of await readdir(folder)) {
    const file = namedFile(folder, name)
    if (file?.id.startsWith(shard)) files.set(file.id, file)
    if (file !== undefined) continue
    const [, id = '', count = 0] = EVENT.exec(name) ?? []
    if (id !== '') events.set(id, Math.max(events.get(id) ?? 0, Number(count)))
  }
  return { files, events }
}

/** Absent: not the name of a file of ours. */
function namedFile(folder: string, name: string): NamedFile | undefined {
  const match = FILE.exec(name)
  if (match === null) return undefined
  const [, kind, id = '', ending] = match
  const category = CATEGORIES.find((each) => each === kind)
  const packing = PACKINGS.find((each) => ENDINGS[each] === ending)
  if (category === undefined || packing === undefined) return undefined
  // Not join(): it takes longer than all the rest of this.
  return { id, category, packing, path: `${folder}/${name}` }
}

async function probe(path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile('probe')
  } finally {
    await file.close()
    await rm(path)
  }
}

async function shards(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => SHARD.test(name))
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
    return
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  }
  if (!(await lstat(path)).isDirectory()) throw new FilterError('E_QUARANTINE', `${path}: is not a folder`)
}

async function syncFolder(path: string, follow: 'follow' | 'nofollow'): Promise<void> {
  const folder = await open(path, O_RDONLY | O_DIRECTORY | (follow === 'follow' ? 0 : O_NOFOLLOW))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Absent: not there, or not a file. */
async function storedFile(file: NamedFile): Promise<StoredFile | undefined> {
  const stats = await statIfThere(file.path)
  return stats?.isFile() ? { ...file, sizeBytes: stats.size } : undefined
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
}

/** Names its writer, since several processes, on several machines, may share the folder. */
function tempName(base: string): string {
  return `${base}.${process.pid}@${hostname()}`
}

async function removeLeftovers(temp: string): Promise<void> {
  for (const name of await readdir(temp)) {
    const path = join(temp, name)
    const stats = await statIfThere(path)
    if (stats === undefined || !isAbandoned(name, stats)) continue
    await rm(path, { force: true })
  }
}

/** A writer on another machine cannot be asked: its file is left until no message can be in work any more. */
function isAbandoned(name: string, stats: Stats): boolean {
  const match = /\.(\d{1,10})@(.+)$/.exec(name)
  if (match?.[2] !== hostname()) return Date.now() - stats.mtimeMs > ABANDONED_MS
  const pid = Number(match[1])
  // Our own number, before our first put: a process of the same number was killed, as in a container each time.
  return pid === process.pid || !isRunning(pid)
}
