import type { Readable } from 'node:stream'

/** A message on its way out: header edits applied, not yet dot-stuffed. */
export interface OutgoingMessage {
  readonly sizeBytes: number
  /** All bytes in order, when they are in memory; absent: read `open()`. */
  readonly chunks?: readonly Buffer[]
  /** A new reader from the first byte. The caller consumes or destroys it. */
  open(): Readable
}
