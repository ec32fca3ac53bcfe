import { createReadStream } from 'node:fs'
import path from 'node:path'
import { FilterError, parseListFile, type ListEntry, type ListFiles } from '@ecluse/core'

/** Enough for a million addresses. */
const MAX_BYTES = 64 * 1024 * 1024
const PREFIX = 'file:'

/** Files of entries, read. */
export interface ReadLists {
  readonly files: ListFiles
  /** Their absolute paths, each once: what to watch. */
  readonly paths: readonly string[]
  /** Of files that cannot be read, or have lines that cannot; each with its place. */
  readonly errors: readonly FilterError[]
}

/**
 * Reads the files that lists of a configuration name.
 *
 * @param names `file:PATH`, each once
 * @param directory where relative paths start: that of the configuration file
 */
export async function readLists(names: readonly string[], directory: string): Promise<ReadLists> {
  const files = new Map<string, readonly ListEntry[]>()
  const paths: string[] = []
  const errors: FilterError[] = []
  for (const name of names) {
    const file = path.resolve(directory, name.slice(PREFIX.length))
    paths.push(file)
    try {
      files.set(name, parseListFile(await readText(file), file))
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      errors.push(error)
    }
  }
  return { files, paths, errors }
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
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new FilterError('E_CONFIG', 'not UTF-8 text', { place: { file }, cause, hint: 'save it as UTF-8' })
  }
}
