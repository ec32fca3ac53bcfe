import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { bulk, REDIS_FAULTS, type FakeRedis } from '@ecluse/fixtures'
import { at, RedisKit, until } from '../test/redis.ts'
import { createRedisCache, MAX_VALUE_BYTES } from './redisCache.ts'
import { sealed } from './redisFrame.ts'
import type { RedisLink } from './redisLink.ts'
import type { SharedCache } from './sharedCache.ts'

const KEY = 'ecluse:v1:clamav:1:0:abc'
const OTHER = 'ecluse:v1:rspamd:1:0:abc'
const STORED = 'test:v1:clamav:1:0:{abc}'
const CLEAN = Buffer.from('clean')
const kit = new RedisKit()
/** Who holds what, as CLAIM and UNCLAIM leave it. */
const claims = new Map<string, string>()
let odd: number
let fake: FakeRedis
let link: RedisLink
let cache: SharedCache

beforeEach(async () => {
  claims.clear()
  odd = 0
  fake = await kit.fake(([name, script, , key = '', token = '']) => {
    if (String(name) !== 'EVAL') return undefined
    const stored = String(key)
    if (String(script).includes('DEL')) {
      return claims.get(stored) === String(token) ? `:${Number(claims.delete(stored))}\r\n` : ':0\r\n'
    }
    if (!claims.has(stored)) claims.set(stored, String(token))
    return `*2\r\n${bulk(stored).toString()}${bulk(claims.get(stored) ?? '').toString()}`
  })
  ;({ link } = await kit.connected({ ...at(fake.port), timeoutMs: 20_000 }, { retryAfterMs: 1 }))
  cache = cacheOn(link)
})

afterEach(async () => {
  await kit.closeAll()
})

function cacheOn(on: RedisLink, secret = 'secret'): SharedCache {
  return createRedisCache(on, { prefix: 'test', secret, onOdd: () => odd++ })
}

/** A write is in the background: done when a later question is answered. */
async function settled(): Promise<void> {
  await link.ask([['GETRANGE', 'none', 0, 0]], 'read')
}

test('reads what was written, in the order of the keys, in one go', async () => {
  cache.write(KEY, CLEAN, 60_000)
  cache.write(OTHER, Buffer.from('spam'), 60_000)
  expect(await cache.read([OTHER, 'ecluse:v1:none:1:0:abc', KEY])).toEqual([
    Buffer.from('spam'),
    undefined,
    CLEAN,
  ])
  expect(fake.commands.map((words) => words.slice(0, 2).map(String))).toEqual([
    ['SET', STORED],
    ['SET', 'test:v1:rspamd:1:0:{abc}'],
    ['GETRANGE', 'test:v1:rspamd:1:0:{abc}'],
    ['GETRANGE', 'test:v1:none:1:0:{abc}'],
    ['GETRANGE', STORED],
  ])
  expect(fake.commands[0]?.slice(3).map(String)).toEqual(['PX', '60000'])
  expect([await cache.read([]), odd]).toEqual([[], 0])
})

test.each<[string, Buffer]>([
  ['forged with another secret', sealed('other', STORED, CLEAN)],
  ['forged without one', sealed(undefined, STORED, CLEAN)],
  ['cut', sealed('secret', STORED, CLEAN).subarray(0, -1)],
  ['a text', Buffer.from('clean')],
  ['one byte', Buffer.from('E')],
  ['another key', sealed('secret', 'test:v1:clamav:1:0:{abd}', CLEAN)],
  ['one byte too long', sealed('secret', STORED, Buffer.alloc(MAX_VALUE_BYTES + 1))],
  ['huge', Buffer.alloc(7 * 1024 * 1024)],
])('says of what is %s that it is odd, and counts it', async (_, frame) => {
  fake.values.set(STORED, frame)
  expect([await cache.read([KEY]), odd]).toEqual([['odd'], 1])
})

test('believes no reply that belongs to another question, and makes another connection', async () => {
  cache.write(KEY, CLEAN, 60_000)
  cache.write(OTHER, Buffer.from('spam'), 60_000)
  await settled()
  fake.misbehave('shifted')
  for (let times = 0; times < 2; times++) {
    expect((await cache.read([KEY, OTHER])).every((value) => !Buffer.isBuffer(value))).toBe(true)
  }
  await until(() => fake.accepted > 1)
  expect(odd).toBeGreaterThan(0)
})

test('does not store what is too large, nor for no time at all', async () => {
  cache.write(KEY, Buffer.alloc(MAX_VALUE_BYTES + 1), 60_000)
  for (const ttlMs of [0, -1, Number.NaN]) cache.write(KEY, CLEAN, ttlMs)
  expect(await cache.claim(KEY, 0)).toBe('unknown')
  cache.write(KEY, Buffer.alloc(MAX_VALUE_BYTES), 60_000)
  await settled()
  expect(fake.commands).toHaveLength(2)
  expect((await cache.read([KEY]))[0]).toHaveLength(MAX_VALUE_BYTES)
})

test('gives the right to scan to one, until it gives it back', async () => {
  const second = cacheOn(link)
  expect(await cache.claim(KEY, 1000)).toBe('taken')
  expect([await second.claim(KEY, 1000), await second.claim(OTHER, 1000)]).toEqual(['held', 'taken'])
  second.unclaim(KEY)
  expect(await second.claim(KEY, 1000)).toBe('held')
  cache.unclaim(KEY)
  cache.unclaim(KEY)
  await settled()
  expect(await second.claim(KEY, 1000)).toBe('taken')
})

test('knows nothing of a claim whose answer names another key', async () => {
  fake.misbehave('shifted')
  await cache.claim(OTHER, 1000)
  expect(await cache.claim(KEY, 1000)).toBe('unknown')
})

describe('a Redis that misbehaves', () => {
  test.each(REDIS_FAULTS.map((fault) => [fault]))(
    '%s: nothing is wrong, nothing is thrown',
    async (fault) => {
      const impatient = await kit.connected({ ...at(fake.port), timeoutMs: 300 }, { retryAfterMs: 1 })
      const doubtful = cacheOn(impatient.link)
      doubtful.write(KEY, CLEAN, 60_000)
      await impatient.link.ask([['GETRANGE', 'none', 0, 0]], 'read')
      fake.misbehave(fault)
      for (let times = 0; times < 4; times++) {
        doubtful.write(OTHER, CLEAN, 60_000)
        const [values, claim] = await Promise.all([doubtful.read([OTHER, KEY]), doubtful.claim(KEY, 1000)])
        doubtful.unclaim(KEY)
        expect(values).toHaveLength(2)
        // Right, odd or absent: a shifted reply may by chance be the right one.
        for (const value of values) expect([undefined, 'odd', 'clean']).toContain(value?.toString())
        expect(fault === 'shifted' ? ['unknown', 'taken', 'held'] : ['unknown']).toContain(claim)
      }
    },
  )
})
