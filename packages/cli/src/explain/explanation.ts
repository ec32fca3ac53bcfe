import type {
  AuthenticationMethod,
  Blemish,
  BounceSuppression,
  Category,
  Concern,
  Destiny,
  Direction,
  Envelope,
  Finding,
  OnError,
  Policy,
  PolicyConditions,
  SpamSymbol,
} from '@ecluse/core'
import type { FieldChange } from './headerDiff.ts'

/**
 * Why a message is treated as it is: the shape of `explain --json`, whose keys scripts rely on. Places are
 * `FILE:LINE:COLUMN` in the configuration, `FILE:LINE` in a list file, `default` for what no file says. Absent keys are unknown, or there is nothing of
 * the kind. Strings from the message or from servers are hostile.
 */
export interface Explanation {
  readonly message: ExplainedMessage
  readonly envelope: ShownEnvelope
  readonly direction: Direction
  readonly originating: {
    readonly value: boolean
    readonly why: string
    /** Of our networks, the one that decided. */
    readonly entry?: FoundEntry
  }
  readonly sender: ExplainedSender
  /** In the order of the configuration. */
  readonly scanners: readonly ExplainedScanner[]
  /** In RCPT TO order. */
  readonly recipients: readonly ExplainedRecipient[]
  /** Copies that would be handed over; empty: nobody gets the message. */
  readonly transactions: readonly ExplainedTransaction[]
  readonly quarantine: {
    readonly kept: boolean
    /** The category that it would be filed under. */
    readonly category?: Category
  }
  /** What else is to be known, one sentence each. */
  readonly notes: readonly string[]
}

interface ExplainedMessage {
  readonly file: string
  readonly form: 'message' | 'mbox' | 'quarantine'
  readonly lineEnds: 'crlf' | 'lf'
  /** Of a quarantined message its own; otherwise made for this explanation. */
  readonly id: string
  /** Bytes, with the line ends of the wire. */
  readonly size: number
  /** Hex SHA-256. */
  readonly digest: string
  /** Hex SHA-256 of what it has in common with its copies: verdicts are remembered by it. */
  readonly contentDigest?: string
  readonly subject?: string
}

/** The envelope, and where each part of it comes from: an option, the quarantine, or a field that is a guess. */
export interface ShownEnvelope {
  readonly mailFrom: string
  readonly mailFromSource: string
  readonly mailFromGuessed: boolean
  /** In RCPT TO order. */
  readonly recipients: readonly string[]
  readonly recipientsSource: string
  readonly recipientsGuessed: boolean
  /** IP address; absent: not known. */
  readonly client?: string
  readonly clientName?: string
  readonly helo?: string
  readonly clientSource: string
  readonly protocol: Envelope['protocol']
  readonly listener: string
  readonly smtpUtf8: boolean
}

/** What is known of the sender. */
export interface ExplainedSender {
  /** Under which the envelope sender may stand in a list, the most specific first. */
  readonly keys: readonly string[]
  /** Whether From and proofs were looked at: only where there are sender lists. */
  readonly asked: boolean
  /** Addresses of From. */
  readonly authors: readonly string[]
  readonly proofs: readonly {
    readonly method: AuthenticationMethod
    /** `mail-from`, `from`, or the domain. */
    readonly identity: string
  }[]
}

/** The entry of a list that decided. */
export interface FoundEntry {
  readonly entry: string
  /** The key under which it was found, or the regular expression; absent for networks. */
  readonly key?: string
  /** Whether it takes out what a broader entry lets in. */
  readonly negated: boolean
  readonly place: string
}

/** What one scanner said, or why it was not asked. */
export type ExplainedScanner = {
  readonly name: string
  readonly kind: string
  readonly concerns: readonly Concern[]
} & (
  | {
      readonly outcome: 'done'
      readonly elapsedMs: number
      readonly cached: boolean
      readonly findings: readonly Finding[]
      /** The daemon would not ask again about another copy, for a while; absent: it would. */
      readonly remembered?: true
    }
  | { readonly outcome: 'skipped'; readonly reason: string; readonly limitBytes: number }
  | {
      readonly outcome: 'failed'
      readonly elapsedMs: number
      readonly code: string
      readonly error: string
      readonly onError: OnError
    }
  | { readonly outcome: 'not asked'; readonly reason: string }
)

/** One condition of an overlay, and how it turned out. */
export interface ExplainedCondition {
  readonly condition: keyof PolicyConditions
  readonly holds: boolean
  /** What is wanted, where the condition is no list. */
  readonly wanted?: boolean
  /** Absent: none fits, or the condition is no list of addresses. */
  readonly match?: FoundEntry
  readonly place: string
}

/** One entry of `policies`. */
export interface ExplainedOverlay {
  /** Its number in `policies`, from 0. */
  readonly number: number
  readonly name: string
  readonly place: string
  readonly applies: boolean
  readonly conditions: readonly ExplainedCondition[]
  /** What it changed of the policy below it; empty: nothing, or it does not apply. */
  readonly changes: readonly {
    readonly key: string
    /** Absent: it was not set. */
    readonly from?: unknown
    readonly to: unknown
    readonly place: string
  }[]
}

/** One entry of `senders` that fits the sender. */
export interface ExplainedSenderEntry {
  /** Number of the list in `senders`, from 0. */
  readonly number: number
  readonly place: string
  readonly action?: 'allow' | 'block'
  readonly score?: number
  /** Whether an allowed sender needs no proof. */
  readonly unauthenticated: boolean
  readonly identity: 'mail-from' | 'from'
  readonly address: string
  readonly match: FoundEntry
  /** Of its `recipients`; absent: it is for all. */
  readonly recipient?: FoundEntry
  readonly counts: boolean
  /** Why it does not count. */
  readonly why?: string
}

/** Everything that was decided for one recipient, and by what. */
export interface ExplainedRecipient {
  readonly address: string
  readonly local: boolean
  /** Every key that lists are asked for, the most specific first. */
  readonly keys: readonly string[]
  /** Those that apply, and those of which a condition holds, in the order of the configuration. */
  readonly overlays: readonly ExplainedOverlay[]
  /** How many others there are. */
  readonly overlaysLeftOut: number
  /** With every overlay that applies. */
  readonly policy: Policy
  /** Scanners that are asked for this recipient. */
  readonly scanners: readonly string[]
  readonly senders: {
    readonly listed?: 'allowed' | 'blocked'
    readonly points: number
    readonly entries: readonly ExplainedSenderEntry[]
  }
  /** Absent: nobody scored. */
  readonly score?: number
  /** What made up the points: rules of the scanners, virus names, sender lists. */
  readonly symbols: readonly SpamSymbol[]
  readonly viruses: readonly string[]
  /** All that apply, worst first; empty: clean. */
  readonly categories: readonly {
    readonly category: Blemish
    readonly destiny: Destiny
    readonly decides: boolean
    readonly why: string
  }[]
  readonly category: Category
  readonly destiny: Destiny
  /** With `softBounce`, the destiny without it. */
  readonly softened?: Destiny
  /** Why the sender gets no DSN although the policy says bounce; then `destiny` is discard. */
  readonly suppressed?: BounceSuppression
  /** Whether a scanner with `onError: tempfail` failed, without which nothing is decided. */
  readonly deferred: boolean
  readonly quarantined: boolean
  readonly quarantineWhy: string
  /** Number of the copy in `transactions`, from 0; absent: there is none. */
  readonly transaction?: number
  /** As it goes out; absent: it does not. */
  readonly target?: string
  /** Absent: the next hop gives it. */
  readonly reply?: string
  /** Who gives it: us, or the next hop at its address. */
  readonly replyFrom: string
}

/** One copy: who gets it, and what its header has less and more. */
export interface ExplainedTransaction {
  readonly recipients: readonly { readonly address: string; readonly target: string }[]
  readonly changes: readonly FieldChange[]
  /** Changes that are too many to show. */
  readonly changesLeftOut: number
  /** Decoded; absent: it stays as it is. */
  readonly subject?: { readonly before?: string; readonly after?: string }
}
