import { readAddressEntry, type AddressRule } from './addressEntry.ts'
import type { ListEntry } from './listEntry.ts'
import { lookupKeys, type KeyOptions, type LookupKeys } from './lookupKeys.ts'
import { patternPool, type PatternPool } from './pattern.ts'
import { finish, inSteps, type Steps } from './steps.ts'

/** How a list is compiled. */
export interface AddressListOptions extends KeyOptions {
  /** Bounds the regular expressions of several lists together; absent: those of this one alone. */
  readonly patterns?: PatternPool
}

/** The entry that decides about an address. */
export interface AddressMatch {
  readonly entry: ListEntry
  /** The key that was found, or the regular expression with its slashes. */
  readonly key: string
  /** Whether the entry has a `!`: the address is named, and not in the list. */
  readonly negated: boolean
}

/** Addresses, compiled. */
export interface AddressList {
  /** The deciding entry; absent: none names the address. Never throws. */
  readonly match: (asked: LookupKeys | string) => AddressMatch | undefined
}

/**
 * Compiles a list of addresses. An entry is `user@dom`, `user@` (in any domain), `dom` or `@dom` (that domain alone),
 * `.dom` (the domain and all below it), `.` (everybody), `<>` (the null sender), `/regex/` or `/regex/i` (anywhere in
 * the address as received); a leading `!` takes out what a broader entry lets in. Letters' case only counts in
 * regular expressions.
 *
 * The most specific key decides, in the order of {@link lookupKeys}, wherever it stands in the list; of the same key
 * twice the first. Regular expressions are asked, in their order, when no key is found. An empty list names nobody.
 *
 * @throws FilterError E_CONFIG for an entry that cannot be read, with its place.
 */
export function compileAddressList(
  entries: readonly ListEntry[],
  options: AddressListOptions = {},
): AddressList {
  return finish(addressListInSteps(entries, options))
}

/** As {@link compileAddressList}. */
export function* addressListInSteps(
  entries: readonly ListEntry[],
  { patterns = patternPool(), ...options }: AddressListOptions,
): Steps<AddressList> {
  const keys = new Map<string, AddressRule>()
  const rules: AddressRule[] = []
  yield* inSteps(entries, (entry) => {
    const rule = readAddressEntry(entry, patterns)
    if (rule.pattern !== undefined) rules.push(rule)
    else if (!keys.has(rule.key)) keys.set(rule.key, rule)
  })
  return {
    match(asked) {
      const { address, keys: wanted } = typeof asked === 'string' ? lookupKeys(asked, options) : asked
      const named = wanted.map((key) => keys.get(key)).find((rule) => rule !== undefined)
      const found = named ?? rules.find(({ pattern }) => pattern?.test(address) === true)
      return found && { entry: found.entry, key: found.key, negated: found.negated }
    },
  }
}
