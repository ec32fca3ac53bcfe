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
  /** A new reader, from the first byte or from `offset`. The caller consumes or destroys it. */
  open(offset?: number): Readable
}
