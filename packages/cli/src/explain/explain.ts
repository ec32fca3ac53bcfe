import {
  formatAddress,
  isComplete,
  type ConfiguredScanner,
  type Delivery,
  type Finding,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import { repliesInAdvance, type Judgement } from '@ecluse/daemon'
import { headerSubject } from '@ecluse/mail'
import { quarantineRecord } from '@ecluse/quarantine'
import type { LoadedConfig } from '../loadConfig.ts'
import type { ExplainedEnvelope } from './envelope.ts'
import type { ExplainedScanner, ExplainedTransaction, Explanation, ShownEnvelope } from './explanation.ts'
import { headerDiff } from './headerDiff.ts'
import type { FileMessage } from './messageFile.ts'
import { placesIn, type Places } from './places.ts'
import { explainRecipient, waysOf } from './recipients.ts'
import type { ExplainRequest } from './request.ts'

/** What was judged, and what came out. */
export interface Judged {
  readonly request: ExplainRequest
  readonly loaded: LoadedConfig
  readonly from: FileMessage
  readonly told: ExplainedEnvelope
  /** Every scanner of the configuration. */
  readonly configured: readonly ConfiguredScanner[]
  /** Those that could be asked. */
  readonly scanners: readonly ConfiguredScanner[]
  readonly judgement: Judgement
  /** Whether limits.deadline was over before the scanners were done. */
  readonly late: boolean
}

/** Puts into words what a judgement came from. Decides nothing. */
export async function explainJudgement(judged: Judged): Promise<Explanation> {
  const { request, loaded, from, told, scanners, judgement } = judged
  const { config, rules } = loaded
  const { envelope } = told
  const { decisions, context } = judgement
  const places = placesIn((path) => loaded.placeOf(path))
  const replies: readonly (SmtpReply | undefined)[] = repliesInAdvance(envelope, decisions, context.id)
  const plan = isWithheld(judgement, replies) ? [] : judgement.plan
  const recipientContext = {
    config,
    rules,
    mail: judgement.mailRules,
    places,
    all: request.all,
    judgement,
    ways: waysOf(plan),
    scanners,
    replies,
    nextHop: formatAddress(config.reinject.address),
  }
  const kept = decisions.some(({ quarantined }) => quarantined)
  return {
    message: messageOf(request.file, from),
    envelope: shownEnvelope(told),
    direction: rules.directionOf(envelope),
    originating: originatingOf(judged, places),
    sender: senderOf(judged),
    scanners: explainScanners(judged),
    recipients: decisions.map((decision, index) => explainRecipient(decision, index, recipientContext)),
    transactions: await transactionsOf(from.message, plan),
    quarantine: { kept, ...(kept && { category: quarantineRecord(context, decisions).category }) },
    notes: [...from.notes, ...notesOn(judged, plan)],
  }
}

function messageOf(file: string, { message, form, lineEnds }: FileMessage): Explanation['message'] {
  const subject = headerSubject(message.header)
  const content = message.content?.()
  return {
    file,
    form,
    lineEnds,
    id: message.id,
    size: message.sizeBytes,
    digest: message.digest,
    ...(content && { contentDigest: content.digest }),
    ...(subject !== undefined && { subject }),
  }
}

function shownEnvelope(told: ExplainedEnvelope): ShownEnvelope {
  const { envelope, senderSource, recipientSource, clientSource } = told
  const { client, mailFrom, protocol, listener, smtpUtf8 } = envelope
  return {
    mailFrom,
    mailFromSource: senderSource.from,
    mailFromGuessed: senderSource.guess,
    recipients: envelope.recipients.map(({ address }) => address),
    recipientsSource: recipientSource.from,
    recipientsGuessed: recipientSource.guess,
    ...(client.address !== undefined && { client: client.address }),
    ...(client.name !== undefined && { clientName: client.name }),
    ...(client.helo !== undefined && { helo: client.helo }),
    clientSource: clientSource.from,
    protocol,
    listener,
    smtpUtf8,
  }
}

function originatingOf(
  { told, loaded: { rules }, judgement }: Judged,
  places: Places,
): Explanation['originating'] {
  const { address } = told.envelope.client
  const value = judgement.mailRules.facts.originating
  if (address === undefined) {
    return { value, why: 'the client is not known: the message counts as made on this host' }
  }
  const match = rules.networkOf(address)
  const where = match ? 'decides' : 'no entry of networks holds it'
  return { value, why: `client ${address}: ${where}`, ...(match && { entry: places.entry(match) }) }
}

function senderOf({ told, loaded: { rules }, judgement }: Judged): Explanation['sender'] {
  const proofs = judgement.proofs.flatMap((finding) => {
    if (finding.kind !== 'authenticated') return []
    const { method, identity } = finding
    return [{ method, identity: typeof identity === 'string' ? identity : identity.domain }]
  })
  const { keys } = rules.lookup(told.envelope.mailFrom)
  return { keys, asked: rules.wantsAuthors, authors: judgement.authors, proofs }
}

function explainScanners({ request, configured, judgement, loaded }: Judged): ExplainedScanner[] {
  const results = new Map(judgement.scans.map((scan) => [scan.scanner, scan]))
  return configured.map(({ name, kind, concerns, maxSizeBytes = 0, memory }): ExplainedScanner => {
    const result = results.get(name)
    if (!result) {
      const reason = request.scanners === 'none' ? '--scanners none' : "no recipient's policy wants it"
      return { name, kind, concerns, outcome: 'not asked', reason }
    }
    const remembers = memory !== undefined && loaded.config.cache.maxEntries > 0
    return { name, kind, concerns, ...outcomeOf(result, maxSizeBytes, remembers) }
  })
}

type Outcome = ExplainedScanner extends infer S
  ? S extends ExplainedScanner
    ? Omit<S, 'name' | 'kind' | 'concerns'>
    : never
  : never

function outcomeOf(result: ScanResult, limitBytes: number, remembers: boolean): Outcome {
  const elapsedMs = Math.round(result.elapsedMs)
  switch (result.outcome) {
    case 'done': {
      const findings: readonly Finding[] = result.verdict.findings
      const remembered = remembers && isComplete(result.verdict)
      return {
        outcome: 'done',
        elapsedMs,
        cached: result.cached,
        findings,
        ...(remembered && { remembered }),
      }
    }
    case 'skipped':
      return { outcome: 'skipped', reason: result.reason, limitBytes }
    case 'failed': {
      const { code, message } = result.error
      return { outcome: 'failed', elapsedMs, code, error: message, onError: result.onError }
    }
  }
}

/** Over SMTP who passes gets nothing, and the reply for it, where somebody is refused. */
function isWithheld({ decisions }: Judgement, replies: readonly (SmtpReply | undefined)[]): boolean {
  return decisions.some(({ destiny }, index) => destiny === 'pass' && replies[index] !== undefined)
}

async function transactionsOf(
  message: FileMessage['message'],
  plan: readonly Delivery[],
): Promise<ExplainedTransaction[]> {
  const transactions: ExplainedTransaction[] = []
  for (const { edits, recipients, targets } of plan) {
    const { changes, leftOut, subject } = await headerDiff(message, edits)
    transactions.push({
      recipients: recipients.map(({ address }, index) => ({
        address,
        target: targets[index]?.address ?? address,
      })),
      changes,
      changesLeftOut: leftOut,
      ...(subject && { subject }),
    })
  }
  return transactions
}

function notesOn(
  { told: { envelope }, loaded: { config }, request, late, judgement }: Judged,
  plan: readonly Delivery[],
): string[] {
  const { softBounce } = config
  const notes: string[] = []
  if (late) {
    notes.push(
      'limits.deadline was over before the scanners were done: nothing could be handed over any more',
    )
  }
  if (request.scanners === 'none') notes.push('no scanner was asked: what they would find is not in this')
  else if (config.scanners.length === 0) notes.push('there are no scanners in the configuration')
  if (softBounce) notes.push('softBounce: what would be refused or discarded stays in the queue of Postfix')
  if (envelope.protocol === 'smtp' && judgement.decisions.length > 1) {
    notes.push('an SMTP listener has one reply for all recipients')
  }
  if (plan.length < judgement.plan.length) {
    notes.push('nobody gets it, since somebody is refused: Postfix comes again for all')
  }
  return notes
}
