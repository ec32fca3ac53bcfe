import { afterEach, expect, test } from '@jest/globals'
import { bulk, REDIS_FAULTS } from '@ecluse/fixtures'
import { at, RedisKit, until } from '../test/redis.ts'
import { ANNA, BOB, keyOf, NEVER, relayed } from '../test/sample.ts'
import type { Ledger } from './ledger.ts'
import { createRedisLedger } from './redisLedger.ts'
import type { RedisLink } from './redisLink.ts'

const KEY = keyOf('message')
const kit = new RedisKit()

afterEach(async () => {
  await kit.closeAll()
})

async function ledgerOn(link: RedisLink): Promise<Ledger> {
  const ledger = createRedisLedger(link, { prefix: 'test', ttlMs: 3_600_000, attemptMs: () => 300_000 })
  await ledger.prepare()
  return ledger
}

test.each(REDIS_FAULTS.map((fault) => [fault]))(
  'a Redis that answers with "%s" knows nothing, and nothing fails for it',
  async (fault) => {
    const fake = await kit.fake()
    const { link } = await kit.connected({ ...at(fake.port), timeoutMs: 300 }, { retryAfterMs: 1 })
    const ledger = await ledgerOn(link)
    fake.misbehave(fault)
    for (let times = 0; times < 4; times++) {
      const attempt = await ledger.begin(KEY, [ANNA, BOB], NEVER)
      expect([attempt.done.size, attempt.reservedId([ANNA])]).toEqual([0, undefined])
      await attempt.reserve('id', [ANNA])
      await attempt.record(new Map([[BOB, relayed()]]))
      attempt.end()
    }
    await ledger.close()
  },
)

test('does not begin to wait for Redis where it was never there', async () => {
  const fake = await kit.fake()
  await fake.close()
  const { link } = kit.link(fake.port)
  const ledger = await ledgerOn(link)
  const attempt = await ledger.begin(KEY, [ANNA], NEVER)
  await attempt.record(new Map([[ANNA, relayed()]]))
  attempt.end()
  expect(fake.commands).toEqual([])
})

test('believes no answer that echoes the number of another question, and makes another connection', async () => {
  // As if another instance had the message.
  const other = `*4\r\n${bulk('0123456789abcdef').toString()}:60000\r\n$-1\r\n$-1\r\n`
  const fake = await kit.fake(([name]) => (String(name) === 'EVAL' ? other : undefined))
  const { link } = await kit.connected(fake.port)
  const ledger = await ledgerOn(link)
  const attempt = await ledger.begin(KEY, [ANNA], NEVER)
  expect([attempt.joined, attempt.done.size]).toEqual([false, 0])
  await until(() => fake.accepted > 1)
  attempt.end()
})
