/** How keys are made. */
export interface KeyOptions {
  /** Postfix's recipient_delimiter: each of its characters begins an extension. Absent or '': none does. */
  readonly delimiter?: string
  /**
   * Whether `user@` is asked too, the user in any domain. amavisd asks always in its hash lookups, and in SQL and LDAP
   * for recipients in the local domains only. Absent: true. An address without a domain is `user@` in any case.
   */
  readonly local?: boolean
}

/** An address with the keys under which it may stand in a list. */
export interface LookupKeys {
  /** As received. */
  readonly address: string
  /** The most specific first; never empty, none twice. */
  readonly keys: readonly string[]
}

/** amavisd's make_query_keys: of the domain and its parents with a leading dot, at most this many, `.` among them. */
export const DOMAIN_KEYS = 20

const NULL_SENDER: readonly string[] = ['<>', '.']
const NEVER_SPLIT = /^(?:postmaster|mailer-daemon|double-bounce)$/i
const OWNER_OR_REQUEST = /^owner-[^]|[^]-request$/i

/**
 * The keys of amavisd-new 2.13 in its order, byte for byte. `User+Foo@Sub.Example.COM`, with delimiter `+`:
 * `user+foo@sub.example.com`, `user@sub.example.com`, `user+foo@`, `user@`, `sub.example.com`, `.sub.example.com`,
 * `.example.com`, `.com`, `.`. Of quoted local parts the quotes are taken away first, as amavisd does on reception.
 * Time is linear in the address.
 *
 * Where it differs:
 * - the address as it is, amavisd's first key, is left out: entries are brought into the form of the other keys, and
 *   `<example.com>`, an address without a domain, is not to be taken for that domain;
 * - the null sender, for amavisd '', `@` and `.`, is `<>` and `.`; other addresses without a domain, which have
 *   amavisd's key '' too, are not taken for it, nor is one whose domain has angle brackets;
 * - the domain begins behind the last `@` outside of quotes, also where an address literal has one: amavisd
 *   unquotes first, so that `"a@["@example.com` would be in the domain `[@example.com`;
 * - of a domain outside of ASCII that IDNA refuses, only A to Z go to lower case.
 */
export function lookupKeys(address: string, { delimiter = '', local = true }: KeyOptions = {}): LookupKeys {
  if (address === '') return { address, keys: NULL_SENDER }
  const { user, domain } = splitAddress(address)
  const base = withoutExtension(user, delimiter)
  const keys = new Set<string>([`${user}@${domain}`, `${base}@${domain}`])
  if (local) keys.add(`${user}@`).add(`${base}@`)
  // What would be another spelling of the null sender.
  keys.delete('@')
  if (domain !== '' && !/[<>]/.test(domain)) {
    keys.add(domain)
    if (!domain.includes('[')) addParents(keys, domain)
  }
  return { address, keys: [...keys.add('.')] }
}

/**
 * The keys that stand for all that a key does, the most specific first; of those that lookupKeys asks for every
 * address: `user@`, for local ones only, is none of them. Empty: it is `.`.
 *
 * @param key as an entry of a list has it, neither `user@` nor a regular expression
 */
export function broaderKeys(key: string, delimiter = ''): readonly string[] {
  if (key === '.') return []
  if (key === '<>') return ['.']
  const at = key.lastIndexOf('@')
  const keys = new Set<string>()
  const user = key.slice(0, Math.max(0, at))
  const domain = key.slice(at + 1)
  if (at !== -1) keys.add(`${withoutExtension(user, delimiter)}@${domain}`).add(domain)
  if (domain.startsWith('.')) addParents(keys, domain.slice(1))
  else if (!domain.includes('[')) addParents(keys, domain)
  keys.delete(key)
  return [...keys.add('.')]
}

/** `.sub.example.com`, `.example.com`, `.com`: the last ones when there are too many. */
function addParents(keys: Set<string>, domain: string): void {
  // From the end, so that a domain of a thousand dots costs no more than its last ones.
  const starts: number[] = []
  let end = domain.length
  while (starts.length < DOMAIN_KEYS - 1 && end > 0) {
    const dot = domain.lastIndexOf('.', end - 1)
    starts.push(dot + 1)
    end = dot
  }
  // A domain with a leading dot has an empty first label.
  if (end === 0 && starts.length < DOMAIN_KEYS - 1) starts.push(0)
  for (const start of starts.toReversed()) keys.add(`.${domain.slice(start)}`)
}

/** An address in the form of keys: local part unquoted and in lower case, domain without final dots, as A-labels. */
export interface SplitAddress {
  readonly user: string
  /** '': there is none. */
  readonly domain: string
}

/** Splits at the last `@` outside of quotes; whatever the text, never throws. */
export function splitAddress(address: string): SplitAddress {
  const at = address.lastIndexOf('@')
  // A quote behind it: the @ stands in a quoted local part, and there is no domain.
  const found = at !== -1 && !address.includes('"', at)
  const quoted = found ? address.slice(0, at) : address
  const user = /["\\]/.test(quoted) ? quoted.replace(/"|\\([^])|\\$/g, '$1') : quoted
  return { user: lowerAscii(user), domain: found ? domainKey(address.slice(at + 1)) : '' }
}

/** A domain as keys have it: without final dots, in lower case, U-labels as A-labels where IDNA (UTS 46) has them. */
export function domainKey(text: string): string {
  let end = text.length
  while (end > 0 && text[end - 1] === '.') end--
  const domain = text.slice(0, end)
  if (!/^[\p{L}\p{M}\p{N}._-]{1,255}$/u.test(domain) || !/[^\p{ASCII}]/u.test(domain))
    return lowerAscii(domain)
  // The one converter outside of node:. It takes some names for an IPv4 address, which they are not here.
  const url = `http://${domain}`
  const host = URL.canParse(url) ? new URL(url).hostname : ''
  return /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(host) && !/\.\d+$/.test(host) ? host : lowerAscii(domain)
}

/** Only A to Z: other letters would change length, or become ASCII, as the Kelvin sign does. */
function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** amavisd's split_localpart: never a null local part, never the addresses that Postfix does not split either. */
export function withoutExtension(user: string, delimiter: string): string {
  if (delimiter === '' || NEVER_SPLIT.test(user)) return user
  if (delimiter.includes('-') && OWNER_OR_REQUEST.test(user)) return user
  for (let at = 1; at < user.length; at++) {
    if (delimiter.includes(user.charAt(at))) return user.slice(0, at)
  }
  return user
}
