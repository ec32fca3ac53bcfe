import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { describeWith, startRedis, tellRedis, type RedisService } from '@ecluse/fixtures'
import { ledgerSuite, type LedgerSource } from '../test/ledgerSuite.ts'
import { at, RedisKit } from '../test/redis.ts'
import {
  ANNA,
  BOB,
  keyOf,
  LedgerKit,
  NEVER,
  recall,
  relayed,
  remember,
  START,
  TTL_MS,
} from '../test/sample.ts'
import type { Ledger } from './ledger.ts'
import { createRedisLedger, type RedisLedgerOptions } from './redisLedger.ts'
import type { RedisLink } from './redisLink.ts'
import { createSharedLedger } from './sharedLedger.ts'

const KEY = keyOf('message')
const ATTEMPT_MS = 600_000
let redis: RedisService

describeWith({ describe, beforeAll }, 'redis-server')('with a real Redis', () => {
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(async () => {
    await redis.close()
  })

  const kit = new RedisKit()

  /** An instance: its own connection, and a clock that all share. */
  class Instances implements LedgerSource {
    now = START
    readonly files = new LedgerKit()
    readonly #own: (ledger: Ledger) => Promise<Ledger>
    #open: Ledger[] = []

    /** @param own what stands before Redis; absent: nothing */
    constructor(own: (ledger: Ledger, files: LedgerKit) => Promise<Ledger> = async (ledger) => ledger) {
      this.#own = (ledger) => own(ledger, this.files)
    }

    async setUp(): Promise<void> {
      this.now = START
      await tellRedis(redis.port, 'FLUSHALL')
      await this.files.setUp()
    }

    async start(options: Partial<RedisLedgerOptions> = {}, link?: RedisLink): Promise<Ledger> {
      const connected = link ?? (await kit.connected(at(redis.port))).link
      const ledger = createRedisLedger(connected, {
        prefix: 'test',
        secret: 'secret',
        ttlMs: TTL_MS,
        attemptMs: () => ATTEMPT_MS,
        now: () => this.now,
        ...options,
      })
      const whole = await this.#own(ledger)
      await whole.prepare()
      this.#open.push(whole)
      return whole
    }

    async restart(): Promise<Ledger> {
      await this.#closeLedgers()
      return await this.start()
    }

    async tearDown(): Promise<void> {
      await this.#closeLedgers()
      await kit.closeAll()
      await this.files.tearDown()
    }

    async #closeLedgers(): Promise<void> {
      for (const ledger of this.#open.splice(0)) await ledger.close()
    }
  }

  describe('alone, as every ledger', () => {
    ledgerSuite(new Instances())
  })

  describe('beside files, as every ledger', () => {
    const shared: Instances = new Instances(async (ledger, files) =>
      createSharedLedger(files.create({ now: () => shared.now }), ledger),
    )
    ledgerSuite(shared)
  })

  describe('two instances, each with files of its own', () => {
    const instances: Instances = new Instances(async (ledger, files) =>
      createSharedLedger(files.create({ directory: `${files.directory}-${folder++}` }), ledger),
    )
    let folder = 0

    beforeEach(async () => await instances.setUp())
    afterEach(async () => await instances.tearDown())

    test('know what either has done, and what the own files say where Redis has lost it', async () => {
      const [first, second] = [await instances.start(), await instances.start()]
      await remember(first, KEY, { [ANNA]: relayed('B1') })
      await remember(second, KEY, { [BOB]: relayed('B2') })
      const both = { [ANNA]: relayed('B1'), [BOB]: relayed('B2') }
      expect([await recall(first, KEY), await recall(second, KEY)]).toEqual([both, both])
      await tellRedis(redis.port, 'FLUSHALL')
      expect(await recall(first, KEY)).toEqual({ [ANNA]: relayed('B1') })
      expect(await recall(second, KEY)).toEqual({ [BOB]: relayed('B2') })
    })

    test('share the id under which something is kept', async () => {
      const [first, second] = [await instances.start(), await instances.start()]
      const attempt = await first.begin(KEY, [ANNA], NEVER)
      await attempt.reserve('id', [ANNA])
      attempt.end()
      const retry = await second.begin(KEY, [ANNA, BOB], NEVER)
      expect([retry.reservedId([ANNA]), retry.reservedId([ANNA, BOB])]).toEqual(['id', undefined])
      retry.end()
    })
  })

  describe('two instances', () => {
    const instances = new Instances()
    let first: Ledger
    let second: Ledger

    beforeEach(async () => {
      await instances.setUp()
      first = await instances.start()
      second = await instances.start()
    })
    afterEach(async () => {
      await instances.tearDown()
    })

    test('know what the other has done', async () => {
      await remember(first, KEY, { [ANNA]: relayed('B1') })
      expect(await recall(second, KEY)).toEqual({ [ANNA]: relayed('B1') })
      expect(await recall(second, keyOf('other'))).toEqual({})
    })

    test('wait for each other where they work for the same recipient, and see what was done', async () => {
      const attempt = await first.begin(KEY, [ANNA, BOB], NEVER)
      const apart = await second.begin(KEY, ['1 carl@example.org'], NEVER)
      const waits = second.begin(KEY, [BOB], NEVER)
      await attempt.record(new Map([[BOB, relayed('B1')]]))
      attempt.end()
      const joined = await waits
      expect([apart.joined, joined.joined, joined.done]).toEqual([
        false,
        true,
        new Map([[BOB, relayed('B1')]]),
      ])
      joined.end()
      apart.end()
    })

    test('one gives up a message that the other does not come to an end with', async () => {
      const impatient = await instances.start({ joinMs: 50 })
      const attempt = await first.begin(KEY, [ANNA], NEVER)
      await expect(impatient.begin(KEY, [ANNA, BOB], NEVER)).rejects.toMatchObject({ code: 'E_LEDGER' })
      // All or none: Bob was not taken.
      ;(await second.begin(KEY, [BOB], NEVER)).end()
      attempt.end()
      expect((await impatient.begin(KEY, [ANNA, BOB], NEVER)).done.size).toBe(0)
    })

    test('one waits no longer than its own signal', async () => {
      const attempt = await first.begin(KEY, [ANNA], NEVER)
      const controller = new AbortController()
      const waits = second.begin(KEY, [ANNA], controller.signal)
      controller.abort(new Error('deadline'))
      await expect(waits).rejects.toMatchObject({ code: 'E_ABORTED' })
      attempt.end()
    })

    test('what one had when it was killed is free when its attempt would have ended', async () => {
      const dying = (await kit.connected(at(redis.port))).link
      const killed = await instances.start({ attemptMs: () => 300 }, dying)
      await killed.begin(KEY, [ANNA], NEVER)
      dying.close()
      const attempt = await second.begin(KEY, [ANNA], NEVER)
      expect([attempt.joined, attempt.done.size]).toEqual([true, 0])
      attempt.end()
    })

    test('leave nothing behind that does not end by itself', async () => {
      await remember(first, KEY, { [ANNA]: relayed() })
      await first.begin(keyOf('other'), [ANNA], NEVER)
      for (const key of [`test:ledger:{${KEY}}`, `test:ledger:{${keyOf('other')}}:turns`]) {
        expect(await tellRedis(redis.port, `PTTL ${key}`, ':')).toMatch(/^:\d+/)
      }
      await tellRedis(redis.port, 'DBSIZE', ':2')
    })

    test('believe nothing that was forged, or stored for another message', async () => {
      await remember(first, KEY, { [ANNA]: relayed() })
      const stranger = await instances.start({ secret: 'another secret' })
      expect(await recall(stranger, KEY)).toEqual({})
      await tellRedis(redis.port, `RENAME test:ledger:{${KEY}} test:ledger:{${keyOf('other')}}`)
      expect(await recall(second, keyOf('other'))).toEqual({})
    })

    test('forget when the time is over, not before', async () => {
      await remember(first, KEY, { [ANNA]: relayed() })
      instances.now += TTL_MS - 1
      expect(await recall(second, KEY)).toEqual({ [ANNA]: relayed() })
      instances.now += 1
      expect(await recall(second, KEY)).toEqual({})
    })

    test('take 3,000 recipients of one message, in several questions', async () => {
      const results = Object.fromEntries(
        Array.from({ length: 3000 }, (_, index) => [`1 ${index}@example.org`, relayed(`B${index}`)]),
      )
      await remember(first, KEY, results)
      expect(await recall(second, KEY, Object.keys(results))).toEqual(results)
    })
  })
})
