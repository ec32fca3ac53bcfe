import { FilterError } from './errors.ts'
import { invertedIndex } from './invertedIndex.ts'
import { entryError, type ListEntry } from './listEntry.ts'
import { addressKey, networkKey } from './network.ts'
import { finish, inSteps, LISTS_OF_STEP, type Steps } from './steps.ts'

/** The entry that decides about an IP address. */
export interface NetworkMatch {
  readonly entry: ListEntry
  /** Whether the entry has a `!`: the address is named, and not in the list. */
  readonly negated: boolean
}

/** Networks, compiled. */
export interface NetworkList {
  /** The deciding entry; absent: none holds the address, or the text is no IP address. Never throws. */
  readonly match: (ip: string) => NetworkMatch | undefined
}

/** Many network lists, asked at once. */
export interface NetworkIndex {
  /** Numbers, from 0 and ascending, of the lists that the address is in: those with a match without `!`. Never throws. */
  readonly match: (ip: string) => readonly number[]
}

/**
 * Compiles a list of networks: `192.0.2.0/24`, `2001:db8::/32`, or one address; a leading `!` takes out what a broader
 * one lets in. The longest prefix decides, wherever it stands in the list; of the same network twice the first.
 * IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is IPv4, in entries and in addresses, so that `::/0` is IPv6 alone.
 *
 * @throws FilterError E_CONFIG for an entry that cannot be read, with its place.
 */
export function compileNetworkList(entries: readonly ListEntry[]): NetworkList {
  return finish(networkListInSteps(entries))
}

/** As {@link compileNetworkList}. */
export function* networkListInSteps(entries: readonly ListEntry[]): Steps<NetworkList> {
  const networks = new Map<string, NetworkMatch>()
  const lengths = new KeyLengths()
  yield* inSteps(entries, (entry) => {
    const { key, negated } = readNetworkEntry(entry)
    lengths.add(key)
    if (!networks.has(key)) networks.set(key, { entry, negated })
  })
  return {
    match: (ip) =>
      lengths
        .prefixes(ip)
        .map((key) => networks.get(key))
        .find((match) => match !== undefined),
  }
}

/**
 * Compiles many lists into one index that answers as each of them would, see {@link compileNetworkList}: one step for
 * each prefix length that occurs, and for each list that holds the address.
 *
 * @throws FilterError E_CONFIG for an entry that cannot be read, with its place.
 */
export function compileNetworkIndex(lists: readonly (readonly ListEntry[])[]): NetworkIndex {
  return finish(networkIndexInSteps(lists))
}

/** As {@link compileNetworkIndex}. */
export function* networkIndexInSteps(lists: readonly (readonly ListEntry[])[]): Steps<NetworkIndex> {
  const index = invertedIndex(lists.length)
  const lengths = new KeyLengths()
  for (const [list, entries] of lists.entries()) {
    yield* inSteps(entries, (entry) => {
      const { key, negated } = readNetworkEntry(entry)
      lengths.add(key)
      index.add(key, { list, negated, entry })
    })
    if (list % LISTS_OF_STEP === LISTS_OF_STEP - 1) yield
  }
  return { match: (ip) => index.find(lengths.prefixes(ip)).map(({ list }) => list) }
}

/**
 * Reads the text of an entry.
 *
 * @throws FilterError E_CONFIG without a place.
 */
export function readNetworkText(text: string): { readonly key: string; readonly negated: boolean } {
  const negated = text.startsWith('!')
  return { key: negated ? exceptionKey(text.slice(1)) : networkKey(text), negated }
}

function exceptionKey(network: string): string {
  try {
    return networkKey(network)
  } catch (cause) {
    if (!(cause instanceof FilterError)) throw cause
    const hint = network.startsWith('!')
      ? 'one ! is enough'
      : /^\s/.test(network)
        ? 'no blank behind the !'
        : cause.hint?.replace(/^write /, 'write !')
    throw new FilterError('E_CONFIG', cause.message, { cause, ...(hint !== undefined && { hint }) })
  }
}

/**
 * Reads one entry.
 *
 * @throws FilterError E_CONFIG with the place of the entry.
 */
export function readNetworkEntry(entry: ListEntry): ReturnType<typeof readNetworkText> {
  try {
    return readNetworkText(entry.text)
  } catch (cause) {
    if (!(cause instanceof FilterError)) throw cause
    throw entryError(entry, cause.message, cause.hint)
  }
}

/** The prefix lengths that occur, for each family: at most 33 and 129. */
class KeyLengths {
  readonly #ofFamily = new Map<string, number[]>()

  add(key: string): void {
    const family = key.charAt(0)
    const known = this.#ofFamily.get(family) ?? []
    if (known.includes(key.length)) return
    known.push(key.length)
    known.sort((a, b) => b - a)
    this.#ofFamily.set(family, known)
  }

  /** Keys under which the address may stand, the longest first; none for what is no address. */
  prefixes(ip: string): string[] {
    const key = addressKey(ip)
    if (key === undefined) return []
    return (this.#ofFamily.get(key.charAt(0)) ?? []).map((length) => key.slice(0, length))
  }
}
