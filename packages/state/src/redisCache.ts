import { randomBytes } from 'node:crypto'
import type { RedisCommand, RedisReply } from './redisClient.ts'
import { FRAME_BYTES, sealed, unsealed } from './redisFrame.ts'
import { claimKey, verdictKey } from './redisKeys.ts'
import type { RedisLink } from './redisLink.ts'
import type { SharedCache, SharedValue } from './sharedCache.ts'

/** Larger ones are not written, and refused unread. */
export const MAX_VALUE_BYTES = 64 * 1024

const MAX_FRAME_BYTES = MAX_VALUE_BYTES + FRAME_BYTES
/** An instance that has claimed more than this at a time does not give back the oldest: they end by themselves. */
const MAX_CLAIMS = 10_000

/** Answers with the key and whoever holds it: a reply that is another question's names another key. */
const CLAIM = `redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return {KEYS[1], redis.call('GET', KEYS[1])}`
const UNCLAIM = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** What is stored of verdicts, and by which name. */
export interface RedisCacheOptions {
  readonly prefix: string
  readonly secret?: string
  /** Something under one of our keys that is not ours: cut, forged, or another key's. */
  readonly onOdd?: () => void
}

/** The level of the cache that instances share, in Redis. */
export function createRedisCache(link: RedisLink, options: RedisCacheOptions): SharedCache {
  return new RedisCache(link, options)
}

class RedisCache implements SharedCache {
  readonly #link: RedisLink
  readonly #options: RedisCacheOptions
  /** Tokens of what is ours, by key, the oldest first. */
  readonly #claims = new Map<string, string>()

  constructor(link: RedisLink, options: RedisCacheOptions) {
    this.#link = link
    this.#options = options
  }

  get available(): boolean {
    return this.#link.available
  }

  async read(keys: readonly string[]): Promise<readonly SharedValue[]> {
    if (keys.length === 0) return []
    // The range is one byte longer than the largest: what comes in full length is too long, and the rest stays there.
    const commands = keys.map((key): RedisCommand => [
      'GETRANGE',
      verdictKey(this.#options.prefix, key),
      0,
      MAX_FRAME_BYTES,
    ])
    const replies = await this.#link.ask(commands, 'read')
    return keys.map((key, index) => this.#valueOf(key, replies?.[index]))
  }

  write(key: string, value: Buffer, ttlMs: number): void {
    if (value.length > MAX_VALUE_BYTES || !(ttlMs >= 1)) return
    const { prefix, secret } = this.#options
    const stored = verdictKey(prefix, key)
    void this.#link.ask([['SET', stored, sealed(secret, stored, value), 'PX', Math.floor(ttlMs)]], 'write')
  }

  async claim(key: string, ttlMs: number): Promise<'taken' | 'held' | 'unknown'> {
    if (!(ttlMs >= 1)) return 'unknown'
    const stored = claimKey(this.#options.prefix, key)
    const token = randomBytes(16).toString('hex')
    const replies = await this.#link.ask([['EVAL', CLAIM, 1, stored, token, Math.floor(ttlMs)]], 'write')
    const holder = this.#holderOf(stored, replies?.[0])
    if (holder !== token) return holder === undefined ? 'unknown' : 'held'
    this.#claims.set(stored, token)
    const [oldest] = this.#claims.keys()
    if (this.#claims.size > MAX_CLAIMS && oldest !== undefined) this.#claims.delete(oldest)
    return 'taken'
  }

  unclaim(key: string): void {
    const stored = claimKey(this.#options.prefix, key)
    const token = this.#claims.get(stored)
    if (token === undefined) return
    this.#claims.delete(stored)
    void this.#link.ask([['EVAL', UNCLAIM, 1, stored, token]], 'write')
  }

  #valueOf(key: string, reply: RedisReply | undefined): SharedValue {
    // Where there is nothing, a range is empty.
    if (!Buffer.isBuffer(reply) || reply.length === 0) return undefined
    const { prefix, secret, onOdd } = this.#options
    const value = reply.length > MAX_FRAME_BYTES ? 'odd' : unsealed(secret, verdictKey(prefix, key), reply)
    if (Buffer.isBuffer(value)) return value
    onOdd?.()
    if (value === 'foreign') this.#link.distrust()
    return 'odd'
  }

  /** Absent: no answer, or none to this question. */
  #holderOf(stored: string, reply: RedisReply | undefined): string | undefined {
    if (!Array.isArray(reply)) return undefined
    const [key, holder] = reply as readonly RedisReply[]
    if (!Buffer.isBuffer(key) || !Buffer.isBuffer(holder)) return undefined
    if (key.toString() === stored) return holder.toString('latin1')
    this.#link.distrust()
    return undefined
  }
}
