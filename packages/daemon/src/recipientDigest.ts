import { createHash } from 'node:crypto'
import { FilterError, isOwnMailbox, type Rules } from '@ecluse/core'
import { NOTICE_MESSAGES, type NoticeMessage } from '@ecluse/mail'
import { isBlocked, selfRelease, type QuarantineEntry, type QuarantineStore } from '@ecluse/quarantine'
import type { Log } from './log.ts'
import type { LinkOf } from './noticeOutbox.ts'
import type { Notifier } from './notify.ts'

/** What lists are made of. */
export interface DigestParts {
  readonly hostname: string
  readonly quarantine: QuarantineStore
  /** Those in force. */
  readonly rules: () => Rules
  readonly notifier: Notifier
  readonly log: Log
}

/** What is kept for one recipient, newest first. */
export interface RecipientDigest {
  readonly to: string
  /** As many as one mail shows. */
  readonly messages: readonly NoticeMessage[]
  /** How many more there are. */
  readonly more: number
}

/** The last time at or before `now` at which the local clock shows `HH:MM`. */
export function lastDigestTime(now: Date, time: string): Date {
  const [hours = 0, minutes = 0] = time.split(':').map(Number)
  const at = new Date(now)
  at.setHours(hours, minutes, 0, 0)
  if (at > now) at.setDate(at.getDate() - 1)
  return at
}

/** The first such time after `now`: a day is not always 24 hours. */
export function nextDigestTime(now: Date, time: string): Date {
  const at = lastDigestTime(now, time)
  at.setDate(at.getDate() + 1)
  return at
}

/** Recipients that one round lists; each is some KiB. */
const MAX_RECIPIENTS = 20_000

/**
 * What was kept from local recipients between two times. Nobody outside of the local domains is in it, and nobody whose
 * policy does not want it.
 *
 * @param entries newest first
 * @param of from: not in it; to: in it; linkOf: asked where the recipient may release it
 */
export async function collectDigests(
  entries: AsyncIterable<QuarantineEntry>,
  rules: Rules,
  of: { readonly from: Date; readonly to: Date; readonly linkOf?: LinkOf | undefined },
): Promise<RecipientDigest[]> {
  const found = new Map<string, { messages: NoticeMessage[]; more: number }>()
  for await (const entry of entries) {
    if (entry.storedAt > of.to) continue
    if (entry.storedAt <= of.from) break
    const mailRules = rules.forMail(entry.envelope, [])
    const wanted = entry.outcomes.filter(
      (outcome) =>
        isBlocked(outcome) &&
        isOwnMailbox(outcome.recipient.address, rules.isLocal) &&
        mailRules.policyFor(outcome.recipient.address).notices.includes('recipients'),
    )
    for (const outcome of wanted) {
      const { address } = outcome.recipient
      const told = found.get(address) ?? { messages: [], more: 0 }
      if (!found.has(address) && found.size >= MAX_RECIPIENTS) continue
      found.set(address, told)
      if (told.messages.length >= NOTICE_MESSAGES) told.more++
      else {
        const may = of.linkOf && selfRelease(entry, address, rules.isLocal) === 'open'
        told.messages.push(messageOf(entry, outcome, may ? of.linkOf?.(entry.id, address) : undefined))
      }
    }
  }
  return [...found].map(([to, told]) => ({ to, ...told }))
}

/**
 * All that is known of what is kept since then, newest first. What goes meanwhile, or cannot be read, is passed over: one
 * damaged message must not keep the list from everybody.
 */
export async function* entriesSince(
  quarantine: Pick<QuarantineStore, 'list' | 'get'>,
  storedSince: Date,
): AsyncGenerator<QuarantineEntry> {
  for await (const { id } of quarantine.list({ storedSince })) {
    try {
      yield await quarantine.get(id)
    } catch (err) {
      if (!(err instanceof FilterError)) throw err
    }
  }
}

function messageOf(
  entry: QuarantineEntry,
  outcome: QuarantineEntry['outcomes'][number],
  release: string | undefined,
): NoticeMessage {
  const { id, storedAt, envelope, subject, sizeBytes } = entry
  const { recipient, category, destiny } = outcome
  return {
    id,
    kept: id,
    ...(release !== undefined && { release }),
    date: storedAt,
    mailFrom: envelope.mailFrom,
    ...(subject !== undefined && { subject }),
    sizeBytes,
    viruses: [],
    recipients: [{ address: recipient.address, category, destiny }],
  }
}

/**
 * Sends the lists of the day that ended at `to`; those that an earlier round has sent are not sent again.
 *
 * @returns whether all have been sent
 * @throws FilterError E_QUARANTINE
 */
async function sendDigests(
  parts: DigestParts,
  time: string,
  { to, signal }: { to: Date; signal: AbortSignal },
): Promise<boolean> {
  const { hostname, quarantine, rules, notifier } = parts
  const from = lastDigestTime(new Date(to.getTime() - 1), time)
  const { linkOf } = notifier.options.recipients ?? {}
  const digests = await collectDigests(entriesSince(quarantine, from), rules(), { from, to, linkOf })
  const key = hex(`digest ${hostname} ${to.toISOString()}`).slice(0, 32)
  let all = true
  for (const { to: address, messages, more } of digests) {
    if (signal.aborted) return false
    const id = `digest.${key.slice(0, 12)}.${hex(address).slice(0, 12)}`
    const request = { kind: 'recipients', to: address, date: new Date(), id, messages, more } as const
    const sent = await notifier.send(request, { key, name: `0 digest ${address}` })
    all &&= sent
  }
  return all
}

const hex = (text: string): string => createHash('sha256').update(JSON.stringify(text)).digest('hex')

/** After a round that could not send everything. */
const RETRY_MS = 600_000

/**
 * Sends lists once a day. What is sent is remembered in the ledger, so a restart at any time neither loses a list nor
 * sends it twice: at the start the round that was due last is done, as far as it has not been.
 */
export function scheduleDigests(time: string, parts: DigestParts): { close(): Promise<void> } {
  const stopped = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running = Promise.resolve()
  const round = async (): Promise<void> => {
    const now = new Date()
    let done = false
    try {
      done = await sendDigests(parts, time, { to: lastDigestTime(now, time), signal: stopped.signal })
    } catch (err) {
      if (err instanceof FilterError)
        parts.log.warn({ code: err.code, err }, 'lists of what is kept not sent')
      else parts.log.error({ err }, 'internal error, lists of what is kept not sent')
    }
    if (stopped.signal.aborted) return
    const untilNext = nextDigestTime(now, time).getTime() - Date.now()
    const waitMs = Math.max(1000, done ? untilNext : Math.min(untilNext, RETRY_MS))
    timer = setTimeout(() => void (running = round()), waitMs).unref()
  }
  running = round()
  return {
    async close() {
      stopped.abort()
      clearTimeout(timer)
      await running
    },
  }
}
