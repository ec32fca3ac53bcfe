import type { Readable } from 'node:stream'
import type { Category, Message } from '@ecluse/core'
import type { QuarantineEntry, QuarantineRecord } from './record.ts'

/** Which entries to list; empty: all. */
export interface QuarantineFilter {
  readonly categories?: readonly Category[]
  /** Only what was stored before that time. */
  readonly storedBefore?: Date
  /** Told of each file that cannot be read; absent: such files are passed over. */
  readonly onDamaged?: (error: unknown) => void
}

/** The original of a quarantined message: its bytes as they were received. */
export interface QuarantinedMessage {
  readonly entry: QuarantineEntry
  readonly sizeBytes: number
  /**
   * A new reader from the first byte. The caller consumes or destroys it. It fails with E_QUARANTINE when the
   * message is gone, or is not whole any more.
   */
  open(): Readable
}

/** Where messages are kept. Every method throws FilterError E_QUARANTINE. */
export interface QuarantineStore {
  /**
   * Removes what a killed process left behind, and tests that the store can be written. Once, before the first put.
   *
   * @throws FilterError E_QUARANTINE with a hint.
   */
  prepare(): Promise<void>
  /**
   * Tests that the store can be written, at any time.
   *
   * @throws FilterError E_QUARANTINE with a hint.
   */
  check(): Promise<void>
  /**
   * Keeps the message. Resolves only when it is durable; whatever happens before, nothing of it can be seen. Once
   * kept, the same message under the same id is not written again.
   *
   * @throws FilterError E_QUARANTINE, also when `signal` aborts.
   */
  put(record: QuarantineRecord, message: Message, signal: AbortSignal): Promise<void>
  /** Newest first. What is put or deleted meanwhile may or may not be among them. */
  list(filter?: QuarantineFilter): AsyncIterable<QuarantineEntry>
  /** @throws FilterError E_QUARANTINE when there is none of that id. */
  get(id: string): Promise<QuarantineEntry>
  /** @throws FilterError E_QUARANTINE when there is none of that id, or it is not whole any more. */
  open(id: string): Promise<QuarantinedMessage>
  /** Durable when it resolves. @throws FilterError E_QUARANTINE when there is none of that id. */
  delete(id: string): Promise<void>
  /** What is kept, our fields in front included. After the first call only what has changed is counted anew. */
  usage(): Promise<{ readonly files: number; readonly bytes: number }>
}
