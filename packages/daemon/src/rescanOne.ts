import { FilterError, type DeliveryResult } from '@ecluse/core'
import type { NoticeMessage, Reinjector, Spool } from '@ecluse/mail'
import {
  releaseMessage,
  spoolKept,
  waitsFor,
  type QuarantineEntry,
  type QuarantinedMessage,
  type QuarantineStore,
} from '@ecluse/quarantine'
import { ledgerKey } from '@ecluse/state'
import { judgeKept, type Rejudged } from './judgeKept.ts'
import type { Log } from './log.ts'
import type { Notifier } from './notify.ts'
import type { MessageParts, PartsInUse } from './parts.ts'

/** What a message that is kept is looked at with. */
export interface LookParts {
  readonly hostname: string
  readonly quarantine: QuarantineStore
  readonly spool: Pick<Spool, 'create'>
  /** Borrowed for each message, as by one that comes in. */
  readonly parts: Pick<PartsInUse, 'borrow'>
  readonly reinjector: Pick<Reinjector, 'deliver'>
  /** Absent: nobody is told of a virus. */
  readonly notifier?: Pick<Notifier, 'options' | 'tell'>
  /** Ids of infected messages that have been told of. */
  readonly told: Set<string>
  readonly log: Log
}

/** What came of it: delivered to somebody, kept as it is, kept and infected, or it could not be looked at. */
export type Looked = 'released' | 'kept' | 'infected' | 'failed'

/** Who did it, in the record of a release. */
const BY = 'rescan'
/** Of more of them, who is told may hear twice. */
const MAX_TOLD = 10_000
/** Of what is recorded; a message may have many viruses. */
const MAX_REASON = 500

/**
 * Judges a message that is kept once more; those for whom it was discarded as unchecked alone, and would now pass, get it.
 * Who was refused is left to people: the sender has been told that nobody got it. Never rejects.
 *
 * @param signal ends the scan, and no delivery: one that is given up might be done all the same
 */
export async function lookAgain(parts: LookParts, id: string, signal: AbortSignal): Promise<Looked> {
  const borrowed = parts.parts.borrow()
  const judging = borrowed.parts
  try {
    const kept = await parts.quarantine.open(id)
    const rejudged = await judgeOne(parts, { kept, with: judging }, signal)
    if (signal.aborted) return 'failed'
    const infected = rejudged.filter(({ decision }) => decision.assessment.viruses.length > 0)
    if (infected.length > 0) await noteVirus(parts, kept.entry, infected)
    const freed = rejudged.filter(isFreed).map(({ was }) => was.recipient.address)
    if (freed.length === 0) return infected.length > 0 ? 'infected' : 'kept'
    // A scan takes its time: somebody may have released or deleted it meanwhile.
    const now = await parts.quarantine.open(id)
    const to = freed.filter((address) => waitsFor(now.entry, address))
    return to.length === 0 ? 'kept' : await releaseTo(parts, { kept: now, to, withinMs: judging.deadlineMs })
  } catch (error) {
    if (signal.aborted) return 'failed'
    if (error instanceof FilterError) {
      parts.log.warn(
        { quarantineId: id, code: error.code, err: error },
        'quarantine: message not looked at again',
      )
    } else {
      parts.log.error({ quarantineId: id, err: error }, 'internal error, message not looked at again')
    }
    return 'failed'
  } finally {
    borrowed.release()
  }
}

async function judgeOne(
  { spool }: LookParts,
  {
    kept,
    with: { pipeline, deadlineMs },
  }: { readonly kept: QuarantinedMessage; readonly with: MessageParts },
  signal: AbortSignal,
): Promise<readonly Rejudged[]> {
  const message = await spoolKept(kept, spool)
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
    return await judgeKept(pipeline, { entry: kept.entry, message }, limit)
  } finally {
    await message.discard()
  }
}

function isFreed({ was, passes }: Rejudged): boolean {
  return passes && was.category === 'unchecked' && was.destiny === 'discard'
}

async function releaseTo(
  { quarantine: store, reinjector: gate, hostname, log }: LookParts,
  {
    kept,
    to,
    withinMs,
  }: { readonly kept: QuarantinedMessage; readonly to: readonly string[]; readonly withinMs: number },
): Promise<Looked> {
  const signal = AbortSignal.timeout(withinMs)
  // By force: what was thought of it when it came does not count, for all scanners have seen it now.
  const release = { now: new Date(), by: BY, signal, to, force: true, as: 'plain' } as const
  const results = await releaseMessage({ store, gate, hostname }, kept, release)
  logRelease(log, kept.entry.id, results)
  return results.some(({ outcome }) => outcome === 'relayed') ? 'released' : 'failed'
}

function logRelease(log: Log, quarantineId: string, results: readonly DeliveryResult[]): void {
  for (const { recipient, ...result } of results) {
    const fields = {
      quarantineId,
      recipient: recipient.address,
      ...('line' in result && { line: result.line }),
      ...('error' in result && { err: result.error }),
    }
    if (result.outcome === 'relayed') log.info(fields, 'quarantine: released, unchecked no more')
    else log.warn(fields, 'quarantine: passes now, and was not delivered')
  }
}

/** The administrator hears of it once; afterwards it is released as a virus. */
async function noteVirus(
  parts: LookParts,
  entry: QuarantineEntry,
  infected: readonly Rejudged[],
): Promise<void> {
  const news = infected.filter(
    ({ was, decision }) => was.category !== 'virus' && decision.category === 'virus',
  )
  const [first] = news
  if (!first) return
  tellOfVirus(parts, entry, news)
  const recipients = news.map(({ was }) => was.recipient.address)
  const reason = first.decision.reason.slice(0, MAX_REASON)
  await parts.quarantine.markInfected(entry.id, { at: new Date(), recipients, reason })
}

function tellOfVirus(
  { log, notifier, told }: LookParts,
  entry: QuarantineEntry,
  infected: readonly Rejudged[],
): void {
  const { id, envelope, digest } = entry
  if (told.has(id)) return
  if (told.size < MAX_TOLD) told.add(id)
  const about = infected.map(({ decision }) => decision)
  const viruses = [...new Set(about.flatMap(({ assessment }) => assessment.viruses))]
  log.info({ quarantineId: id, viruses }, 'quarantine: virus in unchecked mail')
  const admin = notifier?.options.admin
  const wanted = about.filter(({ policy }) => policy.notices.includes('admin'))
  if (!notifier || admin === undefined || wanted.length === 0) return
  const key = ledgerKey(envelope, digest)
  const source = { envelope, message: noticeMessage(entry), ...(key !== undefined && { ledgerKey: key }) }
  notifier.tell([{ kind: 'admin', to: admin, about: wanted }], source)
}

function noticeMessage({ id, storedAt, envelope, subject, sizeBytes }: QuarantineEntry): NoticeMessage {
  const { mailFrom, client } = envelope
  return {
    id,
    kept: id,
    date: storedAt,
    mailFrom,
    ...(subject !== undefined && { subject }),
    ...(client.address !== undefined && { client: client.address }),
    ...(client.queueId !== undefined && { queueId: client.queueId }),
    sizeBytes,
    viruses: [],
    recipients: [],
  }
}
