import { FilterError } from './errors.ts'
import { entryError, type ListEntry } from './listEntry.ts'
import { DOMAIN_KEYS, domainKey, splitAddress } from './lookupKeys.ts'
import type { Pattern, PatternPool } from './pattern.ts'

/** An entry of an address list, read: a key as lookups make them, or a regular expression. */
export type AddressRule = {
  readonly entry: ListEntry
  /** The key, or the regular expression between its slashes. */
  readonly key: string
  /** Whether a leading `!` takes out what a broader entry lets in. */
  readonly negated: boolean
  /** Absent: the rule is its key. */
  readonly pattern?: Pattern
}

/** Characters of one entry: an address of RFC 5321 needs 320. */
const ENTRY_LENGTH = 512
/** RFC 1035 section 2.3.4. */
const DOMAIN_LENGTH = 255
const DOMAIN = /^[\p{L}\p{N}_-][\p{L}\p{M}\p{N}_-]*(?:\.[\p{L}\p{M}\p{N}_-]+)*$/u
const LITERAL = /^\[[^\s[\]@]+\]$/
// oxlint-disable-next-line no-control-regex -- refusing them is the purpose
const CONTROL = /[\x00-\x1f\x7f]/
const PLAIN_USER = /^[^\s"(),:;<>@[\\\]]+$/
const QUOTED_USER = /^"(?:[^"\\]|\\[^])*"$/
/** An address or domain that is its own key, as nearly all entries are; every other one is looked at more closely. */
const OWN_KEY = /^(?:[a-z0-9][a-z0-9._+=-]*@|\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+){0,18}$/
const EXPECTED = 'expected an address, user@, a domain, .domain, ".", "<>" or /regular expression/'

/**
 * Reads one entry; a list compiles its patterns in one pool.
 *
 * @throws FilterError E_CONFIG with the place of the entry.
 */
export function readAddressEntry(entry: ListEntry, patterns: PatternPool): AddressRule {
  try {
    return { entry, ...readAddressText(entry.text, patterns) }
  } catch (cause) {
    if (!(cause instanceof FilterError)) throw cause
    throw entryError(entry, cause.message, cause.hint)
  }
}

/**
 * Reads the text of an entry.
 *
 * @throws FilterError E_CONFIG without a place.
 */
export function readAddressText(whole: string, patterns: PatternPool): Omit<AddressRule, 'entry'> {
  if (whole.length <= DOMAIN_LENGTH && OWN_KEY.test(whole)) return { negated: false, key: whole }
  const negated = whole.startsWith('!')
  const text = negated ? whole.slice(1) : whole
  if (text.startsWith('/')) return { negated, key: text, pattern: readPattern(text, patterns) }
  return { negated, key: readKey(text) }
}

function readPattern(text: string, patterns: PatternPool): Pattern {
  const end = text.lastIndexOf('/')
  const flags = text.slice(end + 1)
  if (end === 0 || (flags !== '' && flags !== 'i')) {
    throw new FilterError('E_CONFIG', 'expected /regular expression/ or /regular expression/i', {
      hint: hintForPattern(text, end, flags),
    })
  }
  return patterns.compile(text.slice(1, end), { ignoreCase: flags === 'i' })
}

function hintForPattern(text: string, end: number, flags: string): string {
  if (end === 0) return 'it has no slash at its end'
  // /etc/ecluse/list
  if (flags.length > 2 && /^[\w./-]+$/.test(text)) return `to read the entries from there, write file:${text}`
  return 'there are no other flags than i'
}

function readKey(text: string): string {
  if (text === '<>' || text === '.') return text
  if (text.startsWith('!'))
    throw unreadable(text, 'one ! is enough; a local part that begins with ! is quoted')
  if (text.length > ENTRY_LENGTH || CONTROL.test(text)) throw unreadable(text)
  const at = text.lastIndexOf('@')
  if (at === -1 || text.includes('"', at)) return readDomain(text, text)
  const user = text.slice(0, at)
  const domain = text.slice(at + 1)
  if (user === '') return readDomain(domain, text)
  if (user === '*') throw unreadable(text, domain === '' ? 'write .' : `write ${domain}`)
  if (!PLAIN_USER.test(user) && !QUOTED_USER.test(user)) throw unreadable(text)
  const local = splitAddress(`${user}@x`).user
  if (domain === '') return `${local}@`
  if (domain.startsWith('.')) throw unreadable(text, `write ${user}@ for any domain`)
  return `${local}@${readDomain(domain, text)}`
}

function readDomain(text: string, whole: string): string {
  if (LITERAL.test(text)) return domainKey(text)
  const dotted = text.startsWith('.')
  const name = dotted ? text.slice(1) : text
  if (name.length > DOMAIN_LENGTH || !DOMAIN.test(name)) throw unreadable(whole)
  const labels = name.split('.').length
  if (dotted && labels >= DOMAIN_KEYS) {
    throw new FilterError('E_CONFIG', `expected at most ${DOMAIN_KEYS - 1} labels behind the leading dot`, {
      hint: 'name a domain nearer to the root',
    })
  }
  return dotted ? `.${domainKey(name)}` : domainKey(name)
}

function unreadable(text: string, hint = cureFor(text)): FilterError {
  return new FilterError('E_CONFIG', EXPECTED, hint === undefined ? {} : { hint })
}

const CURES: readonly (readonly [RegExp, string | ((text: string) => string)])[] = [
  [/^$/, 'take the empty entry out; the null sender is <>'],
  [/^@$/, 'the null sender is <>'],
  [/^\*$/, 'everybody is .'],
  [/^\s/, 'no blank before an entry, nor behind its !'],
  [/^[^@*]+@\*$/, (text) => `write ${text.slice(0, -1)} for any domain`],
  [/^\*\.[^*?\s]+$/, (text) => `write ${text.slice(1)}`],
  [/^- /, 'entries stand alone, without - before them and without quotes'],
  [/^file:/i, 'write file: in small letters'],
  [/^[a-z]+:\/etc\//, 'maps of Postfix are not read: write file:PATH of a file with one entry on each line'],
  [
    /^[\d.]+\/\d+$|^[\da-f]*:[\da-f:]*\/\d+$/i,
    'networks are for clients: write the addresses or domains of mail',
  ],
  [/^[^"]*[^"\s][,;]/, 'write one entry for each address'],
  [/[*?]/, 'there are no wildcards: write .domain or a regular expression'],
  [/^<.*>$/, 'leave out the angle brackets'],
  [/^\.?[^@]*\.$|^[^@\s]+@[^@\s]+\.$/, 'leave out the dot at the end'],
  [/\s/, 'one entry has no blanks outside of quotes'],
]

function cureFor(text: string): string | undefined {
  if (text.length > ENTRY_LENGTH) return `it is longer than ${ENTRY_LENGTH} characters`
  const cure = CURES.find(([pattern]) => pattern.test(text))?.[1]
  return typeof cure === 'function' ? cure(text) : cure
}
