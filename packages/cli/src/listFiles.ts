import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import {
  FILE_PREFIX,
  FilterError,
  listFileInSteps,
  type KeyPath,
  type ListEntry,
  type NamedList,
} from '@ecluse/core'
import { inTurns } from '@ecluse/daemon/turns'

/** Enough for a million addresses. */
const MAX_BYTES = 64 * 1024 * 1024

/** Why a file has no entries for us. */
export interface ListFailure {
  /** Its absolute path and, where one is wrong, the line. */
  readonly error: FilterError
  /** Where the configuration names it. */
  readonly path: KeyPath
}

/** A file of entries as it was read. */
export interface ListFile {
  /** Absolute. */
  readonly path: string
  /** Of just before it was read: see {@link stampOf}. */
  readonly stamp: string
  readonly entries: readonly ListEntry[]
}

/** Files by the text that names them, `file:PATH`. */
export type NamedLists = ReadonlyMap<string, ListFile>

/**
 * Reads the files that lists of a configuration name, letting others have their turn.
 *
 * @param directory where relative paths start: that of the configuration file
 * @returns errors too, of files that cannot be read, or have lines that cannot; each with its place
 */
export async function readLists(
  lists: readonly NamedList[],
  directory: string,
): Promise<{ readonly files: NamedLists; readonly failures: readonly ListFailure[] }> {
  const files = new Map<string, ListFile>()
  const failures: ListFailure[] = []
  for (const { name, path: named } of lists) {
    const file = path.resolve(directory, name.slice(FILE_PREFIX.length))
    try {
      const stamp = await stampOf(file)
      const text = await readText(file)
      files.set(name, { path: file, stamp, entries: await inTurns(listFileInSteps(text, file)) })
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      failures.push({ error, path: named })
    }
  }
  return { files, failures }
}

/**
 * What is another one when a file has been changed, replaced or moved away: the file's number, size and times, or why
 * it cannot be looked at. Never rejects.
 */
export async function stampOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  }
}

const READ_ERRORS: Readonly<Record<string, readonly [string, string?]>> = {
  ENOENT: ['no such file', 'write an empty file where there are no entries yet'],
  ENOTDIR: ['no such file', 'a part of the path is a file'],
  EACCES: ['not readable', 'the file must be readable for the user that runs ecluse'],
  ELOOP: ['too many symbolic links'],
  ENAMETOOLONG: ['the path is too long'],
}

async function readText(file: string): Promise<string> {
  const bytes = await readBounded(file)
  // A TextDecoder takes ten times as long, all in one go.
  if (isUtf8(bytes)) return bytes.toString('utf8')
  const place = { file, line: lineOfBadByte(bytes) }
  throw new FilterError('E_CONFIG', 'not UTF-8 text', { place, hint: 'save it as UTF-8' })
}

function lineOfBadByte(bytes: Buffer): number {
  let line = 1
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start)
    const end = newline === -1 ? bytes.length : newline
    if (!isUtf8(bytes.subarray(start, end))) return line
    start = end + 1
  }
  return line
}

async function readBounded(file: string): Promise<Buffer> {
  let handle: FileHandle | undefined
  try {
    // Without O_NONBLOCK, a named pipe would be waited for.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats = await handle.stat()
    if (stats.size > MAX_BYTES) throw tooLarge(file)
    if (!stats.isFile()) {
      const what = stats.isDirectory() ? 'is a folder, not a file' : 'is not a regular file'
      throw unreadable(file, what, 'name a file of entries, one on each line')
    }
    const chunks: Buffer[] = []
    for await (const chunk of handle.createReadStream({ end: MAX_BYTES, autoClose: false })) {
      chunks.push(chunk as Buffer)
    }
    const bytes = Buffer.concat(chunks)
    if (bytes.length > MAX_BYTES) throw tooLarge(file)
    return bytes
  } catch (cause) {
    if (cause instanceof FilterError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    const [message, hint] = READ_ERRORS[code] ?? [`cannot be read: ${code}`]
    throw unreadable(file, message, hint, cause)
  } finally {
    await handle?.close()
  }
}

// oxlint-disable-next-line max-params -- file, what and cure are the error
function unreadable(file: string, message: string, hint?: string, cause?: unknown): FilterError {
  return new FilterError('E_CONFIG', message, { place: { file }, cause, ...(hint !== undefined && { hint }) })
}

function tooLarge(file: string): FilterError {
  return unreadable(file, 'larger than 64MiB', 'is this the right file?')
}
