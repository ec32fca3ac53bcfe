import { isIpAddress } from '@ecluse/core'

const DURATION_WORD = /^(\d+(?:\.\d+)?)\s*(seconds?|secs?|minutes?|mins?|hours?|hrs?|days?)$/i
const SIZE_WORD = /^(\d+(?:\.\d+)?)\s*([kmg])(?:i?b)?$/i
const NUMBER = /^\d+(?:\.\d+)?$/

/** How to write what was probably meant. Absent: nobody knows. */
export function cureFor(notation: string, got: unknown): string | undefined {
  if (typeof got === 'string' && /\$\{\w*\}/.test(got)) return 'only secrets are taken from the environment'
  if (got === null) return 'give a value or remove the key'
  const what = notation.split(' ', 1)[0] ?? ''
  // A number in the right form is out of range: writing it in another way would not help.
  if (typeof got === 'number' && (what === 'number' || what === 'points')) return undefined
  const word = typeof got === 'number' || typeof got === 'string' ? String(got).trim() : undefined
  if (word === undefined) return undefined
  const better = CURES[what]?.(word)
  return better === undefined || better === got ? undefined : `write ${better}`
}

const CURES: Readonly<Record<string, (word: string) => string | undefined>> = {
  duration: (word) => {
    if (NUMBER.test(word)) return `${word}s`
    const [, number, unit = ''] = DURATION_WORD.exec(word) ?? []
    return number === undefined ? undefined : `${number}${unit.charAt(0).toLowerCase()}`
  },
  size: (word) => {
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
    return /^(?:no|off|0)$/i.test(word) ? 'false' : undefined
  },
  list: (word) =>
    /^[\w.:/-]{1,60}$/.test(word) ? `[${word.includes(':') ? JSON.stringify(word) : word}]` : undefined,
  number: (word) => (NUMBER.test(word) ? `${word} without quotes` : undefined),
  points: (word) => (/^-?\d+(?:\.\d+)?$/.test(word) ? `${word} without quotes` : undefined),
  text: (word) => (NUMBER.test(word) ? `"${word}"` : undefined),
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
