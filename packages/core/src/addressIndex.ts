import { readAddressEntry } from './addressEntry.ts'
import type { AddressListOptions } from './addressList.ts'
import { invertedIndex } from './invertedIndex.ts'
import type { ListEntry } from './listEntry.ts'
import { lookupKeys, type LookupKeys } from './lookupKeys.ts'
import { patternPool, type Pattern } from './pattern.ts'

/** Many address lists, asked at once. */
export interface AddressIndex {
  /** Numbers, from 0 and ascending, of the lists that the address is in: those with a match without `!`. Never throws. */
  readonly match: (asked: LookupKeys | string) => readonly number[]
}

/**
 * Compiles many lists into one index that answers as each of them would, see compileAddressList. A lookup takes one
 * step for each key of the address, for each list that has one of them, and for each regular expression in the lists;
 * an expression that stands in many lists is tried once.
 *
 * @throws FilterError E_CONFIG for an entry that cannot be read, with its place.
 */
export function compileAddressIndex(
  lists: readonly (readonly ListEntry[])[],
  { patterns = patternPool(), ...options }: AddressListOptions = {},
): AddressIndex {
  const index = invertedIndex(lists.length)
  const rules: { readonly list: number; readonly negated: boolean; readonly pattern: Pattern }[] = []
  for (const [list, entries] of lists.entries()) {
    for (const entry of entries) {
      const { key, negated, pattern } = readAddressEntry(entry, patterns)
      if (pattern === undefined) index.add(key, list, negated)
      else rules.push({ list, negated, pattern })
    }
  }
  return {
    match(asked) {
      const { address, keys } = typeof asked === 'string' ? lookupKeys(asked, options) : asked
      if (rules.length === 0) return index.find(keys)
      return index.find(keys, ({ decided, decide }) => {
        const answers = new Map<Pattern, boolean>()
        for (const { list, negated, pattern } of rules) {
          if (decided(list)) continue
          const answer = answers.get(pattern) ?? pattern.test(address)
          answers.set(pattern, answer)
          if (answer) decide(list, negated)
        }
      })
    },
  }
}
