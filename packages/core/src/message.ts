import type { Readable } from 'node:stream'

/** A message at rest in the spool: immutable, any number of readers at the same time. */
export interface Message {
  /** Our id: 12 characters of base64url, beginning and ending alphanumeric; in log, header, reply and quarantine. */
  readonly id: string
  readonly sizeBytes: number
  /** Hex SHA-256 of the bytes as received: dots unstuffed, final CRLF included. */
  readonly digest: string
  /** All bytes, when they are held in memory (at most `spool.memoryBytes`); absent: they are in a file. */
  readonly bytes?: Buffer
  /** The header block with the empty line that ends it, or what there is of it up to 1 MiB. */
  readonly header: Buffer
  /**
   * What it has in common with its other copies, for whoever remembers what was found in it; absent: nobody does. Costs
   * a second digest when it is first asked.
   */
  content?(): MessageContent
  /** A new reader, from the first byte or from `offset`. The caller consumes or destroys it. */
  open(offset?: number): Readable
}

/** A message without the way by which it came. */
export interface MessageContent {
  /** Hex SHA-256 of the bytes without trace fields; of all bytes where the header does not read one way. */
  readonly digest: string
  /** The trace fields that `digest` leaves out, as `splitHeader` gives them; empty: it leaves out none. */
  readonly trace: readonly string[]
}

const STRAY_BYTE = /\0|\r(?!\n)|(?<!\r)\n/
const BLANK_LINE = /\n[ \t]+\r/
const OBSOLETE_FIELD = /(?:^|\n)[\x21-\x39\x3b-\x7e]+[ \t]+:/

/**
 * Whether every program finds the same fields in a header block: an empty line ends it, CRLF ends each line, no
 * folded line is blank, no name has blanks behind it (RFC 5322 sections 2.2 and 4.2), and there is no NUL. Where this
 * does not hold, a field may be hidden from the one who checked the sender, and shown to the one who relies on it.
 *
 * @param header as in {@link Message}: one that was cut off has no end
 */
export function headerReadsOneWay(header: Buffer): boolean {
  const text = header.toString('latin1')
  if (!text.endsWith('\r\n\r\n')) return false
  return !STRAY_BYTE.test(text) && !BLANK_LINE.test(text) && !OBSOLETE_FIELD.test(text)
}
