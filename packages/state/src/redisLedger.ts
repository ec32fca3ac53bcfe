import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { FilterError } from '@ecluse/core'
import type { Attempt, Ledger, LedgerReport, LedgerResult } from './ledger.ts'
import { formatItem, readItem, type LedgerItem } from './ledgerRecord.ts'
import type { RedisCommand, RedisReply } from './redisClient.ts'
import { sealed, unsealed } from './redisFrame.ts'
import { ledgerKeys } from './redisKeys.ts'
import type { RedisLink } from './redisLink.ts'
import { BEGIN_SCRIPT, END_SCRIPT, RECORD_SCRIPT } from './redisLedgerScripts.ts'
import { aborted, Turns, type Turn } from './turns.ts'

/** How the ledger in Redis works. */
export interface RedisLedgerOptions {
  readonly prefix: string
  readonly secret?: string
  readonly ttlMs: number
  /** How long an attempt can last at most: as long, its recipients are its own, also when its process is gone. */
  readonly attemptMs: () => number
  /** How long an attempt of another instance is waited for. */
  readonly joinMs?: number
  /** Milliseconds since 1970; absent: the clock of the machine. */
  readonly now?: () => number
}

const JOIN_MS = 5000
/** While another instance has the message it is asked whether it is done: first after the shorter time. */
const ASK_AGAIN_MS = { first: 20, longest: 500 } as const
/** Fields of one question: Lua hands over some 8,000 values at once. */
const FIELDS_AT_ONCE = 1000
const MAX_FIELD_BYTES = 64 * 1024

/**
 * What was done, in Redis, for all instances. It is a second memory: where Redis does not answer, nothing is known and
 * nothing is remembered, and no attempt fails for it. What is there goes after `ttlMs` by itself.
 *
 * `begin` waits for an attempt of another instance as for one of its own, but not longer than `joinMs`, and then throws
 * E_LEDGER: of an instance that was killed, recipients stay its own for `attemptMs`, and nobody knows whether it is dead.
 */
export function createRedisLedger(link: RedisLink, options: RedisLedgerOptions): Ledger {
  return new RedisLedger(link, options)
}

class RedisLedger implements Ledger {
  readonly entries = 0
  readonly #turns = new Turns()
  readonly #store: LedgerStore
  readonly #link: RedisLink
  #isOpen = false

  constructor(link: RedisLink, options: RedisLedgerOptions) {
    this.#link = link
    this.#store = new LedgerStore(link, options)
  }

  async prepare(): Promise<LedgerReport> {
    // What comes in the first moment may have been another instance's.
    await this.#link.opened()
    this.#isOpen = true
    return { entries: 0, damaged: 0 }
  }

  async begin(key: string, recipients: readonly string[], signal: AbortSignal): Promise<Attempt> {
    if (signal.aborted) throw aborted(signal)
    this.#assertOpen()
    const wanted = new Set(recipients)
    const turn = this.#turns.enter(key, wanted)
    const work = new WorkOnMessage(this.#store, key, wanted)
    try {
      const hasWaited = await turn.wait(signal)
      this.#assertOpen()
      const { known, joined } = await work.take(signal)
      return new RedisAttempt({ work, known, turn, joined: hasWaited || joined })
    } catch (err) {
      work.leave()
      turn.leave()
      throw err
    }
  }

  async check(): Promise<void> {
    this.#assertOpen()
    await this.#link.ask([['PING']], 'read')
  }

  async close(): Promise<void> {
    this.#isOpen = false
    await this.#store.settled()
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new FilterError('E_LEDGER', 'redis: the ledger is not open')
  }
}

/** What Redis says to a question about a message. */
interface Found {
  /** Milliseconds until another attempt's right to some of the recipients ends; 0: they are ours. */
  readonly heldMs: number
  readonly items: readonly LedgerItem[]
}

/** What is stored of messages: two hashes each, what was done and who works on it, with a field for each recipient. */
class LedgerStore {
  readonly #link: RedisLink
  readonly #options: RedisLedgerOptions
  readonly #now: () => number
  readonly #writing = new Set<Promise<unknown>>()

  constructor(link: RedisLink, options: RedisLedgerOptions) {
    this.#link = link
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  get joinMs(): number {
    return this.#options.joinMs ?? JOIN_MS
  }

  /** Takes the recipients for the attempt, all or none, and reads what is known of them. Absent: no answer. */
  async begin(key: string, token: string, recipients: readonly string[]): Promise<Found | undefined> {
    const { known, turns } = ledgerKeys(this.#options.prefix, key)
    const attemptMs = Math.ceil(this.#options.attemptMs())
    const lists = inChunks(recipients, FIELDS_AT_ONCE)
    const replies = await this.#scripts(
      lists.map((list) => [BEGIN_SCRIPT, known, turns, [token, attemptMs, ...list.map(fieldOf)]]),
    )
    if (!replies) return await this.#readOnly(key, recipients)
    const held = replies.map(([heldMs]) => (typeof heldMs === 'number' ? heldMs : 0))
    const items = replies.flatMap(([, ...values], index) => this.#itemsOf(key, lists[index] ?? [], values))
    return { heldMs: Math.max(0, ...held), items }
  }

  /** Where Redis refuses to store, what is known counts all the same. */
  async #readOnly(key: string, recipients: readonly string[]): Promise<Found | undefined> {
    const { known } = ledgerKeys(this.#options.prefix, key)
    const lists = inChunks(recipients, FIELDS_AT_ONCE)
    const replies = await this.#link.ask(
      lists.map((list): RedisCommand => ['HMGET', known, ...list.flatMap((of) => fieldsOf(of))]),
      'read',
    )
    if (!replies) return undefined
    const items = replies.flatMap((reply, index) =>
      Array.isArray(reply) ? this.#itemsOf(key, lists[index] ?? [], reply as readonly RedisReply[]) : [],
    )
    return { heldMs: 0, items }
  }

  /** Settles when it is stored, or cannot be. */
  async record(key: string, items: readonly LedgerItem[]): Promise<void> {
    const { known, turns } = ledgerKeys(this.#options.prefix, key)
    const at = this.#now()
    const fields = items.map((item): [string, Buffer] => {
      const field = item.result === undefined ? `i${fieldOf(item.recipient)}` : `d${fieldOf(item.recipient)}`
      const value = Buffer.from(`${at} ${formatItem(item)}`)
      return [field, sealed(this.#options.secret, `${known} ${field}`, value)]
    })
    const lists = inChunks(fields, FIELDS_AT_ONCE)
    await this.#scripts(
      lists.map((list) => [RECORD_SCRIPT, known, turns, [this.#options.ttlMs, ...list.flat()]]),
    )
  }

  /** Gives the recipients back, in the background. */
  end(key: string, token: string, recipients: readonly string[]): void {
    const { known, turns } = ledgerKeys(this.#options.prefix, key)
    const lists = inChunks(recipients, FIELDS_AT_ONCE)
    const work = this.#scripts(
      lists.map((list) => [END_SCRIPT, known, turns, [token, ...list.map(fieldOf)]]),
    ).finally(() => this.#writing.delete(work))
    this.#writing.add(work)
  }

  async settled(): Promise<void> {
    await Promise.all(this.#writing)
  }

  /** The answers without what proves them; absent: there are none, or they belong to other questions. */
  async #scripts(
    scripts: readonly [
      script: string,
      known: string,
      turns: string,
      args: readonly (string | number | Buffer)[],
    ][],
  ): Promise<readonly (readonly RedisReply[])[] | undefined> {
    const nonce = randomBytes(8).toString('hex')
    const replies = await this.#link.ask(
      scripts.map(([script, known, turns, args]): RedisCommand => [
        'EVAL',
        script,
        2,
        known,
        turns,
        nonce,
        ...args,
      ]),
      'write',
    )
    if (!replies) return undefined
    const answers = replies.map((reply) => (Array.isArray(reply) ? (reply as readonly RedisReply[]) : []))
    if (answers.every(([echo]) => Buffer.isBuffer(echo) && echo.toString('latin1') === nonce)) {
      return answers.map(([, ...rest]) => rest)
    }
    if (answers.some(([echo]) => echo !== undefined)) this.#link.distrust()
    return undefined
  }

  /** @param values what was done and what is reserved, for each recipient in turn */
  #itemsOf(key: string, recipients: readonly string[], values: readonly RedisReply[]): LedgerItem[] {
    return recipients.flatMap((recipient, index) =>
      fieldsOf(recipient).flatMap((field, place) => {
        const item = this.#itemOf(key, field, values[2 * index + place])
        return item?.recipient === recipient ? [item] : []
      }),
    )
  }

  #itemOf(key: string, field: string, frame: RedisReply | undefined): LedgerItem | undefined {
    if (!Buffer.isBuffer(frame) || frame.length > MAX_FIELD_BYTES) return undefined
    const { known } = ledgerKeys(this.#options.prefix, key)
    const value = unsealed(this.#options.secret, `${known} ${field}`, frame)
    if (!Buffer.isBuffer(value)) return undefined
    const text = value.toString()
    const blank = text.indexOf(' ')
    // The hash goes when its last field is too old, so one of its others may be.
    const age = this.#now() - Number(text.slice(0, blank))
    return age < this.#options.ttlMs ? readItem(text.slice(blank + 1)) : undefined
  }
}

/** The fields of what was done for a recipient, and of the id that is reserved for it. */
function fieldsOf(recipient: string): [done: string, reserved: string] {
  const field = fieldOf(recipient)
  return [`d${field}`, `i${field}`]
}

/** JSON tells lone surrogates apart, which all look alike as UTF-8. */
function fieldOf(recipient: string): string {
  return createHash('sha256').update(JSON.stringify(recipient)).digest('base64url').slice(0, 22)
}

function inChunks<T>(all: readonly T[], length: number): T[][] {
  const chunks: T[][] = []
  for (let at = 0; at < all.length; at += length) chunks.push(all.slice(at, at + length))
  return chunks
}

/** One attempt's part in what instances share of a message. */
class WorkOnMessage {
  readonly recipients: ReadonlySet<string>
  readonly #store: LedgerStore
  readonly #key: string
  readonly #token = randomBytes(16).toString('hex')
  #hasAsked = false

  constructor(store: LedgerStore, key: string, recipients: ReadonlySet<string>) {
    this.#store = store
    this.#key = key
    this.recipients = recipients
  }

  /** Waits while another instance works on one of the recipients. @throws FilterError E_ABORTED, E_LEDGER */
  async take(
    signal: AbortSignal,
  ): Promise<{ readonly known: readonly LedgerItem[]; readonly joined: boolean }> {
    const until = performance.now() + this.#store.joinMs
    for (let tries = 0; ; tries++) {
      this.#hasAsked = true
      const found = await this.#store.begin(this.#key, this.#token, [...this.recipients])
      if (signal.aborted) throw aborted(signal)
      if (!found || found.heldMs === 0) return { known: found?.items ?? [], joined: tries > 0 }
      if (performance.now() > until)
        throw new FilterError('E_LEDGER', 'redis: another instance works on this message')
      const waitMs = Math.min(ASK_AGAIN_MS.first * 2 ** tries, ASK_AGAIN_MS.longest, found.heldMs)
      try {
        await wait(waitMs, undefined, { signal })
      } catch {
        throw aborted(signal)
      }
    }
  }

  async record(items: readonly LedgerItem[]): Promise<void> {
    await this.#store.record(this.#key, items)
  }

  leave(): void {
    if (this.#hasAsked) this.#store.end(this.#key, this.#token, [...this.recipients])
  }
}

interface AttemptParts {
  readonly work: WorkOnMessage
  readonly known: readonly LedgerItem[]
  readonly joined: boolean
  readonly turn: Turn
}

class RedisAttempt implements Attempt {
  readonly done: ReadonlyMap<string, LedgerResult>
  readonly joined: boolean
  readonly #parts: AttemptParts
  readonly #reserved = new Map<string, string>()
  #writing = 0
  #hasEnded = false
  #hasLeft = false

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.joined = parts.joined
    const done = new Map<string, LedgerResult>()
    for (const { recipient, result, reservedId } of parts.known) {
      if (result !== undefined) done.set(recipient, result)
      if (reservedId !== undefined) this.#reserved.set(recipient, reservedId)
    }
    this.done = done
  }

  reservedId(recipients: Iterable<string>): string | undefined {
    const ids = new Set([...recipients].map((recipient) => this.#reserved.get(this.#own(recipient))))
    const [id] = ids
    return ids.size === 1 ? id : undefined
  }

  async reserve(id: string, recipients: Iterable<string>): Promise<void> {
    const wanted = [...recipients]
    const items = wanted
      .filter((recipient) => this.#reserved.get(this.#own(recipient)) !== id)
      .map((recipient) => ({ recipient, reservedId: id }))
    await this.#write(items)
    for (const recipient of wanted) this.#reserved.set(recipient, id)
  }

  async record(results: ReadonlyMap<string, LedgerResult>): Promise<void> {
    const items: LedgerItem[] = []
    for (const [recipient, result] of results) {
      const { code } = result.reply
      if (code < 400 || code >= 500) items.push({ recipient: this.#own(recipient), result })
    }
    await this.#write(items)
  }

  end(): void {
    this.#hasEnded = true
    this.#leaveWhenDone()
  }

  #own(recipient: string): string {
    if (this.#parts.work.recipients.has(recipient)) return recipient
    throw new TypeError('not a recipient of this attempt')
  }

  async #write(items: readonly LedgerItem[]): Promise<void> {
    if (this.#hasEnded) throw new TypeError('the attempt has ended')
    if (items.length === 0) return
    this.#writing++
    try {
      await this.#parts.work.record(items)
    } finally {
      this.#writing--
      this.#leaveWhenDone()
    }
  }

  #leaveWhenDone(): void {
    if (!this.#hasEnded || this.#writing > 0 || this.#hasLeft) return
    this.#hasLeft = true
    this.#parts.work.leave()
    this.#parts.turn.leave()
  }
}
