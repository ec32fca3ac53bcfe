import { FilterError, type DeliveryResult, type PlannedNotice } from '@ecluse/core'
import { NOTICE_MESSAGES, type NoticeMessage, type NoticeRequest } from '@ecluse/mail'
import { AdminRate } from './adminRate.ts'
import { JobQueue } from './jobQueue.ts'
import { NoticeBudget } from './noticeBudget.ts'
import {
  Outbox,
  type NoticeOptions,
  type NoticeResult,
  type NoticeSource,
  type NotifierParts,
  type BouncedSource,
} from './noticeOutbox.ts'

/** Writes notices, and gives them to the next hop. */
export interface Notifier {
  readonly options: NoticeOptions
  readonly budget: NoticeBudget
  /** Sends a DSN now. Never rejects; whoever bounces answers for what becomes of it. */
  bounce(planned: PlannedNotice, source: BouncedSource, signal: AbortSignal): Promise<DeliveryResult>
  /** Tells of a message when there is time, one notice after the other. Never throws, and changes no reply. */
  tell(planned: readonly PlannedNotice[], source: NoticeSource): void
  /** As {@link tell}, for a list of a recipient. Whether the next hop has it, or an earlier one had. */
  send(request: NoticeRequest, once: { readonly key: string; readonly name: string }): Promise<boolean>
  /** Sends what is held back, and lets what waits come to its end, within `signal`. */
  close(signal: AbortSignal): Promise<void>
}

/** Opens nothing. */
export function createNotifier(options: NoticeOptions, parts: NotifierParts): Notifier {
  const { log, count } = parts
  const stopped = new AbortController()
  const budget = new NoticeBudget(options.bounceBudget, () => performance.now())
  const queue = new JobQueue((err) => log.error({ err }, 'internal error, notice not sent'))
  const outbox = new Outbox(options, parts, stopped.signal)
  // Where too many wait, it is tried again with the next one that is held back.
  const digest = new AdminDigest(options, () => void queue.push(sendDigest))
  const sendDigest = async (): Promise<void> => {
    const request = digest.take()
    if (request) await outbox.notice('admin-digest', request)
  }

  const write = async ({ kind, to, about }: ToldLater, { message }: NoticeSource): Promise<NoticeResult> => {
    const recipients = about.map(({ recipient, category, destiny }) => {
      return { address: recipient.address, category, destiny }
    })
    const viruses = [...new Set(about.flatMap(({ assessment }) => assessment.viruses))]
    const told = { ...message, recipients, viruses }
    if (kind === 'admin' && digest.holds(told)) return 'held'
    if (kind === 'sender' && !budget.take()) return 'limited'
    return await outbox.post({ kind, to, date: new Date(), id: `${message.id}.${kind}`, messages: [told] })
  }
  const tellOne = async (notice: ToldLater, source: NoticeSource): Promise<void> => {
    const { kind, about } = notice
    const name = kind === 'admin' ? '0 admin' : `0 sender ${about[0]?.recipient.address ?? ''}`
    await outbox.once({ kind, key: source.ledgerKey, name }, async () => await write(notice, source))
  }
  return {
    options,
    budget,
    bounce: async (planned, source, signal) => await outbox.bounce(planned, source, signal),
    tell(planned, source) {
      for (const notice of planned.filter(isToldLater)) {
        if (!queue.push(async () => await tellOne(notice, source))) count(notice.kind, 'dropped')
      }
    },
    send: async (request, { key, name }) =>
      await outbox.once({ kind: 'recipients', key, name }, async () => await outbox.post(request)),
    async close(signal) {
      const abort = (): void => stopped.abort(new FilterError('E_ABORTED', 'shutting down'))
      if (signal.aborted) abort()
      signal.addEventListener('abort', abort, { once: true })
      // Last of all: what waits may be held back only then.
      await queue.end(sendDigest)
      signal.removeEventListener('abort', abort)
    },
  }
}

type ToldLater = PlannedNotice & { readonly kind: Exclude<PlannedNotice['kind'], 'dsn'> }

/** A DSN has been sent before the message was answered. */
function isToldLater(notice: PlannedNotice): notice is ToldLater {
  return notice.kind !== 'dsn'
}

/** Holds back what is above the rate, for one mail an hour later. */
class AdminDigest {
  readonly #admin: string | undefined
  readonly #rate: AdminRate<NoticeMessage>
  readonly #onDue: () => void
  #timer: NodeJS.Timeout | undefined

  /** @param onDue called when what is held back is to be taken, and sent */
  constructor({ admin, adminRate }: NoticeOptions, onDue: () => void) {
    this.#admin = admin
    this.#rate = new AdminRate(adminRate, NOTICE_MESSAGES)
    this.#onDue = onDue
  }

  /** Whether it goes into the next digest. */
  holds(message: NoticeMessage): boolean {
    if (this.#rate.admit(message, performance.now())) return false
    const { dueAt = 0 } = this.#rate
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined
        this.#onDue()
      },
      Math.max(0, dueAt - performance.now()),
    ).unref()
    return true
  }

  /** One mail about all that is held back; absent: nothing is. */
  take(): NoticeRequest | undefined {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const held = this.#rate.flush()
    const [first] = held?.shown ?? []
    if (!held || !first || this.#admin === undefined) return undefined
    const { shown: messages, more } = held
    return { kind: 'admin', to: this.#admin, date: new Date(), id: `${first.id}.digest`, messages, more }
  }
}
