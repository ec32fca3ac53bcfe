import { FilterError } from './errors.ts'

/** Where an entry stands: a path in the configuration such as `policies[2].to[0]`, or a line, from 1, of a list file. */
export type EntryPlace = { readonly path: string } | { readonly file: string; readonly line: number }

/** One entry of a list, as it is written. */
export interface ListEntry {
  readonly text: string
  /** Only for messages: no list looks into it. */
  readonly place: EntryPlace
}

/** The error of an entry that cannot be read: E_CONFIG, with its path before the message or its line as the place and the entry behind it. */
export function entryError({ text, place }: ListEntry, message: string, hint?: string): FilterError {
  const options = hint === undefined ? {} : { hint }
  if ('path' in place) return new FilterError('E_CONFIG', `${place.path}: ${message}`, options)
  const got = message.includes(', got ') ? '' : `, got ${JSON.stringify(shorten(text))}`
  return new FilterError('E_CONFIG', `${message}${got}`, { ...options, place })
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
