import {
  CATEGORIES,
  type BounceSuppression,
  type Category,
  type Decision,
  type DeliveryResult,
  type Destiny,
  type Direction,
  type Envelope,
  type ErrorCode,
  type Recipient,
  type ScanResult,
  type SmtpReply,
  type SpamSymbol,
  isBounceReply,
  listSymbol,
} from '@ecluse/core'
import type { LedgerResult } from '@ecluse/state'
import type { Outcome } from './pipeline.ts'
import type { StageTimes } from './stageTimes.ts'

/** What one scanner said, as a metric label. */
export const SCAN_VERDICTS = ['clean', 'virus', 'spam', 'unchecked', 'error', 'timeout'] as const
type ScanVerdict = (typeof SCAN_VERDICTS)[number]

/** What was done for one recipient. */
export type RecipientOutcome = 'relayed' | 'discarded' | 'rejected' | 'bounced' | 'tempfailed'

/** A message as it came in. Size 0 and digest '': it could not be stored. */
export interface Handled {
  readonly id: string
  readonly sizeBytes: number
  /** Hex SHA-256. */
  readonly digest: string
  readonly envelope: Envelope
  readonly direction: Direction
  readonly receiveMs: number
  readonly header?: Buffer
}

/** What became of one recipient; one entry of `recipients` in the log. */
export interface RecipientRecord {
  readonly address: string
  readonly category: Category
  readonly destiny: Destiny
  readonly local: boolean
  readonly outcome: RecipientOutcome
  /** Why the sender gets no DSN although the policy says bounce. */
  readonly suppressed?: BounceSuppression
  readonly score?: number
  /** As it went to Postfix. */
  readonly reply: string
  readonly queuedAs?: string
  /** An earlier try has done it: this is its reply. */
  readonly replayed?: true
}

/** The one record of one message, whatever became of it: log line and metrics are made from it. */
export interface MessageRecord extends Handled {
  readonly category: Category
  readonly scanners: readonly {
    readonly name: string
    readonly verdict: ScanVerdict
    readonly ms: number
    readonly cached: boolean
    /** What it waited for the scan of another copy that came to nothing, before the `ms` of its own. */
    readonly waitedMs?: number
  }[]
  readonly recipients: readonly RecipientRecord[]
  readonly quarantineId?: string
  /** Hex SHA-256 of what it has in common with its copies, by which verdicts are remembered; absent: none was looked for. */
  readonly contentDigest?: string
  readonly viruses: readonly string[]
  /** Rules of the spam scanners, `NAME=points`. */
  readonly tests: readonly { readonly name: string; readonly score: number }[]
  readonly times: StageTimes
  readonly totalMs: number
}

/**
 * @param outcome absent: a stage failed and nothing was delivered
 * @param replies what Postfix was told: one for each recipient, or one for all (SMTP)
 */
export function messageRecord(
  handled: Handled,
  result: { outcome: Outcome | undefined; replies: readonly SmtpReply[]; totalMs: number },
): MessageRecord {
  const { outcome, replies, totalMs } = result
  const decisions = outcome?.decisions ?? []
  const decided = new Map(decisions.map((decision) => [decision.recipient, decision]))
  const recipients = handled.envelope.recipients.map((recipient, index) =>
    recipientRecord(recipient, {
      decision: decided.get(recipient),
      replayed: outcome?.replayed.get(recipient),
      delivery: outcome?.deliveries.get(recipient),
      reply: replies[index] ?? replies[0],
    }),
  )
  const contentDigest = outcome?.scans.find((scan) => scan.contentDigest !== undefined)?.contentDigest
  return {
    category:
      CATEGORIES.find((candidate) => recipients.some(({ category }) => category === candidate)) ?? 'clean',
    scanners: (outcome?.scans ?? []).map((scan) => ({
      name: scan.scanner,
      verdict: scanVerdict(scan),
      ms: round(scan.elapsedMs, 10),
      cached: scan.outcome === 'done' && scan.cached,
      ...(scan.waitedMs !== undefined && { waitedMs: round(scan.waitedMs, 10) }),
    })),
    recipients,
    ...(contentDigest !== undefined && { contentDigest }),
    ...(outcome?.quarantineId !== undefined && { quarantineId: outcome.quarantineId }),
    viruses: virusesOf(decisions),
    tests: testsOf(decisions),
    times: outcome?.times ?? {},
    totalMs,
    ...handled,
  }
}

/** All that counted for some recipient; most often every recipient has the same assessment. */
function virusesOf(decisions: readonly Decision[]): readonly string[] {
  const [first] = decisions
  if (!first || decisions.every(({ assessment }) => assessment === first.assessment)) {
    return first?.assessment.viruses ?? []
  }
  return [...new Set(decisions.flatMap(({ assessment }) => assessment.viruses))]
}

/** The rules that counted for the first recipient, with what its sender lists added. */
function testsOf([first]: readonly Decision[]): readonly SpamSymbol[] {
  if (!first) return []
  const { assessment, sender } = first
  return sender.points === 0 ? assessment.symbols : [...assessment.symbols, listSymbol(sender)]
}

function recipientRecord(
  { address }: Recipient,
  result: {
    decision: Decision | undefined
    replayed: LedgerResult | undefined
    delivery: DeliveryResult | undefined
    reply: SmtpReply | undefined
  },
): RecipientRecord {
  const { decision, replayed, delivery, reply } = result
  if (replayed) return replayedRecord(address, replayed, reply)
  const { category = 'unchecked', destiny = 'tempfail', local = false, score, suppressed } = decision ?? {}
  const relayed = delivery?.outcome === 'relayed'
  const bounced = destiny === 'bounce'
  return {
    address,
    category,
    destiny,
    local,
    outcome: outcomeOf(reply, { relayed, bounced }),
    ...(suppressed !== undefined && { suppressed }),
    ...(score !== undefined && { score: round(score, 1000) }),
    reply: replyText(reply),
    ...(relayed && delivery.queuedAs !== undefined && { queuedAs: delivery.queuedAs }),
  }
}

/** What an earlier try has done, as far as the ledger tells. */
function replayedRecord(
  address: string,
  { outcome, category = 'clean', queuedAs, reply: stored }: LedgerResult,
  reply: SmtpReply | undefined,
): RecipientRecord {
  const bounced = isBounceReply(stored)
  const blocked: Destiny = stored.code >= 500 ? 'reject' : bounced ? 'bounce' : 'discard'
  return {
    address,
    category,
    destiny: outcome === 'blocked' ? blocked : 'pass',
    local: false,
    outcome: outcomeOf(reply, { relayed: outcome === 'relayed', bounced }),
    reply: replyText(reply),
    replayed: true,
    ...(queuedAs !== undefined && { queuedAs }),
  }
}

function replyText(reply: SmtpReply | undefined): string {
  return reply ? `${reply.code} ${reply.enhanced} ${reply.text}` : ''
}

const OUT_OF_TIME: ReadonlySet<ErrorCode> = new Set(['E_SCANNER_TIMEOUT', 'E_SCANNER_BUSY'] as const)

/** What one scanner said, in one word of the closed set. */
function scanVerdict(scan: ScanResult): ScanVerdict {
  if (scan.outcome === 'failed') return OUT_OF_TIME.has(scan.error.code) ? 'timeout' : 'error'
  if (scan.outcome === 'skipped') return 'unchecked'
  const { findings } = scan.verdict
  if (findings.some(({ kind }) => kind === 'virus')) return 'virus'
  if (findings.some(({ kind }) => kind === 'unchecked')) return 'unchecked'
  const spam = findings.some(
    (finding) => finding.kind === 'score' && finding.points >= (finding.required ?? Infinity),
  )
  return spam ? 'spam' : 'clean'
}

function outcomeOf(
  reply: SmtpReply | undefined,
  { relayed, bounced }: { readonly relayed: boolean; readonly bounced: boolean },
): RecipientOutcome {
  const code = reply?.code ?? 451
  if (code >= 500) return 'rejected'
  if (code >= 400) return 'tempfailed'
  if (bounced) return 'bounced'
  return relayed ? 'relayed' : 'discarded'
}

const round = (value: number, precision: number): number => Math.round(value * precision) / precision
