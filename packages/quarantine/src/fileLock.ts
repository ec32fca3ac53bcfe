import { lstat, readlink, rm, symlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { codeOf } from './storeError.ts'

// No work under a lock takes so long: its holder is gone, on a machine that cannot be asked.
const ABANDONED_MS = 600_000

/** Held until it is released, or its process ends. */
export interface FileLock {
  release(): Promise<void>
}

/**
 * Takes a lock that spares work and guards nothing: two that have it do the same work twice, and no harm. It is a symbolic
 * link to its holder's name, which needs no room on a full disk; where none can be made, the lock is had all the same.
 *
 * @returns absent: somebody else has it
 */
export async function takeLock(path: string): Promise<FileLock | undefined> {
  const holder = `${process.pid}@${hostname()}`
  if (!(await tryLock(path, holder))) {
    if (!(await isAbandoned(path))) return undefined
    await rm(path, { force: true })
    if (!(await tryLock(path, holder))) return undefined
  }
  return { release: async () => await rm(path, { force: true }) }
}

/** Works while it has the lock. @returns absent: somebody else has it */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T | undefined> {
  const lock = await takeLock(path)
  if (lock === undefined) return undefined
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

async function tryLock(path: string, holder: string): Promise<boolean> {
  try {
    await symlink(holder, path)
    return true
  } catch (err) {
    return codeOf(err) !== 'EEXIST'
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    const [target, { mtimeMs }] = [await readlink(path), await lstat(path)]
    const [pid = '', ...host] = target.split('@')
    if (host.join('@') === hostname() && /^\d{1,10}$/.test(pid)) return !isRunning(Number(pid))
    return Date.now() - mtimeMs > ABANDONED_MS
  } catch (err) {
    // Released meanwhile.
    if (codeOf(err) === 'ENOENT') return true
    throw err
  }
}

/** Whether a process of that number runs here, whosever it is. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    return codeOf(err) !== 'ESRCH'
  }
}
