import { headerReadsOneWay } from '@ecluse/core'
import { headerValues } from './header.ts'
import { decodePath, PATH_OCTETS } from './path.ts'
import { holdsControl, matchAt, quotedEnd, skipComments } from './structuredValue.ts'

/** Characters of all From fields together; Postfix's own header_size_limit is 102,400. */
const MAX_LENGTH = 64 * 1024
const MAX_ADDRESSES = 100

// RFC 5322 section 3.2.3, and any 8-bit octet for RFC 6532. Runs of `A` cannot hold what ends them: one pass.
const WORD = /[\w!#$%&'*+/=?^`{|}~.\x80-\xff-]+/y
const ADDRESS = (() => {
  const atom = "[\\w!#$%&'*+/=?^`{|}~\\x80-\\xff-]+"
  const dotAtom = `${atom}(?:\\.${atom})*`
  const quoted = '"(?:[^"\\\\]|\\\\.)*"'
  return new RegExp(`(?:${dotAtom}|${quoted})@(?:${dotAtom}|\\[[^[\\]\\\\\\s]*\\])`, 'y')
})()

/**
 * The mailboxes of From: of all From fields all addresses, also those in groups (RFC 5322 section 3.6.2, RFC 6854), in
 * their order, each as often as it stands there, in the notation of an envelope. Display names and comments are no
 * addresses, whatever they look like.
 *
 * Empty where there is no From, and where it could be read in two ways: by any error of the grammar in any From field,
 * obsolete forms (routes, blanks in an address, empty places in a list) among them; by more than 64 KiB or 100
 * addresses; in a header that does not read one way (`headerReadsOneWay`). Whoever checked the sender may have seen
 * another author there.
 */
export function readAuthors(header: Buffer): string[] {
  return readAddresses(header, 'from')
}

/** The mailboxes of another field of addresses, such as To, as {@link readAuthors} reads those of From. */
export function readAddresses(header: Buffer, name: string): string[] {
  if (!headerReadsOneWay(header)) return []
  const addresses: string[] = []
  let length = 0
  for (const value of headerValues(header, name)) {
    length += value.length
    const found = length > MAX_LENGTH ? undefined : readMailboxes(value)
    if (!found || addresses.length + found.length > MAX_ADDRESSES) return []
    addresses.push(...found)
  }
  return addresses.map(decodePath)
}

/** An address, or the beginning of a group, which has none. `end`: behind it, and behind blanks and comments. */
interface Item {
  readonly address?: string
  readonly end: number
}

/** Absent: not an address-list of RFC 6854 section 2.1. */
function readMailboxes(text: string): string[] | undefined {
  if (holdsControl(text)) return undefined
  const found: string[] = []
  let inGroup = false
  let at = skipComments(text, 0)
  for (let item = readItem(text, at); item; item = readItem(text, at)) {
    at = item.end
    if (item.address !== undefined) found.push(item.address)
    else if (inGroup) return undefined
    else inGroup = true
    // A group may be empty.
    if (item.address === undefined && text[at] !== ';') continue
    if (inGroup && text[at] === ';') {
      inGroup = false
      at = skipComments(text, at + 1)
    }
    if (at === text.length) return inGroup ? undefined : found
    if (text[at] !== ',') return undefined
    at = skipComments(text, at + 1)
  }
  return undefined
}

/** Reads `address`, `phrase <address>` or `phrase:` at that place. */
function readItem(text: string, start: number): Item | undefined {
  const bare = readAddress(text, start)
  if (bare !== undefined) return { address: bare, end: skipComments(text, start + bare.length) }
  let at = start
  for (let end: number | undefined = at; end !== undefined; end = wordEnd(text, at)) {
    at = skipComments(text, end)
    if (text[at] === '<') {
      const address = readAddress(text, at + 1)
      const close = at + 1 + (address?.length ?? 0)
      if (address === undefined || text[close] !== '>') return undefined
      return { address, end: skipComments(text, close + 1) }
    }
    if (text[at] === ':' && at > start) return { end: skipComments(text, at + 1) }
  }
  return undefined
}

/** The place behind the atoms with dots, or the quoted string, that begin there (section 4.1, obs-phrase). */
function wordEnd(text: string, at: number): number | undefined {
  return text[at] === '"' ? quotedEnd(text, at) : matchAt(WORD, text, at) && WORD.lastIndex
}

function readAddress(text: string, at: number): string | undefined {
  const [address] = matchAt(ADDRESS, text, at) ?? []
  return address === undefined || address.length > PATH_OCTETS ? undefined : address
}
