import type { Category, SmtpReply } from '@ecluse/core'

/**
 * How a recipient was done for good: 10025 took the message (`relayed`) or refused it (`refused`), or a rule of ours
 * discarded or rejected it (`blocked`).
 */
export const LEDGER_OUTCOMES = ['relayed', 'refused', 'blocked'] as const
export type LedgerOutcome = (typeof LEDGER_OUTCOMES)[number]

/** What was done for one recipient. */
export interface LedgerResult {
  readonly reply: SmtpReply
  readonly outcome: LedgerOutcome
  /** Postfix's new queue id, where its reply told it. */
  readonly queuedAs?: string
  /** What the message was filed under; absent: not told. */
  readonly category?: Category
}

/**
 * One try to bring one message to some of its recipients. Recipients are named by their keys, see
 * {@link recipientKeys}; naming one that the attempt did not begin with is a TypeError.
 */
export interface Attempt {
  /** What earlier attempts have done for these recipients: give the stored reply, deliver to the others only. */
  readonly done: ReadonlyMap<string, LedgerResult>
  /** Whether another attempt for one of these recipients was under way, and had to be waited for. */
  readonly joined: boolean
  /**
   * The id that an earlier attempt has reserved for all of these recipients, so that what it kept under the id need
   * not be kept again; absent: there is none, or there are several, and a new id is needed. With no recipients: absent.
   */
  reservedId(recipients: Iterable<string>): string | undefined
  /**
   * Remembers the id under which something is about to be kept for these recipients. Call it before the keeping.
   * Nothing is written where the id is already theirs.
   *
   * @throws FilterError E_LEDGER when it could not be written, as in {@link Attempt.record}.
   */
  reserve(id: string, recipients: Iterable<string>): Promise<void>
  /**
   * Remembers what was done. A reply of 4xx is left out, since Postfix comes again for that recipient.
   *
   * Fulfilled when the kernel has the bytes: they survive a SIGKILL of this process. They are not synced to the disk:
   * after a power cut some may be missing, and a message may be delivered twice, but none is lost.
   *
   * @throws FilterError E_LEDGER when it could not be written: a retry may deliver again what was delivered.
   */
  record(results: ReadonlyMap<string, LedgerResult>): Promise<void>
  /**
   * Lets those go on who wait for this attempt, as soon as what it has given to write is written. To be called once
   * whatever happens, in a `finally`; once more does nothing. There is no timeout: an attempt without its end blocks its
   * recipients for as long as the process lives.
   */
  end(): void
}

/** What `prepare` found. */
export interface LedgerReport {
  /** Records that are remembered. */
  readonly entries: number
  /** Lines that were passed over: torn by a crash, or not ours. */
  readonly damaged: number
}

/**
 * Remembers what was done for a message, so that a lost reply does not become a second delivery: Postfix, not having
 * got our answer, brings the same queue id again.
 */
export interface Ledger {
  /**
   * Takes the folder, makes it where it is missing, and reads what is remembered. Once, before the first attempt.
   *
   * @throws FilterError E_LEDGER with a hint; also when another process works in the folder.
   */
  prepare(): Promise<LedgerReport>
  /**
   * Begins an attempt for these recipients. While an earlier one of the same message and one of these recipients has not
   * ended, it waits for it, first come first served; attempts without a common recipient do not wait for each other.
   *
   * @param key see {@link ledgerKey}
   * @param recipients see {@link recipientKeys}
   * @throws FilterError E_ABORTED when `signal` aborts before the attempt has begun; E_LEDGER when the ledger cannot be
   *   read, or when writing has failed and still fails: nothing shall be delivered that could not be remembered.
   */
  begin(key: string, recipients: readonly string[], signal: AbortSignal): Promise<Attempt>
  /**
   * Tests that the ledger can be written, at any time; after a failure, that ends the failed state. Also drops what has
   * expired.
   *
   * @throws FilterError E_LEDGER with a hint.
   */
  check(): Promise<void>
  /** Records that are remembered; expired ones count until their file is dropped. */
  readonly entries: number
  /** Writes what was given to write, and frees the folder. Attempts can no longer be begun, nor recorded. */
  close(): Promise<void>
}
