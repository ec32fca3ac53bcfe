import { isIpAddress } from '@ecluse/core'

const DURATION_WORD = /^(\d+(?:\.\d+)?)\s*(seconds?|secs?|minutes?|mins?|hours?|hrs?|days?)$/i
const SIZE_WORD = /^(\d+(?:\.\d+)?)\s*([kmg])(?:i?b)?$/i
const NUMBER = /^\d+(?:\.\d+)?$/

/** How to write what was probably meant. Absent: nobody knows. */
export function cureFor(notation: string, got: unknown): string | undefined {
  if (typeof got === 'string' && /\$\{\w*\}/.test(got)) return 'only secrets are taken from the environment'
  if (got === null) return 'give a value or remove the key'
  if (typeof got === 'object') return cureForBrackets(notation, got)
  return typeof got === 'number' || typeof got === 'string' ? cureForWord(notation, got) : undefined
}

function cureForWord(notation: string, got: number | string): string | undefined {
  const what = Object.hasOwn(CURES, notation) ? notation : (notation.split(' ', 1)[0] ?? '')
  // A number in the right form is out of range: writing it in another way would not help.
  if (typeof got === 'number' && (what === 'number' || what === 'points')) return undefined
  const better = CURES[what]?.(String(got).trim(), notation)
  return better === undefined || better === got ? undefined : `write ${better}`
}

/** What YAML made a list or a section of. */
function cureForBrackets(notation: string, got: object): string | undefined {
  const isList = Array.isArray(got)
  if (notation.startsWith('list of ') && !isList) return 'begin each entry with - and a blank'
  if (notation.startsWith('section of ') && isList) return 'write NAME: VALUE for each, without - before it'
  return notation === 'field name' && !isList ? 'leave out the colon' : undefined
}

/** The same for a secret, without showing it. */
export function cureForSecret(got: unknown): string | undefined {
  if (typeof got === 'number') return 'put it in quotes'
  if (got === null) return 'give a value or remove the key'
  if (typeof got === 'string' && /^\$[A-Za-z_]\w*$/.test(got)) return 'write ${NAME}, with braces'
  const ends = typeof got === 'string' && /[\r\n]$/.test(got)
  return ends ? 'it has a line end: write it behind the key, in quotes' : undefined
}

/** Better words, from what was written and the notation of the key. */
const CURES: Readonly<Record<string, (word: string, notation: string) => string | undefined>> = {
  duration: (word, notation) => {
    // Where hours are the least, seconds are not meant.
    if (NUMBER.test(word)) return `${word}${/ \d+[hd]–/.test(notation) ? 'd' : 's'}`
    const [, number, unit = ''] = DURATION_WORD.exec(word) ?? []
    return number === undefined ? undefined : `${number}${unit.charAt(0).toLowerCase()}`
  },
  size: (word, notation) => {
    if (word === '0') return / 0B/.test(notation) ? '0B' : mostOf(notation)
    if (NUMBER.test(word)) return `${word}B`
    const [, number, unit = ''] = SIZE_WORD.exec(word) ?? []
    return number === undefined ? undefined : `${number}${unit === 'k' ? 'K' : unit.toUpperCase()}iB`
  },
  address: addressCure,
  domain: (word) => {
    if (word.startsWith('*.')) return word.slice(1)
    const at = word.lastIndexOf('@')
    return at === -1 || at === word.length - 1 ? undefined : word.slice(at + 1)
  },
  octal: (word) => (/^0?[0-7]{3}$/.test(word) ? `"${word.padStart(4, '0')}"` : undefined),
  true: (word) => {
    if (/^(?:yes|on|1)$/i.test(word)) return 'true'
    if (/^(?:true|false)$/i.test(word)) return `${word.toLowerCase()} without quotes`
    return /^(?:no|off|0)$/i.test(word) ? 'false' : undefined
  },
  list: (word) => {
    if (/^\w[\w./@-]{0,59}$/.test(word)) return `[${word}]`
    return /^[^\s"'\\,]{1,60}$/.test(word) ? `[${JSON.stringify(word)}]` : undefined
  },
  'address list entry': (word) => (NUMBER.test(word) ? `"${word}"` : undefined),
  'host name': (word) => /^([\w-]+(?:\.[\w-]+)*\.[a-z][\w-]*)(?:\.|\s.*)$/i.exec(word)?.[1],
  character: (word) => (/^(?:no|none|off|false|undef)$/i.test(word) ? '""' : undefined),
  extension: (word) => /^[+=#_.-]*([A-Za-z0-9_-]{1,40})(?:@.*)?$/.exec(word)?.[1],
  number: (word) => (NUMBER.test(word) ? `${word} without quotes` : undefined),
  points: (word) => {
    const number = /^\+?(-?\d+(?:\.\d+)?)$/.exec(word)?.[1]
    return number === undefined ? undefined : `${number} without quotes`
  },
  text: (word) => (NUMBER.test(word) ? `"${word}"` : undefined),
}

/** For who writes 0 where it is no word for "without limit". */
function mostOf(notation: string): string | undefined {
  const most = /–(\S+)$/.exec(notation)?.[1]
  return most && `${most} for as much as possible`
}

/** Addresses as Postfix, URLs and `ss` write them. */
function addressCure(word: string): string | undefined {
  if (/^\d{1,5}$/.test(word)) return `127.0.0.1:${word}`
  if (word.startsWith('unix:') && !word.startsWith('unix:/')) return `unix:/${word.slice(5)}`
  const bare = word.replace(/^(?:inet|tcp|smtp|lmtp|http):(?:\/\/)?/, '')
  const bracketed = /^\[([\w.-]+)\]:(\d+)$/.exec(bare)
  if (bracketed && !isIpv6(bracketed[1] ?? '')) return `${bracketed[1]}:${bracketed[2]}`
  if (bare.startsWith('/')) return `unix:${bare}`
  if (isIpv6(bare)) return `[${bare}]:PORT`
  if (/^[\w.-]+$/.test(bare)) return `${bare}:PORT`
  return bare === word ? undefined : bare
}

function isIpv6(text: string): boolean {
  return text.includes(':') && isIpAddress(text)
}
