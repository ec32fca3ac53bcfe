import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { link, lstat, open, rename, unlink } from 'node:fs/promises'
import { createConnection, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { FilterError } from '@ecluse/core'
import { codeOf } from './ledgerError.ts'

const LOCK = 'ledger.lock'

/** A folder that is ours as long as this process lives. */
export interface FolderLock {
  /** Whether it is still ours: the folder may have been removed or replaced, or another process been quicker. */
  isHeld(): Promise<boolean>
  /** Never rejects. */
  release(): Promise<void>
}

/**
 * Takes a folder for this process. The lock is a Unix socket that listens: the kernel ends it together with the process,
 * however that ends, and whoever finds it asks by connecting. A file with a process number could not be believed: after a
 * restart, or in another container, the same number is another process.
 *
 * Of two processes that find a dead lock at the same moment, the first may learn by `isHeld` only that it has lost.
 *
 * @throws FilterError E_LEDGER when another process has it, errors of system calls otherwise
 */
export async function lockFolder(directory: string): Promise<FolderLock> {
  const folder = await open(directory)
  // A socket's path holds some 100 bytes only, and must go on to mean this folder when another takes its name.
  const short = `/proc/self/fd/${folder.fd}`
  const inside = existsSync(short) ? short : directory
  const lock = join(inside, LOCK)
  const ours = `${lock}.${randomBytes(4).toString('hex')}`
  let server: Server | undefined
  try {
    server = await listen(ours)
    const { ino, dev } = await lstat(ours)
    const isOurs = async (path: string): Promise<boolean> => {
      const found = await lstat(path).catch(() => undefined)
      return found?.ino === ino && found.dev === dev
    }
    await putInPlace({ ours, lock, directory })
    const listening = server
    return {
      isHeld: async () => await isOurs(join(directory, LOCK)),
      async release() {
        if (await isOurs(lock)) await unlink(lock).catch(() => undefined)
        await close(listening)
        await folder.close()
      },
    }
  } catch (err) {
    await unlink(ours).catch(() => undefined)
    if (server) await close(server)
    await folder.close()
    throw err
  }
}

interface LockPaths {
  readonly ours: string
  readonly lock: string
  readonly directory: string
}

async function putInPlace({ ours, lock, directory }: LockPaths): Promise<void> {
  try {
    await link(ours, lock)
    await unlink(ours)
    return
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  }
  if (!(await lstat(lock)).isSocket()) {
    throw new FilterError('E_LEDGER', `${join(directory, LOCK)}: is not a socket`, { hint: 'remove it' })
  }
  if (await answers(lock)) {
    throw new FilterError('E_LEDGER', `${directory}: another process works in this folder`, {
      hint: 'give each instance a folder of its own, or stop the other one',
    })
  }
  await rename(ours, lock)
}

async function listen(path: string): Promise<Server> {
  return await new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      // Only `answers` connects, and needs nothing but that.
      server.on('error', () => undefined)
      server.unref()
      resolve(server)
    })
  })
}

/** In doubt it does: a process that is stopped, or busy, has the folder all the same. */
async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (err) => {
      socket.destroy()
      resolve(codeOf(err) !== 'ECONNREFUSED' && codeOf(err) !== 'ENOENT')
    })
  })
}

async function close(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve))
}
