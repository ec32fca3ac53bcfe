import type { Envelope } from './envelope.ts'
import type { FilterError } from './errors.ts'
import type { Message } from './message.ts'
import type { OptionsOf, Section } from './schema.ts'
import type { Verdict } from './verdict.ts'

/** What a scanner is shown. */
export interface ScanRequest {
  readonly message: Message
  readonly envelope: Envelope
  /** Our own host name. */
  readonly hostname: string
}

/** What a scanner runs: for the log, `doctor`, the signature-age metric, and to know when what it found is out of date. */
export interface ScannerVersion {
  /** Product and version, such as `ClamAV 1.4.3`. */
  readonly engine: string
  /** Version of the signatures or rules; absent: the engine tells none. */
  readonly signatures?: string
  /** When the signatures were made, Unix seconds; absent: the engine tells none. */
  readonly signatureTimestamp?: number
}

/** What an engine has loaded. */
export interface LoadedSignatures {
  /** Any text; another one once something else is loaded. */
  readonly state: string
  /** Whether it works with it by now; false: it is there to be loaded, and clean may be what the old ones say. */
  readonly isCertain: boolean
}

/** What a scanner looks for; a message over its `maxSize` is unchecked for viruses, or not scored for spam. */
export const CONCERNS = ['virus', 'spam'] as const
export type Concern = (typeof CONCERNS)[number]

/**
 * What an answer may depend on, beside the engine, what it has loaded, and its options: the message without the way by
 * which it came; who gave it to Postfix (address, name, HELO, with or without a password; where the address is unknown,
 * the way itself); the envelope sender; the recipients, in order; our own host name.
 */
export const VERDICT_INPUTS = ['content', 'client', 'sender', 'recipients', 'hostname'] as const
export type VerdictInput = (typeof VERDICT_INPUTS)[number]

/** How the answers of a configured scanner may be remembered. */
export interface VerdictMemory {
  readonly inputs: readonly VerdictInput[]
  /** Its options, as text: other options, other answers. Without secrets and without what changes no answer. */
  readonly settings: string
}

/** What a message is, as people judge. */
export const LEARNED_CLASSES = ['ham', 'spam'] as const
export type LearnedClass = (typeof LEARNED_CLASSES)[number]

/** A configured scanner. One instance serves all messages; it keeps no state between them. */
export interface Scanner {
  /**
   * Looks at the message and says what it found. Stops, and frees its socket, when `signal` aborts; leaves no listener
   * on it when it settles, for the signal serves further scans.
   * A scanner that fails, or answers in part, never says clean: it throws.
   *
   * @throws FilterError E_SCANNER_CONNECT, E_SCANNER_LOST, E_SCANNER_TIMEOUT, E_SCANNER_BUSY, E_SCANNER_PROTOCOL,
   * E_SCANNER_LIMIT.
   */
  scan(request: ScanRequest, signal: AbortSignal): Promise<Verdict>
  /**
   * Whether the scan with this signal has not been begun, since the engine looks at as many messages as it may; absent:
   * scans do not wait.
   */
  isWaiting?(signal: AbortSignal): boolean
  /** Asks the engine who it is; also the test whether it answers. Throws as `scan` does. */
  version(signal: AbortSignal): Promise<ScannerVersion>
  /**
   * Asks what the engine has loaded. Quick, for it is asked each time that something remembered is used. Absent: it
   * cannot tell, and nothing is remembered for longer than a spam score. Throws as `scan` does.
   */
  loaded?(signal: AbortSignal): Promise<LoadedSignatures>
  /**
   * Tells the engine what the message is, so that it knows the next one of its kind; absent: it cannot be told.
   *
   * @returns whether it learned something: it may have known this message
   * @throws FilterError as `scan` does; E_SCANNER_PROTOCOL also when the engine refuses, with its reason
   */
  learn?(message: Message, as: LearnedClass, signal: AbortSignal): Promise<boolean>
  /** Frees idle connections; absent: there are none. */
  close?(): Promise<void>
}

/** How a kind of scanner declares itself; listed in packages/scanners/src/kinds.ts. */
export interface ScannerKind {
  /** The value of `kind:` in the configuration. */
  readonly kind: string
  /** One sentence, shown by `ecluse scanners`. */
  readonly description: string
  readonly concerns: readonly Concern[]
  /** Whether it may find proofs of who the sender is ('authenticated'); absent: no. */
  readonly proves?: boolean
  /** What its answers depend on; absent: they are not remembered. */
  readonly verdictInputs?: readonly VerdictInput[]
  /** What of these the engine is not told with such options; absent: it is told all of them. */
  readonly untold?: (options: unknown) => readonly VerdictInput[]
  /** Its own keys, beside those that every scanner has (`name`, `kind`, `timeout`, `onError` …). */
  readonly options: Section
  /** Values for the common keys where this kind's users expect others: `timeout`, `onError`. */
  readonly defaults?: { readonly timeout?: string; readonly onError?: OnError }
  /** Builds a scanner from its options, already read by `options`. */
  create(name: string, options: unknown): Scanner
}

/** Declares a kind, with the options of `create` typed by its schema. */
export function scannerKind<S extends Section>(
  kind: Omit<ScannerKind, 'options' | 'create' | 'untold'> & {
    readonly options: S
    create(name: string, options: OptionsOf<S>): Scanner
    readonly untold?: (options: OptionsOf<S>) => readonly VerdictInput[]
  },
): ScannerKind {
  const { untold } = kind
  return {
    ...kind,
    create: (name, options) => kind.create(name, options as OptionsOf<S>),
    untold: (options) => untold?.(options as OptionsOf<S>) ?? [],
  }
}

/**
 * What a scanner's failure means for the message: `tempfail`, Postfix tries again later; `pass`, as if the
 * scanner were not there, marked X-Virus-Status: Unchecked where it looks for viruses; `unchecked`, the same with
 * the category unchecked, whose destiny then applies.
 */
export const ON_ERROR = ['tempfail', 'pass', 'unchecked'] as const
export type OnError = (typeof ON_ERROR)[number]

/** When a scanner that fails is left alone, and for how long. */
export interface BreakerSettings {
  /** Failures in a row after which it is not asked any more; 0: it is always asked. */
  readonly failures: number
  /** After so long one message tries again. */
  readonly retryAfterMs: number
}

/** A scanner with what the configuration says of it. */
export interface ConfiguredScanner {
  /** Instance name: metric label and log field. */
  readonly name: string
  readonly kind: string
  readonly concerns: readonly Concern[]
  readonly timeoutMs: number
  /** Absent: no limit. */
  readonly maxSizeBytes?: number
  readonly onError: OnError
  /**
   * Names of the scanners that it stands in for, at least one and none of them a backup: it is asked when all of them
   * that were asked have failed for the message. Absent: it is asked at once.
   */
  readonly backupFor?: readonly string[]
  /** When it is not asked for a while. Absent: it is always asked. */
  readonly breaker?: BreakerSettings
  /**
   * What `scanner` was made of: with the same name, kind and options, a reload keeps the scanner that is there.
   * Absent: no other is the same.
   */
  readonly options?: unknown
  /** Absent: its answers are not remembered. */
  readonly memory?: VerdictMemory
  readonly scanner: Scanner
}

/** The runner's record of one scanner and one message. Durations in milliseconds. */
export type ScanResult = {
  readonly scanner: string
  readonly concerns: readonly Concern[]
  readonly elapsedMs: number
  /** So long it waited in vain for the scan of another copy, before this one; absent: not at all. */
  readonly waitedMs?: number
  /** `MessageContent.digest`, where what it finds is remembered by that. */
  readonly contentDigest?: string
  /** As configured: then the scanners that it names are among the results, and failed. */
  readonly backupFor?: readonly string[]
} &
  /** `cached`: it was not asked about this message, but about another copy. */
  (
    | { readonly outcome: 'done'; readonly verdict: Verdict; readonly cached: boolean }
    | { readonly outcome: 'skipped'; readonly reason: 'too large' }
    | {
        readonly outcome: 'failed'
        readonly error: FilterError
        readonly onError: OnError
        /** The backup that looked at the message in its place: then `onError` does not count. */
        readonly coveredBy?: string
      }
  )
