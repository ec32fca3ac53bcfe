import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  startRedis,
  startRedisCluster,
  startSentinel,
  tellRedis,
  type RedisClusterService,
  type RedisService,
} from '@ecluse/fixtures'
import { at, RedisKit, until, type LinkUnderTest } from '../test/redis.ts'
import { ANNA, keyOf, NEVER, recall, relayed, remember } from '../test/sample.ts'
import type { Ledger } from './ledger.ts'
import { createRedisCache } from './redisCache.ts'
import { createRedisLedger } from './redisLedger.ts'
import type { RedisOptions } from './redisOptions.ts'
import { askRedis } from './redisFacts.ts'
import { countVerdicts, purgeVerdicts } from './redisVerdicts.ts'
import type { SharedCache } from './sharedCache.ts'

const NAMES = { prefix: 'test', secret: 'secret' }
const KEY = 'ecluse:v1:clamav:1.4:0:abc'
const CLEAN = Buffer.from('clean')
const kit = new RedisKit()

afterEach(async () => {
  await kit.closeAll()
})

interface Instance extends LinkUnderTest {
  readonly cache: SharedCache
  readonly ledger: Ledger
}

async function instance(where: Partial<RedisOptions>): Promise<Instance> {
  const made = await kit.connected(where, { retryAfterMs: 20 })
  const ledger = createRedisLedger(made.link, { ...NAMES, ttlMs: 3_600_000, attemptMs: () => 600_000 })
  await ledger.prepare()
  return { ...made, ledger, cache: createRedisCache(made.link, NAMES) }
}

/** Everything that an instance asks; what came of it. Nothing may be thrown. */
async function askAll({ cache, ledger, link }: Instance, number: number | string): Promise<string> {
  const key = `ecluse:v1:clamav:1.4:0:${number}`
  cache.write(key, CLEAN, 60_000)
  const claim = await cache.claim(key, 1000)
  cache.unclaim(key)
  const [value] = await cache.read([key])
  expect([undefined, 'odd', 'clean']).toContain(value?.toString())
  const before = await remember(ledger, keyOf(number), { [ANNA]: relayed(`B${number}`) })
  const after = await recall(ledger, keyOf(number), [ANNA])
  expect([undefined, `B${number}`]).toContain(after[ANNA]?.queuedAs)
  expect(before.size).toBeLessThanOrEqual(1)
  return [link.state, value ? 'hit' : 'miss', claim, after[ANNA] ? 'known' : 'unknown'].join(' ')
}

const WELL = 'up hit taken known'

describeWith({ describe, beforeAll }, 'redis-server')('one Redis', () => {
  let redis: RedisService
  beforeEach(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    await redis.close()
  })

  test('does all that is asked', async () => {
    expect(await askAll(await instance(at(redis.port)), 1)).toBe(WELL)
  })

  test('that was killed and started again is used again, and knows nothing', async () => {
    const one = await instance(at(redis.port))
    expect(await askAll(one, 1)).toBe(WELL)
    const { port } = redis
    process.kill(redis.pid, 'SIGKILL')
    await until(() => one.link.state === 'down')
    expect(await askAll(one, 2)).toBe('down miss unknown unknown')
    await redis.close()
    redis = await startRedis({ port })
    await until(() => one.link.available)
    expect(await recall(one.ledger, keyOf(1), [ANNA])).toEqual({})
    expect(await askAll(one, 3)).toBe(WELL)
  })

  test('that hangs costs a few timeouts, and what it missed is not made up for', async () => {
    const one = await instance({ ...at(redis.port), timeoutMs: 300 })
    await until(async () => (await askAll(one, 1)) === WELL)
    process.kill(redis.pid, 'SIGSTOP')
    const seen = new Set<string>()
    for (let number = 2; number < 52; number++) seen.add(await askAll(one, number))
    expect([...seen].filter((each) => !each.endsWith('miss unknown unknown'))).toEqual([])
    process.kill(redis.pid, 'SIGCONT')
    await until(async () => (await askAll(one, 52)) === WELL)
  })

  test('that is full is still read, and told to be', async () => {
    const one = await instance(at(redis.port))
    expect(await askAll(one, 1)).toBe(WELL)
    await tellRedis(redis.port, 'CONFIG SET maxmemory 1mb')
    const key = 'ecluse:v1:clamav:1.4:0:1'
    for (let number = 2; number < 6; number++) await askAll(one, number)
    expect(one.changes.at(-1)).toEqual({ state: 'unwritable', reason: 'OOM' })
    expect((await one.cache.read([key]))[0]).toEqual(CLEAN)
    expect(await recall(one.ledger, keyOf(1), [ANNA])).toEqual({ [ANNA]: relayed('B1') })
    await tellRedis(redis.port, 'CONFIG SET maxmemory 0')
    await until(async () => (await askAll(one, 7)) === WELL)
  })

  test('that becomes a replica is still read, and tried until it is none', async () => {
    const one = await instance(at(redis.port))
    const master = kit.own(await startRedis())
    expect(await askAll(one, 1)).toBe(WELL)
    // Of a master that cannot be reached it keeps what it has.
    await tellRedis(redis.port, 'REPLICAOF 127.0.0.1 1')
    for (let number = 2; number < 6; number++) await askAll(one, number)
    await until(() => one.link.available)
    expect(one.changes.map(({ reason }) => reason)).toContain('READONLY')
    expect(await recall(one.ledger, keyOf(1), [ANNA])).toEqual({ [ANNA]: relayed('B1') })
    await tellRedis(redis.port, 'REPLICAOF NO ONE')
    await until(async () => (await askAll(one, 7)) === WELL)
    await master.close()
  })

  test('takes a password, an ACL user, another database and a Unix socket', async () => {
    await tellRedis(redis.port, 'ACL SETUSER filter on >s3cret ~test:* +@all')
    const place = at(redis.port)
    const one = await instance({ ...place, username: 'filter', password: 's3cret', database: 3 })
    expect(await askAll(one, 1)).toBe(WELL)
    await tellRedis(redis.port, 'INFO keyspace', 'db3:')
    const wrong = await instance({ ...place, username: 'filter', password: 'other' })
    expect(wrong.changes).toEqual([{ state: 'down', reason: 'WRONGPASS' }])
    const path = `${redis.directory}/redis.sock`
    const other = kit.own(await startRedis({ arguments: ['--unixsocket', path] }))
    expect(await askAll(await instance({ place: { kind: 'standalone', address: { path } } }), 1)).toBe(WELL)
    await other.close()
  })

  test('needs no other rights than those that the operator is told to give', async () => {
    const guide = readFileSync(join(import.meta.dirname, '../../../deploy/README.md'), 'utf8')
    const rule = /^ACL SETUSER ecluse .*$/m.exec(guide)?.[0] ?? ''
    await tellRedis(redis.port, rule.replace('PASSWORD', 's3cret').replace('~ecluse:', '~test:'))
    const one = await instance({ ...at(redis.port), username: 'ecluse', password: 's3cret', database: 1 })
    expect(await askAll(one, 1)).toBe(WELL)
    expect(await countVerdicts(one.link, 'test', {})).toHaveLength(1)
    expect(await purgeVerdicts(one.link, 'test', {})).toBe(1)
    const facts = await askRedis(one.link, 'test')
    expect([facts?.version, facts?.refusal]).toEqual([expect.stringMatching(/\d/), undefined])
  })

  test.each([
    ['no right to anything but PING', '+ping', 'down miss unknown unknown', 'NOPERM'],
    ['no right to store', '+@all -set -eval', 'unwritable miss unknown unknown', 'NOPERM'],
    ['no right to our keys', '+@all resetkeys ~other:*', 'down miss unknown unknown', 'NOPERM'],
  ])('with %s goes on without it', async (_, rights, expected, reason) => {
    await tellRedis(redis.port, `ACL SETUSER filter on >s3cret ~* ${rights}`)
    const one = await instance({ ...at(redis.port), username: 'filter', password: 's3cret' })
    for (let number = 1; number < 6; number++) await askAll(one, number)
    expect(await askAll(one, 6)).toBe(expected)
    expect(one.changes.at(-1)).toEqual({ state: expected.split(' ')[0], reason })
  })

  test('counts and removes verdicts, and nothing else', async () => {
    const { cache, ledger, link } = await instance(at(redis.port))
    for (let number = 0; number < 1200; number++) {
      cache.write(`ecluse:v1:clamav:1.4:0:${number}`, CLEAN, 60_000)
      // More than a thousand at a time are not asked.
      if (number % 500 === 0) await link.ask([['PING']], 'read')
    }
    for (const key of ['ecluse:v1:clamav:1.5:0:7', 'ecluse:v1:rspamd:3:0:7']) cache.write(key, CLEAN, 60_000)
    expect(await cache.claim(KEY, 60_000)).toBe('taken')
    await remember(ledger, keyOf(1), { [ANNA]: relayed() })
    await tellRedis(redis.port, 'SET test:v1:other value')
    expect(await countVerdicts(link, 'test', {})).toEqual([
      { scanner: 'clamav', version: '1.4', entries: 1200 },
      { scanner: 'clamav', version: '1.5', entries: 1 },
      { scanner: 'rspamd', version: '3', entries: 1 },
    ])
    expect(await purgeVerdicts(link, 'test', { digest: '7' })).toBe(3)
    expect(await purgeVerdicts(link, 'test', { scanner: 'rspamd' })).toBe(0)
    expect(await purgeVerdicts(link, 'test', {})).toBe(1199)
    expect(await recall(ledger, keyOf(1), [ANNA])).toEqual({ [ANNA]: relayed() })
    expect(await tellRedis(redis.port, 'GET test:v1:other', 'value')).toContain('value')
    expect(await askRedis(link, 'test')).toMatchObject({
      version: expect.stringMatching(/^(?:Redis|Valkey) \d/),
      maxBytes: 0,
      eviction: 'noeviction',
    })
  })

  test('gives the recipients of a message to one of two instances at a time', async () => {
    const [one, other] = [await instance(at(redis.port)), await instance(at(redis.port))]
    let atWork = 0
    const most: number[] = []
    const work = async ({ ledger }: Instance): Promise<void> => {
      const attempt = await ledger.begin(keyOf('same'), [ANNA], NEVER)
      most.push(++atWork)
      await attempt.record(new Map([[ANNA, relayed()]]))
      atWork--
      attempt.end()
    }
    await Promise.all(Array.from({ length: 10 }, (_, index) => work(index % 2 === 0 ? one : other)))
    expect(most).toEqual(Array(10).fill(1))
  })
})

describeWith({ describe, beforeAll }, 'redis-server')('Sentinel', () => {
  test('leads to the new master when the old one is gone', async () => {
    const group = kit.own(await startSentinel())
    const one = await instance({
      place: { kind: 'sentinel', sentinels: [{ host: '127.0.0.1', port: group.port }], name: group.name },
      timeoutMs: 2000,
    })
    await until(async () => (await askAll(one, 1)) === WELL)
    await tellRedis(group.master.port, 'WAIT 1 10000', ':1')
    process.kill(group.master.pid, 'SIGKILL')
    await until(() => !one.link.available)
    await until(async () => (await askAll(one, 2)) === WELL)
    expect((await one.cache.read(['ecluse:v1:clamav:1.4:0:1']))[0]).toEqual(CLEAN)
    expect(await recall(one.ledger, keyOf(1), [ANNA])).toEqual({ [ANNA]: relayed('B1') })
  })
})

describeWith({ describe, beforeAll }, 'redis-server')('a Cluster', () => {
  let cluster: RedisClusterService
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterAll(async () => {
    await cluster.close()
  })

  const place = (): Pick<RedisOptions, 'place'> => ({
    place: {
      kind: 'cluster',
      nodes: cluster.nodes.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port })),
    },
  })

  test('keeps what belongs to many messages on all of its nodes', async () => {
    const one = await instance(place())
    for (let number = 0; number < 30; number++) expect(await askAll(one, number)).toBe(WELL)
    const keys = ['clamav', 'rspamd', 'spamd'].map((scanner) => `ecluse:v1:${scanner}:1:0:abc`)
    for (const key of keys) one.cache.write(key, Buffer.from(key), 60_000)
    expect((await one.cache.read(keys)).map(String)).toEqual(keys)
    expect(one.link.nodes).toBe(3)
    const counts = await countVerdicts(one.link, 'test', {})
    expect(counts.map(({ entries }) => entries)).toEqual([1, 30, 1, 1])
    expect(await purgeVerdicts(one.link, 'test', {})).toBe(33)
  })

  test('is followed when a slot moves to another node', async () => {
    const one = await instance(place())
    const known = keyOf('moved')
    await remember(one.ledger, known, { [ANNA]: relayed('B1') })
    const answer = await tellRedis(cluster.nodes[0]?.port ?? 0, `CLUSTER KEYSLOT {${known}}`, ':')
    const slot = Number(/:(\d+)/.exec(answer)?.[1])
    const from = Math.floor((slot * 3) / 16_384)
    await cluster.moveSlot(slot, from, (from + 1) % 3)
    expect(await recall(one.ledger, known, [ANNA])).toEqual({ [ANNA]: relayed('B1') })
    await remember(one.ledger, known, { '1 bob@example.org': relayed('B2') })
    expect(Object.keys(await recall(one.ledger, known))).toHaveLength(2)
    expect(one.changes).toEqual([{ state: 'up' }])
  })
})
