import type { ErrorPlace, KeyPath } from '@ecluse/core'

/** Something that is allowed, but probably not meant. */
export interface Warning {
  /** Of the value, or the key, that it is about; its place is looked up there. */
  readonly path: KeyPath
  /** Continues the path: what will happen. */
  readonly message: string
  /** What to write; absent: the message says it. */
  readonly hint?: string
  /** A line of a list file, in place of the path. */
  readonly place?: ErrorPlace
}

/** How many of one kind are told. */
const MOST = 20

/** The first warnings of one kind; the last one of these has the number of the others. */
export function firstOf(warnings: readonly Warning[], most = MOST): Warning[] {
  return describeFirst(warnings, (warning) => warning, most)
}

/** The same for what is not described yet: of a hundred thousand things only those that are told should be. */
export function describeFirst<T>(
  found: readonly T[],
  describe: (one: T) => Warning,
  most: number,
): Warning[] {
  const told = found.slice(0, most + 1).map(describe)
  const last = told[most]
  const more = found.length - told.length
  if (last === undefined || more === 0) return told
  return [...told.slice(0, most), { ...last, message: `${last.message}; and ${more} more of the kind` }]
}
