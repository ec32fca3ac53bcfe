import { readAddressEntry } from './addressEntry.ts'
import type { Config } from './config.ts'
import { FILE_PREFIX } from './configLists.ts'
import { FilterError } from './errors.ts'
import type { ListEntry } from './listEntry.ts'
import { readNetworkEntry } from './networkIndex.ts'
import { patternPool } from './pattern.ts'
import type { KeyPath } from './schemaWalk.ts'

/** The sections that have such lists. */
type ListedIn = Pick<Config, 'policies' | 'senders'>

/** A list of addresses or networks, as the configuration has it. */
export interface ConfiguredList {
  readonly texts: readonly string[]
  readonly path: KeyPath
  /** Whether it has networks, or else addresses. */
  readonly clients: boolean
}

/** Every list that may name files, in the order of the schema. */
export function* listsOf({ policies, senders }: ListedIn): Iterable<ConfiguredList> {
  for (const [index, { when }] of policies.entries()) {
    for (const condition of ['clients', 'senders', 'recipients'] as const) {
      const texts = when[condition]
      const path = ['policies', index, 'when', condition]
      if (texts) yield { texts, path, clients: condition === 'clients' }
    }
  }
  for (const [index, rule] of senders.entries()) {
    for (const side of ['senders', 'recipients'] as const) {
      const texts = rule[side]
      if (texts) yield { texts, path: ['senders', index, side], clients: false }
    }
  }
}

/** What files of entries hold, by the text that names them in the configuration: `file:PATH`. */
export type ListFiles = ReadonlyMap<string, readonly ListEntry[]>

/** A file of entries, and where in the configuration it is named first. */
export interface NamedList {
  /** `file:PATH` */
  readonly name: string
  readonly path: KeyPath
}

/** The files that lists of a configuration name, each once. */
export function listFilesOf(config: ListedIn): NamedList[] {
  const named = new Map<string, NamedList>()
  for (const { texts, path } of listsOf(config)) {
    for (const [index, name] of texts.entries()) {
      if (name.startsWith(FILE_PREFIX) && !named.has(name)) named.set(name, { name, path: [...path, index] })
    }
  }
  return [...named.values()]
}

/** Errors that are told of one file; the others are probably of the same kind. */
const FILE_ERRORS = 20

/** What is wrong with single entries of files: the first 20 of each, in the order of files and lines. Empty: nothing. */
export function listFileErrors(config: ListedIn, files: ListFiles): FilterError[] {
  const seen = new Set<string>()
  return [...listsOf(config)].flatMap(({ texts, clients }) =>
    texts.flatMap((name) => {
      const use = `${clients} ${name}`
      if (!name.startsWith(FILE_PREFIX) || seen.has(use)) return []
      seen.add(use)
      return entryErrors(files.get(name) ?? [], clients)
    }),
  )
}

function entryErrors(entries: readonly ListEntry[], clients: boolean): FilterError[] {
  const errors: FilterError[] = []
  for (const entry of entries) {
    try {
      if (clients) readNetworkEntry(entry)
      else readAddressEntry(entry, patternPool())
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      errors.push(error)
      if (errors.length === FILE_ERRORS) break
    }
  }
  return errors
}
