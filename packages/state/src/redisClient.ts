import { Cluster, Command, Redis } from 'ioredis'
import type { HostPort, RedisOptions } from './redisOptions.ts'

// The only module that imports ioredis. What it relies on, and the traps:
// - One client is one connection: it never connects again by itself (retryStrategy gives nothing), so nothing that was
//   asked before can be answered after. Who wants another connection opens another client.
// - Without enableOfflineQueue: false and protocol 2 (HELLO is sent for 3) it holds commands while Redis is away.
// - A Cluster rejects what is sent to a node that is still connecting, and connects to nodes only when they are needed:
//   so its masters are connected to before it is called ready.
// - The parser collects a reply of any length: what comes without completing a reply is counted here.
// - patches/ioredis@6.0.0.patch: a null that nobody has asked for, and a push without content, were errors that nobody
//   catches, and ended the process; a length such as `2x` could send the parser back, without end; and for
//   arrays of 100 million elements, or of 10,000 that stand in each other, it set room aside before there was one. Each
//   ends the connection now.

/** A command and its arguments. */
export type RedisCommand = readonly [name: string, ...args: (string | Buffer | number)[]]

/** Redis has understood the question, and refuses; `code` is its first word where that is one, such as NOPERM. */
export class RedisRefusal {
  readonly code: string
  constructor(code: string) {
    this.code = code
  }
}

/** What Redis said. */
export type RedisReply = Buffer | number | null | RedisRefusal | readonly RedisReply[]

/** One connection, or those of one client of a Cluster. */
export interface RedisConnection {
  /**
   * Sends all of them at once. One reply each, in their order; absent: the connection is gone, or Redis cannot be
   * reached for this key. Never rejects, but may stay unsettled until `drop`.
   *
   * @param node from 0: one of `nodes`, whatever the keys; absent: where the keys are
   */
  send(commands: readonly RedisCommand[], node?: number): Promise<readonly (RedisReply | undefined)[]>
  /** Masters; 1 where it is no Cluster. */
  readonly nodes: number
  /** Ends it at once, whatever is under way. `lost` is not called any more. */
  drop(): void
}

/** What a connection tells. */
export interface RedisEvents {
  /** Commands can be sent. Once. */
  readonly ready: () => void
  /** It has ended, or never came to be. Once, and the last. `reason` is a word or two of ours. */
  readonly lost: (reason: string) => void
}

/** From a socket, without a reply coming to its end: more than any honest reply has. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024
const KEEP_ALIVE_MS = 30_000
const SLOTS_REFRESH_MS = 10_000
const MAX_REDIRECTIONS = 4

/** Begins to connect. Whoever opens it drops it, also when it is lost. */
export function openRedis(options: RedisOptions, connectMs: number, events: RedisEvents): RedisConnection {
  return new Connection(options, connectMs, events)
}

class Connection implements RedisConnection {
  readonly #client: Redis | Cluster
  readonly #events: RedisEvents
  readonly #timer: NodeJS.Timeout
  #reason = 'closed'
  #hasEnded = false
  #unreadBytes = 0

  constructor(options: RedisOptions, connectMs: number, events: RedisEvents) {
    this.#events = events
    const client = this.#open(options, connectMs)
    this.#client = client
    this.#timer = setTimeout(() => this.#end('timeout'), connectMs)
    this.#timer.unref()
    // Stays for good: an error without a listener would end the process.
    client.on('error', (error: unknown) => {
      this.#reason = reasonOf(error)
    })
    client.on('end', () => this.#end(this.#reason))
    client.on('ready', () => void this.#ready())
  }

  get nodes(): number {
    return this.#client instanceof Cluster ? this.#client.nodes('master').length : 1
  }

  async send(commands: readonly RedisCommand[], node?: number): Promise<readonly (RedisReply | undefined)[]> {
    const client =
      this.#client instanceof Cluster && node !== undefined
        ? this.#client.nodes('master')[node]
        : this.#client
    if (this.#hasEnded || !client) return commands.map(() => undefined)
    return await Promise.all(commands.map((command) => this.#ask(client, command)))
  }

  drop(): void {
    this.#hasEnded = true
    clearTimeout(this.#timer)
    this.#client.disconnect()
  }

  #open(options: RedisOptions, connectMs: number): Redis | Cluster {
    const { place } = options
    const common = commonOptions(options, connectMs)
    if (place.kind === 'cluster') {
      const cluster = new Cluster(
        place.nodes.map(({ host, port }) => ({ host, port })),
        clusterOptions(common, connectMs),
      )
      // They connect when something is asked, and would refuse what is asked meanwhile.
      cluster.on('+node', (node: Redis) => this.#connectNode(node))
      return cluster
    }
    const client = new Redis({ ...common, ...whereOf(place, options, connectMs) })
    this.#watch(client)
    return client
  }

  #connectNode(node: Redis): void {
    this.#watch(node)
    node.connect().catch(() => undefined)
  }

  async #ready(): Promise<void> {
    if (this.#client instanceof Cluster) {
      await Promise.all(this.#client.nodes('master').map((node) => connected(node)))
    }
    if (this.#hasEnded) return
    clearTimeout(this.#timer)
    this.#events.ready()
  }

  #end(reason: string): void {
    if (this.#hasEnded) return
    this.drop()
    this.#events.lost(reason)
  }

  #watch(client: Redis): void {
    client.on('connect', () => {
      client.stream.on('data', (chunk: Buffer) => {
        this.#unreadBytes += chunk.length
        if (this.#unreadBytes > MAX_UNREAD_BYTES) this.#end('endless reply')
      })
    })
  }

  async #ask(client: Redis | Cluster, [name, ...args]: RedisCommand): Promise<RedisReply | undefined> {
    const command = new Command(name, args, { replyEncoding: null })
    try {
      void client.sendCommand(command)
      const reply: unknown = await command.promise
      this.#unreadBytes = 0
      return replyOf(reply)
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal) this.#unreadBytes = 0
      return refusal
    }
  }
}

function commonOptions({ username, password, database, tls }: RedisOptions, connectMs: number) {
  return {
    protocol: 2,
    enableOfflineQueue: false,
    // Redis that still loads its data says so when it is asked; INFO is not everybody's right.
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: connectMs,
    // What is taken leave of may be a stopped process, which never answers it.
    disconnectTimeout: 1,
    keepAlive: KEEP_ALIVE_MS,
    noDelay: true,
    disableClientInfo: true,
    db: database ?? 0,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
  } as const
}

function clusterOptions(redisOptions: ReturnType<typeof commonOptions>, connectMs: number) {
  return {
    redisOptions,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    clusterRetryStrategy: () => null,
    maxRedirections: MAX_REDIRECTIONS,
    // No second try behind our back: its time would be over.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: connectMs,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
  } as const
}

function whereOf(
  place: Exclude<RedisOptions['place'], { readonly kind: 'cluster' }>,
  { tls }: RedisOptions,
  connectMs: number,
) {
  if (place.kind === 'sentinel') {
    return {
      sentinels: place.sentinels.map(({ host, port }: HostPort) => ({ host, port })),
      name: place.name,
      sentinelRetryStrategy: () => null,
      sentinelCommandTimeout: connectMs,
      enableTLSForSentinelMode: true,
      ...(tls && { sentinelTLS: tls }),
    }
  }
  const { address } = place
  return 'path' in address ? { path: address.path } : { host: address.host, port: address.port }
}

/** Resolves when it is ready or will not be. */
async function connected(node: Redis): Promise<void> {
  if (node.status === 'ready' || node.status === 'end') return
  await new Promise<void>((resolve) => {
    node.once('ready', resolve)
    node.once('end', resolve)
  })
}

function replyOf(reply: unknown): RedisReply | undefined {
  if (reply === null || typeof reply === 'number' || Buffer.isBuffer(reply)) return reply
  if (Array.isArray(reply)) return reply.map((part) => replyOf(part) ?? null)
  return refusalOf(reply)
}

function refusalOf(error: unknown): RedisRefusal | undefined {
  if (typeof error !== 'object' || error === null || !('name' in error) || error.name !== 'ReplyError')
    return undefined
  return new RedisRefusal(wordOf(error) ?? 'ERR')
}

/** Text of the network goes no further than one word of capitals. */
function wordOf(error: object): string | undefined {
  const text = 'message' in error && typeof error.message === 'string' ? error.message : ''
  return /^[A-Z]{2,20}(?= |$)/.exec(text)?.[0]
}

function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'failed'
  if ('name' in error && error.name === 'ReplyError') return wordOf(error) ?? 'ERR'
  // A Cluster tells that no node answered, and the node's own reason inside.
  if ('lastNodeError' in error && error.lastNodeError !== undefined) return reasonOf(error.lastNodeError)
  if ('code' in error && typeof error.code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(error.code))
    return error.code
  const text = 'message' in error && typeof error.message === 'string' ? error.message : ''
  if (text.startsWith('All sentinels are unreachable')) return 'no sentinel knows the master'
  return text.startsWith('Unknown RESP type') ? 'not Redis' : 'closed'
}
