import { constants } from 'node:fs'
import { link, open, readFile, rm } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { formatEvent, MAX_EVENTS, readEvent, tooManyEvents, type QuarantineEvent } from './events.ts'
import type { Folders } from './folders.ts'
import { codeOf } from './storeError.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
/** A thousand addresses fit. */
const MAX_EVENT_BYTES = 1024 * 1024

/** What happened to a message, and how many files say so: those that are damaged are counted and not known. */
export interface EventsOf {
  readonly count: number
  /** In their order. */
  readonly known: readonly QuarantineEvent[]
}

/** The events of a message. Errors are those of the system calls. */
export async function readEvents(folders: Folders, id: string): Promise<EventsOf> {
  const known: QuarantineEvent[] = []
  for (let count = 0; count < MAX_EVENTS; count++) {
    const text = await textOf(folders.eventPath(id, count + 1))
    if (text === undefined) return { count, known }
    const event = readEvent(text)
    if (event !== undefined) known.push(event)
  }
  return { count: MAX_EVENTS, known }
}

async function textOf(path: string): Promise<string | undefined> {
  let file
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
  try {
    const { size } = await file.stat()
    return size > MAX_EVENT_BYTES ? '' : await readFile(file, 'utf8')
  } finally {
    await file.close()
  }
}

/**
 * Adds an event behind those that are there, durably; whoever comes at the same time has another number.
 *
 * @throws FilterError E_QUARANTINE where there are too many; the error of the system call.
 */
export async function addEvent(folders: Folders, id: string, event: QuarantineEvent): Promise<void> {
  const temp = await folders.tempPath(`${id}.${randomBytes(6).toString('hex')}`)
  const file = await open(temp, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  try {
    try {
      await file.writeFile(formatEvent(event))
      await file.sync()
    } finally {
      await file.close()
    }
    await giveNumber(folders, id, temp)
  } finally {
    await rm(temp, { force: true })
  }
  await folders.sync(id)
}

/** A link, unlike a rename, does not replace what is there. */
async function giveNumber(folders: Folders, id: string, temp: string): Promise<void> {
  for (let count = 1; count <= MAX_EVENTS; count++) {
    try {
      await link(temp, folders.eventPath(id, count))
      return
    } catch (err) {
      if (codeOf(err) !== 'EEXIST') throw err
    }
  }
  throw tooManyEvents(id)
}

/** Removes what happened to a message that is gone. */
export async function removeEvents(folders: Folders, id: string): Promise<void> {
  for (let count = 1; count <= MAX_EVENTS; count++) {
    try {
      await rm(folders.eventPath(id, count))
    } catch (err) {
      if (codeOf(err) === 'ENOENT') return
      throw err
    }
  }
}
