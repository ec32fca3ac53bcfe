import { readAddressEntry } from './addressEntry.ts'
import type { AddressListOptions } from './addressList.ts'
import { invertedIndex, type IndexHit, type Posting } from './invertedIndex.ts'
import type { ListEntry } from './listEntry.ts'
import { lookupKeys, type LookupKeys } from './lookupKeys.ts'
import { patternPool, type Pattern } from './pattern.ts'
import { finish, inSteps, LISTS_OF_STEP, type Steps } from './steps.ts'

/** Many address lists, asked at once. */
export interface AddressIndex {
  /**
   * The lists that the address is in, in ascending order, each with the entry that puts it there: what a list's own
   * match without `!` is. Never throws.
   *
   * @param among the lists that are of interest, in ascending order; absent: all
   */
  readonly find: (asked: LookupKeys | string, among?: ReadonlySet<number>) => readonly IndexHit[]
  /** The numbers of these lists alone, from 0. */
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
  options: AddressListOptions = {},
): AddressIndex {
  return finish(addressIndexInSteps(lists, options))
}

/** As {@link compileAddressIndex}. */
export function* addressIndexInSteps(
  lists: readonly (readonly ListEntry[])[],
  { patterns = patternPool(), ...options }: AddressListOptions,
): Steps<AddressIndex> {
  const index = invertedIndex(lists.length)
  const rules: (Posting & { readonly key: string; readonly pattern: Pattern })[] = []
  for (const [list, entries] of lists.entries()) {
    yield* inSteps(entries, (entry) => {
      const { key, negated, pattern } = readAddressEntry(entry, patterns)
      if (pattern === undefined) index.add(key, { list, negated, entry })
      else rules.push({ list, negated, entry, key, pattern })
    })
    if (list % LISTS_OF_STEP === LISTS_OF_STEP - 1) yield
  }
  const find = (asked: LookupKeys | string, among?: ReadonlySet<number>): readonly IndexHit[] => {
    const { address, keys } = typeof asked === 'string' ? lookupKeys(asked, options) : asked
    if (rules.length === 0) return index.find(keys, among)
    return index.find(keys, among, ({ decided, decide }) => {
      const answers = new Map<Pattern, boolean>()
      for (const rule of rules) {
        if (decided(rule.list) || among?.has(rule.list) === false) continue
        const answer = answers.get(rule.pattern) ?? rule.pattern.test(address)
        answers.set(rule.pattern, answer)
        if (answer) decide(rule, rule.key)
      }
    })
  }
  return { find, match: (asked) => find(asked).map(({ list }) => list) }
}
