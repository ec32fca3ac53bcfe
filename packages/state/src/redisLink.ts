import { RedisCircuit } from './redisCircuit.ts'
import {
  openRedis,
  RedisRefusal,
  type RedisCommand,
  type RedisConnection,
  type RedisReply,
} from './redisClient.ts'
import type { RedisOptions } from './redisOptions.ts'

/** `up`: it answers; `unwritable`: it does, and refuses to store; `down`: it does not. */
export type RedisState = 'up' | 'unwritable' | 'down'

/** What has become of Redis. */
export interface RedisChange {
  readonly state: RedisState
  /** Why, in a word or two of ours or the first word of a refusal; absent when it is up. */
  readonly reason?: string
}

/** What a question does: `write` is not asked while Redis refuses to store. */
type RedisIntent = 'read' | 'write'

/** Speaks with Redis as with a memory that may vanish at any instant. */
export interface RedisLink {
  /**
   * Asks in one round trip. One reply each, in their order. Absent: no answer in time, or nothing was asked: it is away,
   * too much is under way, or it refuses this kind. Never rejects, and settles within `timeoutMs`.
   *
   * A reply may be another question's, where Redis or something before it is broken: what is read must prove itself.
   *
   * @param node from 0: one of `nodes`, whatever the keys; absent: where the keys are
   */
  ask(
    commands: readonly RedisCommand[],
    intent: RedisIntent,
    node?: number,
  ): Promise<readonly RedisReply[] | undefined>
  /** Masters, each with keys of its own, for questions about all keys; 0: not connected. */
  readonly nodes: number
  /** A reply was another question's: nothing on this connection is believed any more. */
  distrust(): void
  /** Whether something would be asked now. */
  readonly available: boolean
  /** Absent: nothing is known yet. */
  readonly state: RedisState | undefined
  /** Resolves when the first try to connect has come to an end, well or not. */
  opened(): Promise<void>
  /** From here on nothing is asked. */
  close(): void
}

/** What tests change. */
interface RedisLinkLimits {
  /** For TCP, TLS, login and the first answer. */
  readonly connectMs?: number
  /** Failures in a row after which nothing is asked for a while. */
  readonly failures?: number
  readonly retryAfterMs?: number
}

const CONNECT_MS = 2000
const FAILURES = 3
const RETRY_AFTER_MS = 1000
/** Waits between two tries to connect: the first, and the longest. */
const RECONNECT_MS = { first: 50, longest: 2000 } as const
/** Connections in a row that were lost soon after their first answer, without another one: Redis is not there for us. */
const MAX_IN_VAIN = 3
/** What may be under way at the same time. */
const MAX_QUESTIONS = 1000
const MAX_SENT_BYTES = 8 * 1024 * 1024
/** Refusals of what may be the wrong server by now, or of a login that is none any more. */
const STALE_CONNECTION: ReadonlySet<string> = new Set(['READONLY', 'NOAUTH', 'LOADING', 'MASTERDOWN'])
/** About one key. */
const HARMLESS: ReadonlySet<string> = new Set(['WRONGTYPE'])

/**
 * Begins to connect, and comes back by itself until it is closed.
 *
 * @param onChange called once for each change of state
 */
export function openRedisLink(
  options: RedisOptions,
  onChange: (change: RedisChange) => void,
  limits: RedisLinkLimits = {},
): RedisLink {
  return new Link(options, onChange, limits)
}

class Link implements RedisLink {
  readonly #options: RedisOptions
  readonly #onChange: (change: RedisChange) => void
  readonly #connectMs: number
  readonly #answers: RedisCircuit
  readonly #stores: RedisCircuit
  readonly #opened: Promise<void>
  #markOpened: () => void = () => undefined
  #connection: RedisConnection | undefined
  /** One that shall come in its place, or did, and ends. */
  readonly #others = new Set<RedisConnection>()
  /** Whether it has answered on this connection. */
  #isProved = false
  /** When it was proved, by performance.now(). */
  #provedAt = 0
  /** Connections in a row that came to nothing, see MAX_IN_VAIN. */
  #inVain = 0
  #tries = 0
  #retry: NodeJS.Timeout | undefined
  #isClosed = false
  #questions = 0
  #sentBytes = 0
  #state: RedisState | undefined
  #refusedFor = 'refused'

  constructor(options: RedisOptions, onChange: (change: RedisChange) => void, limits: RedisLinkLimits) {
    const { connectMs = CONNECT_MS, failures = FAILURES, retryAfterMs = RETRY_AFTER_MS } = limits
    this.#options = options
    this.#onChange = onChange
    this.#connectMs = connectMs
    const now = (): number => performance.now()
    this.#answers = new RedisCircuit({ failures, retryAfterMs }, now)
    this.#stores = new RedisCircuit({ failures, retryAfterMs }, now)
    this.#opened = new Promise((resolve) => {
      this.#markOpened = resolve
    })
    this.#connect()
  }

  get available(): boolean {
    return this.#isProved && this.#answers.admits
  }

  get nodes(): number {
    return this.#connection?.nodes ?? 0
  }

  get state(): RedisState | undefined {
    return this.#state
  }

  async opened(): Promise<void> {
    await this.#opened
  }

  async ask(
    commands: readonly RedisCommand[],
    intent: RedisIntent,
    node?: number,
  ): Promise<readonly RedisReply[] | undefined> {
    const connection = this.#connection
    if (!connection || !this.available || (intent === 'write' && !this.#stores.admits)) return undefined
    const bytes = lengthOf(commands)
    if (this.#questions >= MAX_QUESTIONS || this.#sentBytes + bytes > MAX_SENT_BYTES) return undefined
    this.#answers.begin()
    if (intent === 'write') this.#stores.begin()
    this.#questions++
    this.#sentBytes += bytes
    try {
      const replies = await withinTime(connection.send(commands, node), this.#options.timeoutMs)
      return this.#judge(replies, intent, connection)
    } finally {
      this.#questions--
      this.#sentBytes -= bytes
    }
  }

  distrust(): void {
    this.#answers.failed()
    this.#reconnect('mixed up')
  }

  close(): void {
    this.#isClosed = true
    this.#isProved = false
    clearTimeout(this.#retry)
    this.#connection?.drop()
    this.#connection = undefined
    for (const connection of this.#others) connection.drop()
    this.#markOpened()
  }

  #judge(
    replies: readonly (RedisReply | undefined)[] | undefined,
    intent: RedisIntent,
    connection: RedisConnection,
  ): readonly RedisReply[] | undefined {
    if (replies === undefined || !isComplete(replies)) {
      this.#answers.failed()
      if (intent === 'write') this.#stores.unsure()
      // What comes late on this connection would be taken for the answer to a later question.
      if (replies === undefined && connection === this.#connection) this.#reconnect('timeout')
      else this.#tell('no answer')
      return undefined
    }
    const refusal = replies.find(
      (reply): reply is RedisRefusal => reply instanceof RedisRefusal && !HARMLESS.has(reply.code),
    )
    const isOpen = intent === 'write' ? this.#noteStored(refusal) : this.#noteRead(refusal)
    if (refusal && isOpen && STALE_CONNECTION.has(refusal.code)) this.#exchange(connection)
    this.#inVain = 0
    this.#tries = 0
    this.#tell(refusal?.code)
    return replies
  }

  /** Gives whether it is not read any more. */
  #noteRead(refusal: RedisRefusal | undefined): boolean {
    this.#answers[refusal ? 'failed' : 'succeeded']()
    return this.#answers.isOpen
  }

  /** Gives whether nothing is stored any more. */
  #noteStored(refusal: RedisRefusal | undefined): boolean {
    this.#stores[refusal ? 'failed' : 'succeeded']()
    // That it refuses to store says nothing of whether it can be read.
    this.#answers[refusal ? 'unsure' : 'succeeded']()
    if (refusal) this.#refusedFor = refusal.code
    return this.#stores.isOpen
  }

  /** Tells what has changed, if anything has. */
  #tell(reason = 'no answer'): void {
    if (this.#isClosed) return
    if (this.#answers.isOpen) this.#become('down', reason)
    else if (this.#stores.isOpen) this.#become('unwritable', this.#refusedFor)
    else if (this.#isProved) this.#become('up')
  }

  #become(state: RedisState, reason?: string): void {
    if (this.#state === state) return
    this.#state = state
    this.#onChange({ state, ...(reason !== undefined && { reason }) })
  }

  #connect(): void {
    const connection = openRedis(this.#options, this.#connectMs, {
      ready: () => void this.#prove(connection),
      lost: (reason) => this.#lost(connection, reason),
    })
    this.#connection = connection
  }

  /** A process that is stopped takes connections, and answers nothing. */
  async #prove(connection: RedisConnection): Promise<void> {
    const replies = await withinTime(connection.send([['PING']]), this.#connectMs)
    if (connection !== this.#connection) return
    const [reply] = replies ?? []
    if (Buffer.isBuffer(reply) && reply.toString('latin1') === 'PONG') {
      this.#isProved = true
      this.#provedAt = performance.now()
      if (this.#inVain === 0) this.#tries = 0
      if (this.#inVain < MAX_IN_VAIN) this.#tell()
      this.#markOpened()
      return
    }
    connection.drop()
    this.#lost(connection, reply instanceof RedisRefusal ? reply.code : replies ? 'not Redis' : 'timeout')
  }

  /** Ends the connection and makes another one at once: whether that works is what counts. */
  #reconnect(reason: string): void {
    this.#connection?.drop()
    this.#connection = undefined
    this.#isProved = false
    if (this.#answers.isOpen) this.#become('down', reason)
    this.#later()
  }

  /** Where it leads may be another Redis by now; until that is known, this one can still be read. */
  #exchange(old: RedisConnection): void {
    if (this.#others.size > 0 || old !== this.#connection) return
    const end = (connection: RedisConnection): void => {
      connection.drop()
      this.#others.delete(connection)
    }
    const next = openRedis(this.#options, this.#connectMs, {
      ready: () => {
        if (old !== this.#connection) return end(next)
        this.#others.delete(next)
        this.#others.add(old)
        this.#connection = next
        // By then all that was asked on it has its answer.
        setTimeout(() => end(old), this.#options.timeoutMs).unref()
      },
      lost: (reason) => this.#lost(next, reason),
    })
    this.#others.add(next)
  }

  #lost(connection: RedisConnection, reason: string): void {
    this.#others.delete(connection)
    if (connection !== this.#connection) return
    const wasProved = this.#isProved
    this.#connection = undefined
    this.#isProved = false
    if (wasProved) this.#inVain = this.#hasLasted ? 0 : this.#inVain + 1
    // A server that was restarted is back at once: that is no news.
    const isNews = !wasProved || this.#inVain >= MAX_IN_VAIN
    if (isNews && !this.#isClosed) this.#become('down', reason)
    this.#markOpened()
    this.#later()
  }

  /** Ended by a Redis or a balancer that ends what is idle: nothing is wrong with it. */
  get #hasLasted(): boolean {
    return performance.now() - this.#provedAt > RECONNECT_MS.longest
  }

  #later(): void {
    if (this.#isClosed) return
    const { first, longest } = RECONNECT_MS
    const waitMs = this.#tries === 0 ? 0 : Math.min(first * 2 ** this.#tries, longest)
    this.#tries++
    clearTimeout(this.#retry)
    // Instances that lost it together do not come back all at once.
    this.#retry = setTimeout(() => this.#connect(), waitMs * (0.75 + Math.random() / 2))
    this.#retry.unref()
  }
}

function isComplete(replies: readonly (RedisReply | undefined)[]): replies is readonly RedisReply[] {
  return replies.every((reply) => reply !== undefined)
}

function lengthOf(commands: readonly RedisCommand[]): number {
  let bytes = 0
  for (const command of commands) {
    for (const part of command) bytes += typeof part === 'number' ? 8 : part.length
  }
  return bytes
}

/** What it gives, absent when it takes longer. */
async function withinTime<T>(work: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  return await new Promise((resolve) => {
    const timer = setTimeout(() => {
      // Where our own process was busy, the answer may lie in the socket, and is read before this.
      setImmediate(() => resolve(undefined))
    }, timeoutMs)
    void work.then((value) => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}
