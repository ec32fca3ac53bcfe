import type { Readable } from 'node:stream'
import type { Category, Message } from '@ecluse/core'
import type {
  Infection,
  QuarantineEntry,
  QuarantineItem,
  QuarantineRecord,
  RecipientState,
  Release,
} from './record.ts'
import type { Retention } from './retention.ts'

/** Which messages; all that is given must hold. Empty: all. */
export interface QuarantineFilter {
  /** Empty: none. */
  readonly categories?: readonly Category[]
  /** Only what was stored before that time. */
  readonly storedBefore?: Date
  /** Only what was stored then or later. */
  readonly storedSince?: Date
  /** Points; what no scanner scored has none, and fits neither. Both inclusive. */
  readonly minScore?: number
  readonly maxScore?: number
  /**
   * An address, or a domain (`example.org`, `.example.org` with all below it), of some recipient; upper and lower case
   * are the same.
   */
  readonly recipient?: string
  /** The same of the envelope sender; '' is the null sender. */
  readonly sender?: string
  /** Stands somewhere in the decoded subject; upper and lower case are the same. */
  readonly subject?: string
  /** Of that recipient; without `recipient`: of any. */
  readonly states?: readonly RecipientState[]
}

/** A piece of a list. */
export interface QuarantinePage {
  /** How many at most; absent: all. */
  readonly limit?: number
  /** How many of the first ones are left out. */
  readonly offset?: number
  /** Only what comes behind this one. @throws FilterError E_QUARANTINE when it is not there any more. */
  readonly after?: string
  /** Told of each message that cannot be read; absent: such are passed over. */
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

/** How much is kept. */
export interface QuarantineUsage {
  readonly files: number
  /** As stored: our fields included, and compressed where it is. */
  readonly bytes: number
}

/** What is kept, in figures. */
export interface QuarantineStats extends QuarantineUsage {
  /** Categories of which there is something, worst first. */
  readonly categories: readonly ({
    readonly category: Category
    readonly oldest: Date
    readonly newest: Date
  } & QuarantineUsage)[]
  /** Messages that nobody waits for any more: released or deleted for each recipient. */
  readonly settled: number
}

/** What one call of expire has done. */
export interface Expired {
  readonly files: number
  readonly bytes: number
  /** Whether there is more to delete: the limit was reached. */
  readonly more: boolean
}

/** Where messages are kept. Every method throws FilterError E_QUARANTINE, for an id that is none too. */
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
  /** Newest first, by id where they are of the same time. What comes or goes meanwhile may or may not be among them. */
  list(filter?: QuarantineFilter, page?: QuarantinePage): AsyncIterable<QuarantineItem>
  /** @throws FilterError E_QUARANTINE when there is none of that id. */
  get(id: string): Promise<QuarantineEntry>
  /** @throws FilterError E_QUARANTINE when there is none of that id, or it is not whole any more. */
  open(id: string): Promise<QuarantinedMessage>
  /**
   * Deletes it; with addresses, only for those recipients, and altogether once it is deleted for everybody for whom it
   * was kept. Durable when it resolves.
   *
   * @throws FilterError E_QUARANTINE when there is none of that id.
   */
  delete(id: string, recipients?: readonly string[]): Promise<void>
  /**
   * Records that Postfix has taken it. Durable when it resolves.
   *
   * @throws FilterError E_QUARANTINE when there is none of that id.
   */
  markReleased(id: string, release: Release): Promise<void>
  /**
   * Records that a virus was found in it: from then on it is released as one. It stays in the list as what it came as.
   * Durable when it resolves.
   *
   * @throws FilterError E_QUARANTINE when there is none of that id.
   */
  markInfected(id: string, infection: Infection): Promise<void>
  stats(filter?: QuarantineFilter): Promise<QuarantineStats>
  /** What `stats` counts, often asked for: after the first call only what has changed is counted anew. */
  usage(): Promise<QuarantineUsage>
  /**
   * Deletes what {@link Retention} says, the first in its order first. Returns at once with nothing done where another
   * process is at it.
   *
   * @param limit messages that one call deletes at most
   */
  expire(retention: Retention, work: ExpiryWork): Promise<Expired>
  /**
   * Does a piece of work that is enough for one process at a time. It guards nothing: after ten minutes, a process on
   * another machine counts as gone.
   *
   * @returns absent: another process is at work of that name, and nothing was done
   * @throws what `work` throws
   */
  alone<T>(name: 'rescan', work: () => Promise<T>): Promise<T | undefined>
  /** Makes what the store keeps for speed anew, from the messages themselves. Never needed, and always harmless. */
  rebuild(onDamaged?: (error: unknown) => void): Promise<QuarantineUsage>
  /**
   * Writes what it has put off for speed, and ends its connections, if it has any; what comes afterwards may fail. Never
   * rejects; a second call does nothing.
   */
  close(): Promise<void>
}

/** How much expire does in one call. */
export interface ExpiryWork {
  readonly now: Date
  readonly limit: number
  readonly signal: AbortSignal
}
