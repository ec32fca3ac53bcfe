import {
  assess,
  decide,
  failpoint,
  planDeliveries,
  settle,
  wantedScanners,
  type Assessment,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type Envelope,
  type Finding,
  type MailRules,
  type MarkContext,
  type Message,
  type Policy,
  type Recipient,
  type Rules,
  type ScanResult,
  type Steps,
} from '@ecluse/core'
import { isAutomatic, readAuthenticationResults, readAuthors } from '@ecluse/mail'
import { scanAll, type ScanAll } from '@ecluse/scanners'
import { stopwatch, type StageTimes } from './stageTimes.ts'
import { inTurns } from './turns.ts'

/** What a message is judged by: the same for every message until a reload. */
export interface JudgeParts {
  readonly hostname: string
  readonly alertHeader: string
  readonly scanners: readonly ConfiguredScanner[]
  readonly rules: Rules
  /** How scanners are asked; absent: each time, whatever happened before. */
  readonly scanAll?: ScanAll
}

/** A message on its way through. */
export interface Case {
  readonly envelope: Envelope
  readonly message: Message
  readonly receivedAt: Date
  /** The id under which a copy may already be kept; absent: the message's own. */
  readonly idFor?: (decisions: readonly Decision[]) => string | undefined
  /** Whether an earlier try has dealt with other recipients; absent: no. */
  readonly othersDone?: boolean
  /** Whether one more DSN may be sent today; absent: yes. */
  readonly mayBounce?: () => boolean
}

/** What shall become of one message, and why. Lists with one entry for each recipient are in RCPT TO order. */
export interface Judgement {
  readonly context: MarkContext
  /** Those of this message. */
  readonly mailRules: MailRules
  /** Addresses of From:; empty also where nobody asks, see {@link Rules.wantsAuthors}. */
  readonly authors: readonly string[]
  /** Of the scanners that somebody wants, in the order of the configuration. */
  readonly scans: readonly ScanResult[]
  /** Everything that could prove the sender; empty also where nobody asks. */
  readonly proofs: readonly Finding[]
  readonly decisions: readonly Decision[]
  /** The copies to hand over; empty: nobody gets the message. */
  readonly plan: readonly Delivery[]
  /** Of the stages so far; whoever goes on adds to them. */
  readonly times: StageTimes
}

/**
 * The first half of a message's life, without any effect: scanners and policy, up to the copies that would be handed over.
 * A scanner that fails is a result; when `signal` aborts while they are asked, each that has not answered has failed.
 *
 * @throws FilterError E_ABORTED when `signal` aborts in the midst of looking rules up
 */
export async function judge(
  parts: JudgeParts,
  { envelope, message, receivedAt, idFor, mayBounce, othersDone = false }: Case,
  signal: AbortSignal,
): Promise<Judgement> {
  const { hostname, alertHeader, rules } = parts
  const times: StageTimes = {}
  const clock = stopwatch()
  const authors = rules.wantsAuthors ? readAuthors(message.header) : []
  const mailRules = await inTurns(rules.mailInSteps(envelope, authors), signal)
  const policies = await inTurns(
    oneByOne(envelope.recipients, ({ address }) => mailRules.policyFor(address)),
    signal,
  )
  const wanted = wantedScanners(parts.scanners, policies)

  const scans = await (parts.scanAll ?? scanAll)(wanted, { message, envelope, hostname }, signal)
  times.scan = clock()
  failpoint('K9-verdict-known')

  const proofs = rules.wantsAuthors ? proofsOf(scans, message, rules) : []
  const assessmentFor = assessOnce(scans)
  const decideFor = (recipient: Recipient, index: number): Decision => {
    const policy = policies[index] ?? mailRules.policyFor(recipient.address)
    const about = {
      policy,
      local: rules.isLocal(recipient.address),
      sender: mailRules.standingFor(recipient.address, proofs),
      sizeBytes: message.sizeBytes,
      softBounce: rules.softBounce,
    }
    return decide(recipient, about, assessmentFor(policy))
  }
  const decided = await inTurns(oneByOne(envelope.recipients, decideFor), signal)
  const decisions = settle(decided, {
    envelope,
    originating: mailRules.facts.originating,
    isLocal: rules.isLocal,
    isAutomatic: () => isAutomatic(message.header),
    othersDone,
    mayBounce: mayBounce ?? (() => true),
  })
  const { recipientDelimiter } = rules
  const id = idFor?.(decisions) ?? message.id
  const context = { id, hostname, alertHeader, envelope, recipientDelimiter, date: receivedAt }
  const plan = planDeliveries(decisions, context)
  times.decide = clock()
  return { context, mailRules, authors, scans, proofs, decisions, plan, times }
}

/** A step for each recipient: a lookup may take long, and there may be many. */
function* oneByOne<R>(
  recipients: readonly Recipient[],
  work: (recipient: Recipient, index: number) => R,
): Steps<R[]> {
  const results: R[] = []
  for (const [index, recipient] of recipients.entries()) {
    results.push(work(recipient, index))
    yield
  }
  return results
}

/** What scanners and our own Postfix proved about the sender. */
function proofsOf(
  scans: readonly ScanResult[],
  message: Message,
  { authservIds }: Rules,
): readonly Finding[] {
  const scanned = scans.flatMap((scan) => (scan.outcome === 'done' ? scan.verdict.findings : []))
  return authservIds.length === 0
    ? scanned
    : [...scanned, ...readAuthenticationResults(message.header, authservIds)]
}

/** Recipients with the same policy share it. */
function assessOnce(scans: readonly ScanResult[]): (policy: Policy) => Assessment {
  const known = new Map<Policy, Assessment>()
  return (policy) => {
    let assessment = known.get(policy)
    if (!assessment) {
      assessment = assess(scans, policy)
      known.set(policy, assessment)
    }
    return assessment
  }
}
