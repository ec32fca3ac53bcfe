import { readAddressEntry, type AddressRule } from './addressEntry.ts'
import type { ListEntry } from './listEntry.ts'
import { broaderKeys, withoutExtension } from './lookupKeys.ts'
import { readNetworkEntry } from './networkIndex.ts'
import { patternPool } from './pattern.ts'

/** An entry without which its list would say the same. */
export interface IdleEntry {
  readonly entry: ListEntry
  /** The entry that decides in its place; absent: it takes out what nothing lets in. */
  readonly by?: ListEntry
  /** Whether that one says the opposite. */
  readonly opposed: boolean
}

/**
 * Entries of an address list that change nothing, in their order: a key that stands there already, what a broader
 * entry lets in (or takes out) anyhow, and an exception of nothing. Time is linear in the list.
 *
 * @param delimiter as lookupKeys takes it
 * @throws FilterError E_CONFIG as compileAddressList.
 */
export function idleAddresses(entries: readonly ListEntry[], delimiter = ''): IdleEntry[] {
  const patterns = patternPool()
  const rules = entries.map((entry) => readAddressEntry(entry, patterns))
  const keys = new Map<string, AddressRule>()
  for (const rule of rules) if (!keys.has(rule.key)) keys.set(rule.key, rule)
  const anywhere = usersAnywhere(rules, delimiter)
  // What a regular expression lets in is not known.
  const unknown = rules.some(({ pattern, negated }) => pattern !== undefined && !negated)
  return rules.flatMap((rule): IdleEntry[] => {
    const { entry, key, negated, pattern } = rule
    const first = keys.get(key)
    if (first && first !== rule) return [{ entry, by: first.entry, opposed: first.negated !== negated }]
    if (pattern || anywhere.has(userOf(key, delimiter))) return []
    const broader = broaderKeys(key, delimiter).find((name) => keys.has(name))
    return coverOf(rule, broader === undefined ? undefined : keys.get(broader), unknown)
  })
}

/** For an entry that is the first with its key. */
function coverOf(
  { entry, negated }: Pick<AddressRule, 'entry' | 'negated'>,
  broader: Pick<AddressRule, 'entry' | 'negated'> | undefined,
  unknown = false,
): IdleEntry[] {
  if (broader) return broader.negated === negated ? [{ entry, by: broader.entry, opposed: false }] : []
  return negated && !unknown ? [{ entry, opposed: false }] : []
}

/**
 * The users of `user@`, without extension. These keys count for local addresses only, and stand between those with the
 * domain and broader ones.
 */
function usersAnywhere(rules: readonly AddressRule[], delimiter: string): ReadonlySet<string> {
  const users = rules.flatMap(({ key, pattern }) =>
    !pattern && key.endsWith('@') ? [userOf(key, delimiter)] : [],
  )
  return new Set(users)
}

/** '': the key is of a domain. */
function userOf(key: string, delimiter: string): string {
  return withoutExtension(key.slice(0, Math.max(0, key.lastIndexOf('@'))), delimiter)
}

/** The same for a list of networks. */
export function idleNetworks(entries: readonly ListEntry[]): IdleEntry[] {
  const rules = entries.map((entry) => ({ entry, ...readNetworkEntry(entry) }))
  const keys = new Map<string, (typeof rules)[number]>()
  for (const rule of rules) if (!keys.has(rule.key)) keys.set(rule.key, rule)
  const lengths = [...new Set([...keys.keys()].map((key) => key.length))].toSorted((a, b) => b - a)
  return rules.flatMap((rule): IdleEntry[] => {
    const { entry, key, negated } = rule
    const first = keys.get(key)
    if (first && first !== rule) return [{ entry, by: first.entry, opposed: first.negated !== negated }]
    const broader = lengths
      .filter((length) => length < key.length)
      .map((length) => keys.get(key.slice(0, length)))
      .find((rule) => rule !== undefined)
    return coverOf(rule, broader)
  })
}
