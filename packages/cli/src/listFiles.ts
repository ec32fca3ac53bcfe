import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { FilterError, listFileInSteps, type ListEntry } from '@ecluse/core'
import { inTurns } from '@ecluse/daemon'

/** Enough for a million addresses. */
const MAX_BYTES = 64 * 1024 * 1024
const PREFIX = 'file:'

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
 * @param names `file:PATH`, each once
 * @param directory where relative paths start: that of the configuration file
 * @returns errors too, of files that cannot be read, or have lines that cannot; each with its place
 */
export async function readLists(
  names: Iterable<string>,
  directory: string,
): Promise<{ readonly files: NamedLists; readonly errors: readonly FilterError[] }> {
  const files = new Map<string, ListFile>()
  const errors: FilterError[] = []
  for (const name of names) {
    const file = path.resolve(directory, name.slice(PREFIX.length))
    try {
      const stamp = await stampOf(file)
      const text = await readText(file)
      files.set(name, { path: file, stamp, entries: await inTurns(listFileInSteps(text, file)) })
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      errors.push(error)
    }
  }
  return { files, errors }
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

async function readText(file: string): Promise<string> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of createReadStream(file, { end: MAX_BYTES })) chunks.push(chunk as Buffer)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new FilterError('E_CONFIG', `the list cannot be read: ${code}`, {
      place: { file },
      cause,
      hint:
        code === 'ENOENT' ? 'write an empty file where there are no entries yet' : 'see its owner and mode',
    })
  }
  const bytes = Buffer.concat(chunks)
  if (bytes.length > MAX_BYTES) {
    throw new FilterError('E_CONFIG', 'larger than 64MiB', {
      place: { file },
      hint: 'is this the right file?',
    })
  }
  // A TextDecoder takes ten times as long, all in one go.
  if (isUtf8(bytes)) return bytes.toString('utf8')
  throw new FilterError('E_CONFIG', 'not UTF-8 text', { place: { file }, hint: 'save it as UTF-8' })
}
