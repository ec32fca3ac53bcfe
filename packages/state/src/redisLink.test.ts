import { afterEach, describe, expect, test } from '@jest/globals'
import { freePort, REDIS_FAULTS, type RedisFault } from '@ecluse/fixtures'
import { at, RedisKit, until } from '../test/redis.ts'
import { RedisRefusal } from './redisClient.ts'

const kit = new RedisKit()

afterEach(async () => {
  await kit.closeAll()
})

const GET = [['GETRANGE', 'k', 0, 10]] as const
const SET = [['SET', 'k', 'v']] as const

test('asks in one round trip, and gives the replies in order', async () => {
  const { port } = await kit.fake()
  const { link, changes } = await kit.connected(port)
  expect(await link.ask([...SET, ...GET], 'write')).toEqual([Buffer.from('OK'), Buffer.from('v')])
  expect([link.available, link.state, changes]).toEqual([true, 'up', [{ state: 'up' }]])
})

test('asks nothing where nobody listens, says so once, and comes back by itself', async () => {
  const fake = await kit.fake()
  const { link, changes } = await kit.connected(fake.port)
  await fake.close()
  await until(() => link.state === 'down')
  expect(await link.ask(GET, 'read')).toBeUndefined()
  expect(changes).toEqual([{ state: 'up' }, { state: 'down', reason: 'ECONNREFUSED' }])
})

test('is down from the start where nobody listens', async () => {
  const { link, changes } = await kit.connected(await freePort())
  expect([link.available, link.state]).toEqual([false, 'down'])
  expect(changes).toEqual([{ state: 'down', reason: 'ECONNREFUSED' }])
})

test.each<[RedisFault, string]>([
  ['silent', 'timeout'],
  ['loading', 'LOADING'],
  ['noauth', 'NOAUTH'],
  ['number', 'not Redis'],
  ['garbage', 'not Redis'],
  ['half-reply', 'timeout'],
  ['endless-bulk', 'endless reply'],
  ['closes', 'closed'],
])('what answers a PING with "%s" is no Redis: %s', async (fault, reason) => {
  const fake = await kit.fake()
  fake.misbehave(fault, true)
  const { link, changes } = await kit.connected(fake.port, { connectMs: 1000 })
  expect(link.available).toBe(false)
  expect(changes).toEqual([{ state: 'down', reason }])
  fake.misbehave()
  await until(() => link.available)
  expect(changes.at(-1)).toEqual({ state: 'up' })
})

test('what answers PING and hangs up each time is down, and told so once', async () => {
  const fake = await kit.fake()
  fake.misbehave('hangs-up', true)
  const { link, changes } = await kit.connected(fake.port)
  await until(() => link.state === 'down')
  await until(() => fake.accepted === 5)
  expect(changes).toEqual([{ state: 'up' }, { state: 'down', reason: 'closed' }])
  fake.misbehave()
  await until(async () => (await link.ask(GET, 'read')) !== undefined)
  expect(changes.at(-1)).toEqual({ state: 'up' })
})

describe('a Redis that answers PING and then misbehaves', () => {
  test.each(REDIS_FAULTS.map((fault) => [fault]))('%s: never a rejection, and back again', async (fault) => {
    const fake = await kit.fake()
    const { link } = await kit.connected({ ...at(fake.port), timeoutMs: 300 }, { retryAfterMs: 1 })
    fake.misbehave(fault)
    for (let times = 0; times < 6; times++) {
      const replies = await Promise.all([link.ask(GET, 'read'), link.ask(SET, 'write')])
      for (const reply of replies) {
        expect([undefined, 1]).toContain(reply?.length)
      }
    }
    fake.misbehave()
    await until(() => link.available)
    // The first one after a failure may be the last of the bad ones.
    let reply: unknown
    await until(async () => {
      reply = (await link.ask(GET, 'read'))?.[0]
      return Buffer.isBuffer(reply)
    })
    expect(String(reply)).toBe(fake.values.get('k')?.toString() ?? '')
  })

  test('is left alone after three failures in a row, and then one question tries', async () => {
    const fake = await kit.fake()
    const { link, changes } = await kit.connected(fake.port, { retryAfterMs: 60_000 })
    fake.misbehave('loading')
    for (let times = 0; times < 3; times++)
      expect(await link.ask(GET, 'read')).toEqual([expect.any(RedisRefusal)])
    await until(() => fake.accepted === 2)
    const asked = fake.commands.length
    expect([link.available, await link.ask(GET, 'read')]).toEqual([false, undefined])
    expect(fake.commands).toHaveLength(asked)
    expect(changes).toEqual([{ state: 'up' }, { state: 'down', reason: 'LOADING' }])
  })

  test('that refuses to store is still read', async () => {
    const fake = await kit.fake()
    const { link, changes } = await kit.connected(fake.port, { retryAfterMs: 60_000 })
    fake.misbehave('oom')
    for (let times = 0; times < 3; times++) await link.ask(SET, 'write')
    fake.misbehave()
    expect(await link.ask(SET, 'write')).toBeUndefined()
    expect(await link.ask(GET, 'read')).toEqual([Buffer.alloc(0)])
    expect(changes).toEqual([{ state: 'up' }, { state: 'unwritable', reason: 'OOM' }])
  })

  test('that became a replica is read without a break while another connection is made', async () => {
    const fake = await kit.fake()
    const { link, changes } = await kit.connected(
      { ...at(fake.port), timeoutMs: 1000 },
      { retryAfterMs: 60_000 },
    )
    fake.misbehave('readonly')
    for (let times = 0; times < 3; times++) await link.ask(SET, 'write')
    while (fake.accepted < 2) expect(await link.ask(GET, 'read')).toEqual([Buffer.alloc(0)])
    for (let times = 0; times < 20; times++) expect(await link.ask(GET, 'read')).toEqual([Buffer.alloc(0)])
    expect(changes).toEqual([{ state: 'up' }, { state: 'unwritable', reason: 'READONLY' }])
  })

  test.each<[RedisFault]>([['noperm'], ['moved'], ['loading']])(
    'that refuses everything (%s) is told to do so once, however long',
    async (fault) => {
      const fake = await kit.fake()
      const { link, changes } = await kit.connected(fake.port, { retryAfterMs: 1 })
      fake.misbehave(fault)
      const reason = fault.toUpperCase()
      // Until it has been tried many times.
      while (fake.commands.length < 50) {
        await link.ask(SET, 'write')
        await link.ask(GET, 'read')
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(changes.slice(1)).toEqual([
        { state: 'unwritable', reason },
        { state: 'down', reason },
      ])
    },
  )

  test('after a question without an answer nothing on its connection is believed', async () => {
    const fake = await kit.fake()
    const { link } = await kit.connected({ ...at(fake.port), timeoutMs: 200 })
    fake.misbehave('silent')
    expect(await link.ask(GET, 'read')).toBeUndefined()
    await until(() => fake.accepted === 2)
  })
})

test.each([
  ['many', '*100001\r\n'],
  ['many in a set', '~100001\r\n'],
  ['many in arrays that stand in each other', '*10000\r\n'.repeat(20)],
])('sets no room aside for elements that have yet to come: %s', async (_, reply) => {
  const fake = await kit.fake(() => reply)
  const { link } = await kit.connected({ ...at(fake.port), timeoutMs: 600_000 })
  expect(await link.ask([['HGETALL', 'k']], 'read')).toBeUndefined()
  await until(() => fake.accepted === 2)
})

test('bounds what is under way while Redis hangs', async () => {
  const fake = await kit.fake()
  const { link } = await kit.connected(fake.port)
  fake.misbehave('silent')
  const waiting = Array.from({ length: 1000 }, async () => await link.ask(GET, 'read'))
  expect(await link.ask(GET, 'read')).toBeUndefined()
  link.close()
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([undefined]))
})

test('bounds the bytes that are under way', async () => {
  const fake = await kit.fake()
  const { link } = await kit.connected(fake.port)
  expect(await link.ask([['SET', 'k', Buffer.alloc(9 * 1024 * 1024)]], 'write')).toBeUndefined()
  expect(fake.commands).toEqual([])
})

test('asks nothing after close, and tells nothing more', async () => {
  const { port } = await kit.fake()
  const { link, changes } = await kit.connected(port)
  link.close()
  link.close()
  expect([link.available, await link.ask(GET, 'read'), changes.length]).toEqual([false, undefined, 1])
})
