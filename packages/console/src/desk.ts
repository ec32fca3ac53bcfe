import { FilterError, type Category, type LocalDomains } from '@ecluse/core'
import {
  releaseMessage,
  selfRelease,
  UnknownIdError,
  type QuarantineEntry,
  type QuarantineStore,
  type Releasable,
  type ReleaseGate,
  type SelfRelease,
} from '@ecluse/quarantine'

/** Lines about what people do. Text from the network goes in fields, which are escaped. */
export interface ConsoleLog {
  error(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** What messages are looked at, and released, with. */
export interface DeskParts {
  readonly hostname: string
  readonly store: Pick<QuarantineStore, 'get' | 'open' | 'markReleased'>
  readonly gate: ReleaseGate
  /** Those in force. */
  readonly isLocal: () => LocalDomains
  readonly log: ConsoleLog
}

/** A message as its recipient may see it. Every string may be hostile. */
export interface Shown {
  readonly mailFrom: string
  /** Decoded; absent: it has none. */
  readonly subject?: string
  readonly storedAt: Date
  readonly category: Category
}

/**
 * What a recipient is told. `offer`: it can be released; `released`: now; `before`: already; `closed`: an administrator
 * must; `later`: not now; `unknown`: as if there were no such message.
 */
export type Told =
  | { readonly what: 'offer'; readonly shown: Shown }
  | { readonly what: 'released' | 'before' | 'closed' | 'later' }
  /** Why is for the log alone. */
  | { readonly what: 'unknown'; readonly why: string }

/** For the way to Postfix and back; a person waits. */
const DELIVER_MS = 60_000

/** Looks at messages and releases them, for recipients whose link has been proved. Nothing of it rejects. */
export class Desk {
  readonly #parts: DeskParts
  readonly #stopped: AbortSignal
  /** By id: of several clicks, one is first, and the others hear of it. */
  readonly #running = new Map<string, Promise<Told>>()

  /** @param stopped gives up what runs */
  constructor(parts: DeskParts, stopped: AbortSignal) {
    this.#parts = parts
    this.#stopped = stopped
  }

  async look(about: Releasable): Promise<Told> {
    return await this.#answer(about, async () => {
      const entry = await this.#parts.store.get(about.id)
      const may = this.#mayRelease(entry, about)
      return may === 'open' ? { what: 'offer', shown: shownOf(entry, about) } : toldOf(may)
    })
  }

  async release(about: Releasable): Promise<Told> {
    const before = this.#running.get(about.id)
    const run = async (): Promise<Told> => {
      await before
      return await this.#answer(about, async () => await this.#releaseNow(about))
    }
    const running = run()
    this.#running.set(about.id, running)
    try {
      return await running
    } finally {
      if (this.#running.get(about.id) === running) this.#running.delete(about.id)
    }
  }

  async #releaseNow(about: Releasable): Promise<Told> {
    const { store, gate, hostname, log } = this.#parts
    const { id, recipient } = about
    const message = await store.open(id)
    const may = this.#mayRelease(message.entry, about)
    if (may !== 'open') return toldOf(may)
    const wish = { to: [recipient], as: 'resend' } as const
    const signal = AbortSignal.any([this.#stopped, AbortSignal.timeout(DELIVER_MS)])
    const by = `link ${recipient}`
    const now = new Date()
    const [result] = await releaseMessage({ store, gate, hostname }, message, { ...wish, now, by, signal })
    if (result?.outcome === 'relayed') {
      log.info({ quarantineId: id, recipient, line: result.line }, 'console: released')
      return { what: 'released' }
    }
    const why =
      result && 'error' in result
        ? { err: result.error }
        : { line: result && 'line' in result ? result.line : undefined }
    log.warn({ quarantineId: id, recipient, ...why }, 'console: not released')
    return { what: 'later' }
  }

  #mayRelease(entry: QuarantineEntry, { recipient }: Releasable): SelfRelease {
    return selfRelease(entry, recipient, this.#parts.isLocal())
  }

  async #answer({ id, recipient }: Releasable, work: () => Promise<Told>): Promise<Told> {
    try {
      return await work()
    } catch (err) {
      const { log } = this.#parts
      if (!(err instanceof FilterError)) log.error({ err }, 'internal error, console request not answered')
      else if (err instanceof UnknownIdError) return { what: 'unknown', why: err.message }
      else log.error({ quarantineId: id, recipient, code: err.code, err }, 'console: quarantine fails')
      return { what: 'later' }
    }
  }
}

function toldOf(may: Exclude<SelfRelease, 'open'>): Told {
  return { what: may === 'released' ? 'before' : 'closed' }
}

function shownOf(
  { envelope, subject, storedAt, outcomes, category }: QuarantineEntry,
  about: Releasable,
): Shown {
  const own = outcomes.find(({ recipient }) => recipient.address === about.recipient)
  return {
    mailFrom: envelope.mailFrom,
    ...(subject !== undefined && { subject }),
    storedAt,
    category: own?.category ?? category,
  }
}
