import { isUtf8 } from 'node:buffer'

/**
 * Longest path taken, in octets. RFC 5321 section 4.5.3.1.3 demands 256; this is what Postfix's smtpd reads of a
 * whole line by default (line_length_limit), so no address of its queue is longer.
 */
export const PATH_OCTETS = 2048

/** Escapes stand at U+DC80 to U+DCFF: lone low surrogates, which no valid UTF-8 decodes to. */
const ESCAPE = 0xdc_00

const NON_ASCII = /[\x80-\uffff]/
// An ordinary path, which nearly all are, is read by the first; the second adds quoted strings, whose content may be
// anything that ends no line: Postfix takes control characters from strangers, quotes them, and would send a notice if
// they were refused here. Their alternatives begin with different characters: no input makes them backtrack.
// oxlint-disable-next-line no-control-regex -- refusing control characters is the purpose
const PLAIN_PATH = /<([^\x00-\x20\x7f<>"]*)>/y
// oxlint-disable-next-line no-control-regex -- as above
const QUOTED_PATH = /<((?:[^\x00-\x20\x7f<>"]|"(?:[^\0\r\n"\\]|\\[^\0\r\n])*")*)>/y
// Of octets: a run of UTF-8 (RFC 3629 section 4), or one that is none.
const UTF8_OR_OCTET =
  /(?:[^\x80-\xff]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+|[\x80-\xff]/g
// Of UTF-16: a run of characters, or half a one.
const TEXT_OR_SURROGATE = /(?:[^\ud800-\udfff]|[\ud800-\udbff][\udc00-\udfff])+|[\ud800-\udfff]/g
const SOURCE_ROUTE = /^@(?:\[[^\]]*\]|[^,:@[\]"]+)(?:,@(?:\[[^\]]*\]|[^,:@[\]"]+))*:/

/**
 * Reads the path that stands in angle brackets at `from`; `end` is the place behind the bracket.
 * Absent: no path of RFC 5321 in the widest sense, or longer than {@link PATH_OCTETS}.
 *
 * Only what would change the command is refused: NUL, CR and LF, and other control characters, angle brackets or blanks
 * outside of quotes. Everything else is Postfix's affair: dots in any place, no domain at all, underscores, unquoted 8-bit characters.
 *
 * @param line one character for each octet
 */
export function parsePath(
  line: string,
  from: number,
): { readonly address: string; readonly end: number } | undefined {
  PLAIN_PATH.lastIndex = from
  QUOTED_PATH.lastIndex = from
  const match = PLAIN_PATH.exec(line) ?? QUOTED_PATH.exec(line)
  const path = match?.[1]
  if (match === null || path === undefined || path.length > PATH_OCTETS) return undefined
  const end = from + match[0].length
  if (!path.startsWith('@')) return { address: decodePath(path), end }
  // RFC 5321 appendices C and F.2: a source route is accepted and dropped. Kept, it would hide the mailbox from the
  // policy, while the next hop, Postfix, drops it too and delivers to that mailbox.
  const address = decodePath(path.replace(SOURCE_ROUTE, ''))
  return address === '' ? undefined : { address, end }
}

/**
 * Reads an address that a person wrote, with its angle brackets or without; `<>` and '' are the null sender. Absent: no
 * path, see {@link parsePath}.
 */
export function readPath(text: string): string | undefined {
  const octets = encodePath(/^<.*>$/s.test(text) ? text : `<${text}>`)
  const path = parsePath(octets, 0)
  return path?.end === octets.length ? path.address : undefined
}

/**
 * Octets, one in each character (latin1), as text: UTF-8 decoded, each octet that is not UTF-8 as U+DC00 + octet.
 * {@link encodePath} gives back exactly the same octets.
 */
export function decodePath(octets: string): string {
  if (!NON_ASCII.test(octets)) return octets
  const bytes = Buffer.from(octets, 'latin1')
  if (isUtf8(bytes)) return bytes.toString('utf8')
  return octets.replace(UTF8_OR_OCTET, (part) => {
    const code = part.charCodeAt(0)
    const escaped = part.length === 1 && code >= 0x80
    return escaped ? String.fromCharCode(ESCAPE + code) : Buffer.from(part, 'latin1').toString('utf8')
  })
}

/**
 * The inverse of {@link decodePath}: the octets of an address, one in each character (latin1), for a command line.
 * A lone surrogate that stands for no octet becomes U+FFFD; no escape yields an ASCII octet, so none can end a line.
 */
export function encodePath(address: string): string {
  if (!NON_ASCII.test(address)) return address
  return address.replace(TEXT_OR_SURROGATE, (part) => {
    const code = part.charCodeAt(0)
    const escaped = part.length === 1 && code >= ESCAPE + 0x80 && code <= ESCAPE + 0xff
    return escaped ? String.fromCharCode(code - ESCAPE) : Buffer.from(part, 'utf8').toString('latin1')
  })
}
