import type { AddressMatch, EntryPlace, ErrorPlace, NetworkMatch } from '@ecluse/core'
import type { FoundEntry } from './explanation.ts'

/** Tells places in the configuration and in its list files. */
export interface Places {
  /** Of the value at a path such as `policies[2].when`; `default` where the file does not have it. */
  of(path: string): string
  /** Of an entry of a list, with what it is. */
  entry(match: AddressMatch | NetworkMatch): FoundEntry
}

/** @param placeOf tells where a path stands in the configuration file, and whether it stands there at all */
export function placesIn(placeOf: (path: string) => ErrorPlace | undefined): Places {
  const of = (path: string): string => {
    const { file, line, column } = placeOf(path) ?? {}
    return [file, line, column].filter((part) => part !== undefined).join(':') || 'default'
  }
  const ofEntry = (place: EntryPlace): string =>
    'path' in place ? of(place.path) : `${place.file}:${place.line}`
  return {
    of,
    entry: (match) => ({
      entry: match.entry.text,
      ...('key' in match && { key: match.key }),
      negated: match.negated,
      place: ofEntry(match.entry.place),
    }),
  }
}
