import { constants, type Stats } from 'node:fs'
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { CATEGORIES, FilterError, type Category } from '@ecluse/core'
import { codeOf } from './storeError.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
/** One folder for each first character of an id, so that none grows too large. */
const SHARD = /^[A-Za-z0-9_-]$/
const FILE = new RegExp(`^(${CATEGORIES.join('|')})-([A-Za-z0-9_-]{12})\\.eml$`)
/** Two characters at least: never the name of a shard. */
const TEMP_FOLDER = 'tmp'
// A put ends with its message's deadline, at most 600 s.
const ABANDONED_MS = 3_600_000
// A file system's clock may tick slowly: what changed so recently may change again under the same time.
const SETTLED_MS = 2000

/** A message file, not opened yet. */
export interface StoredFile {
  readonly id: string
  readonly category: Category
  readonly path: string
  readonly sizeBytes: number
  readonly mtimeMs: number
}

interface Total {
  readonly files: number
  readonly bytes: number
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
  place(id: string, category: Category): Promise<string>
  /** Makes what happened in the folder of this message durable. */
  sync(id: string): Promise<void>
  /** The file of that id; absent: there is none. */
  find(id: string): Promise<StoredFile | undefined>
  /** All, in no order. */
  files(): Promise<StoredFile[]>
  /** All that is stored; folders that did not change are not read again. */
  usage(): Promise<Total>
}

/** The folders below `directory`; nothing is touched before the first call. */
export function createFolders(directory: string): Folders {
  const synced = new Set<string>()
  const counted = new Map<string, Total & { readonly changed: number }>()

  async function make(name: string): Promise<string> {
    const path = join(directory, name)
    const isNew = await makeFolder(path)
    // Synced by whoever comes first in this process: another one may have made it and not have come so far.
    if (isNew || !synced.has(name)) await syncFolder(directory, 'follow')
    synced.add(name)
    return path
  }

  async function check(): Promise<void> {
    await probe(join(await make(TEMP_FOLDER), tempName('probe')))
  }

  async function count(shard: string): Promise<Total> {
    const changed = (await lstat(join(directory, shard))).mtimeMs
    const known = counted.get(shard)
    if (known?.changed === changed) return known
    const files = await filesOf(directory, shard)
    const total = { files: files.length, bytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) }
    if (Date.now() - changed > SETTLED_MS) counted.set(shard, { ...total, changed })
    return total
  }

  return {
    async prepare() {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      await syncFolder(dirname(directory), 'follow')
      await removeLeftovers(await make(TEMP_FOLDER))
      await check()
      // Every folder can be read, or it is told now and not when somebody asks for the list.
      await allFiles(directory)
    },
    check,
    async tempPath(base) {
      return join(await make(TEMP_FOLDER), tempName(base))
    },
    async place(id, category) {
      return join(await make(id.slice(0, 1)), `${category}-${id}.eml`)
    },
    sync: (id) => syncFolder(join(directory, id.slice(0, 1)), 'nofollow'),
    find: (id) => findFile(directory, id),
    files: () => allFiles(directory),
    async usage() {
      const totals = await Promise.all((await shards(directory)).map(count))
      return {
        files: totals.reduce((sum, { files }) => sum + files, 0),
        bytes: totals.reduce((sum, { bytes }) => sum + bytes, 0),
      }
    },
  }
}

async function findFile(directory: string, id: string): Promise<StoredFile | undefined> {
  const path = join(directory, id.slice(0, 1))
  const names = CATEGORIES.map((category) => `${category}-${id}.eml`)
  const files = await Promise.all(names.map(async (name) => await storedFile(path, name)))
  return files.find((file) => file !== undefined)
}

async function allFiles(directory: string): Promise<StoredFile[]> {
  const names = await shards(directory)
  return (await Promise.all(names.map(async (shard) => await filesOf(directory, shard)))).flat()
}

async function filesOf(directory: string, shard: string): Promise<StoredFile[]> {
  const path = join(directory, shard)
  if (!(await lstat(path)).isDirectory()) return []
  const names = await readdir(path)
  const files = await Promise.all(names.map(async (name) => await storedFile(path, name)))
  return files.flatMap((file) => (file?.id.startsWith(shard) ? [file] : []))
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

/** Whether it had to be made. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  }
  if (!(await lstat(path)).isDirectory()) throw new FilterError('E_QUARANTINE', `${path}: is not a folder`)
  return false
}

async function syncFolder(path: string, follow: 'follow' | 'nofollow'): Promise<void> {
  const folder = await open(path, O_RDONLY | O_DIRECTORY | (follow === 'follow' ? 0 : O_NOFOLLOW))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Absent: not there, or not a file of ours. */
async function storedFile(folder: string, name: string): Promise<StoredFile | undefined> {
  const match = FILE.exec(name)
  const id = match?.[2]
  const category = CATEGORIES.find((each) => each === match?.[1])
  if (id === undefined || category === undefined) return undefined
  const path = join(folder, name)
  const stats = await statIfThere(path)
  if (!stats?.isFile()) return undefined
  return { id, category, path, sizeBytes: stats.size, mtimeMs: stats.mtimeMs }
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

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    return codeOf(err) !== 'ESRCH'
  }
}
