import { FilterError, type DeliveryResult, type Envelope, type PlannedNotice } from '@ecluse/core'
import {
  composeDsn,
  composeNotice,
  type ComposedNotice,
  type NoticeMessage,
  type NoticeRequest,
  type NoticeSender,
  type NoticeTemplates,
  type Reinjector,
} from '@ecluse/mail'
import type { Ledger, LedgerResult } from '@ecluse/state'
import type { Log } from './log.ts'

/** Kinds and results of mails about mail, as metric labels. */
export const NOTICE_KINDS = ['dsn', 'admin', 'admin-digest', 'sender', 'recipients'] as const
export type NoticeKind = (typeof NOTICE_KINDS)[number]
/**
 * `held`: in the next digest; `limited`: over the budget; `dropped`: too many wait; `repeated`: an earlier try has sent
 * it; `suppressed`: a bounce that nobody may get.
 */
const NOTICE_RESULTS = ['sent', 'failed', 'held', 'limited', 'dropped', 'repeated', 'suppressed'] as const
export type NoticeResult = (typeof NOTICE_RESULTS)[number]

/** Where a recipient may release a message; absent: there is no such place for that address. */
export type LinkOf = (id: string, recipient: string) => string | undefined

/** What the configuration says of notices. */
export interface NoticeOptions {
  readonly admin?: string
  readonly senders: boolean
  /** Absent: recipients are told nothing. `time` is `HH:MM`. */
  readonly recipients?: { readonly time: string; readonly linkOf?: LinkOf }
  readonly adminRate: number
  readonly bounceBudget: number
  readonly from: string
  readonly templates: NoticeTemplates
}

/** What notices are sent with. */
export interface NotifierParts {
  readonly hostname: string
  readonly reinjector: Reinjector
  /** Absent: a second try may tell again. */
  readonly ledger?: Ledger
  readonly log: Log
  readonly count: (kind: NoticeKind, result: NoticeResult) => void
}

/** A message that somebody is told of. */
export interface NoticeSource {
  readonly envelope: Envelope
  readonly message: NoticeMessage
  /** Of the message in the ledger; absent: it comes without a queue id. */
  readonly ledgerKey?: string
}

/** A message that is bounced. */
export interface BouncedSource extends NoticeSource {
  readonly header: Buffer
  /** All of it; absent: it is too large to go back. */
  readonly bytes?: Buffer
}

/** For one notice, connection included. */
const SEND_MS = 60_000

/** What goes out, with what is told of it. */
export class Outbox {
  readonly #options: NoticeOptions
  readonly #parts: NotifierParts
  readonly #stopped: AbortSignal

  constructor(options: NoticeOptions, parts: NotifierParts, stopped: AbortSignal) {
    this.#options = options
    this.#parts = parts
    this.#stopped = stopped
  }

  /** Does it unless an earlier try has, and remembers that. Whether it is done, by whomever. */
  async once(
    {
      kind,
      key,
      name,
    }: { readonly kind: NoticeKind; readonly key: string | undefined; readonly name: string },
    work: () => Promise<NoticeResult>,
  ): Promise<boolean> {
    const { ledger, log, count } = this.#parts
    if (!ledger || key === undefined) {
      const result = await work()
      count(kind, result)
      return result === 'sent'
    }
    try {
      const attempt = await ledger.begin(key, [name], this.#signal())
      try {
        if (attempt.done.has(name)) {
          count(kind, 'repeated')
          return true
        }
        const result = await work()
        count(kind, result)
        if (result === 'failed') return false
        await attempt.record(new Map([[name, TOLD]]))
        return true
      } finally {
        attempt.end()
      }
    } catch (err) {
      if (!(err instanceof FilterError)) throw err
      log.warn({ kind, code: err.code, err }, 'notice not remembered')
      return false
    }
  }

  async notice(kind: NoticeKind, request: NoticeRequest): Promise<void> {
    this.#parts.count(kind, await this.post(request))
  }

  /** Writes and sends one. */
  async post(request: NoticeRequest): Promise<'sent' | 'failed'> {
    const { kind, to, id } = request
    const notice = await composeNotice(this.#sender(), request)
    const result = await this.#deliver({ id, to, notice }, this.#signal())
    if (result.outcome === 'relayed') return 'sent'
    this.#report(kind, id, result)
    return 'failed'
  }

  async bounce(
    { to, about }: PlannedNotice,
    source: BouncedSource,
    signal: AbortSignal,
  ): Promise<DeliveryResult> {
    const { message } = source
    const notice = await composeDsn(this.#sender(), { ...source, about, date: new Date() })
    const result = await this.#deliver({ id: message.id, to, notice }, signal)
    this.#parts.count('dsn', result.outcome === 'relayed' ? 'sent' : 'failed')
    if (result.outcome !== 'relayed') this.#report('dsn', message.id, result)
    return result
  }

  #sender(): NoticeSender {
    const { from, templates } = this.#options
    return { hostname: this.#parts.hostname, from, templates }
  }

  #signal(): AbortSignal {
    return AbortSignal.any([this.#stopped, AbortSignal.timeout(SEND_MS)])
  }

  async #deliver(
    { id, to, notice }: { readonly id: string; readonly to: string; readonly notice: ComposedNotice },
    signal: AbortSignal,
  ): Promise<DeliveryResult> {
    // Of a notice that cannot be delivered nobody is told (RFC 3464 section 2, RFC 3461 section 6.2).
    const recipient = { address: to, notify: ['NEVER'] } as const
    const envelope: Envelope = {
      protocol: 'smtp',
      mailFrom: '',
      recipients: [recipient],
      smtpUtf8: notice.smtpUtf8,
      body: '8BITMIME',
      client: {},
      peer: { helo: this.#parts.hostname },
      listener: '',
    }
    const request = { id, envelope, recipients: [recipient], message: notice, allOrNothing: false }
    const [result] = await this.#parts.reinjector.deliver(request, signal)
    if (!result) throw new TypeError('a recipient without a result')
    return result
  }

  #report(kind: string, id: string, result: DeliveryResult): void {
    const { log } = this.#parts
    if (result.outcome === 'failed') {
      log.warn({ kind, id, code: result.error.code, err: result.error }, 'notice not sent')
    } else {
      log.warn({ kind, id, ...(result.outcome === 'refused' && { reply: result.line }) }, 'notice not sent')
    }
  }
}

/** What the ledger remembers of a notice; nobody is given this reply. */
const TOLD: LedgerResult = { reply: { code: 250, enhanced: '2.0.0', text: 'told' }, outcome: 'relayed' }
