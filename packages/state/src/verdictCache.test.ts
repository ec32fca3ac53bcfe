import { describe, expect, test } from '@jest/globals'
import { CLEAN, type Verdict } from '@ecluse/core'
import { memoryShared } from '../test/sharedCache.ts'
import type { SharedValue } from './sharedCache.ts'
import { VerdictCache, type VerdictCacheOptions } from './verdictCache.ts'
import type { VerdictPlace } from './verdictKey.ts'

const HOUR_MS = 3_600_000
const LIMITS = {
  maxEntries: 100,
  maxBytes: 1_000_000,
  cleanTtlMs: 6 * HOUR_MS,
  infectedTtlMs: 24 * HOUR_MS,
  spamTtlMs: HOUR_MS / 6,
}
const INFECTED: Verdict = { findings: [{ kind: 'virus', name: 'X' }] }
const SCORED: Verdict = { findings: [{ kind: 'score', points: 3, symbols: [] }] }
const PROVED: Verdict = { findings: [{ kind: 'authenticated', method: 'spf', identity: 'mail-from' }] }

const placeOf = (key: string, trace = 'ab'.repeat(32)): VerdictPlace => ({ key, trace: () => trace })
const ELSEWHERE = 'cd'.repeat(32)

function open(changes: Partial<VerdictCacheOptions> = {}) {
  const clock = { now: Date.UTC(2026, 10, 24) }
  const cache = new VerdictCache({ limits: LIMITS, now: () => clock.now, ...changes })
  return { cache, clock }
}

describe('in memory', () => {
  test.each<[string, Verdict, 'virus' | 'spam', number]>([
    ['clean', CLEAN, 'virus', LIMITS.cleanTtlMs],
    ['a virus', INFECTED, 'virus', LIMITS.infectedTtlMs],
    ['a score', SCORED, 'spam', LIMITS.spamTtlMs],
    ['nothing, from who looks for spam', CLEAN, 'spam', LIMITS.spamTtlMs],
    ['a virus, from who looks for spam too', INFECTED, 'spam', LIMITS.spamTtlMs],
  ])('%s is remembered for its time', (_, verdict, ttl, ttlMs) => {
    const { cache, clock } = open()
    cache.remember(placeOf('a'), verdict, ttl)
    clock.now += ttlMs - 1
    expect(cache.recall(placeOf('a'))).toEqual(verdict)
    expect(cache.recall(placeOf('b'))).toBeUndefined()
    clock.now += 1
    expect(cache.recall(placeOf('a'))).toBeUndefined()
  })

  test('an incomplete verdict is not', () => {
    const { cache } = open()
    cache.remember(placeOf('a'), { findings: [{ kind: 'unchecked', reason: 'encrypted' }] }, 'virus')
    cache.remember(
      placeOf('b'),
      { findings: [...INFECTED.findings, { kind: 'unchecked', reason: 'limits exceeded' }] },
      'virus',
    )
    expect([cache.recall(placeOf('a')), cache.recall(placeOf('b'))]).toEqual([undefined, undefined])
  })

  test.each([
    ['clean', CLEAN, true],
    ['a score', SCORED, true],
    ['a virus', INFECTED, false],
    ['a proof of the sender', PROVED, false],
  ])('%s holds for a copy that came by another way: %#', (_, verdict, holds) => {
    const { cache } = open()
    cache.remember(placeOf('a'), verdict, 'virus')
    expect(cache.recall(placeOf('a', ELSEWHERE)) !== undefined).toBe(holds)
    expect(cache.recall(placeOf('a'))).toEqual(verdict)
  })

  test('nothing is remembered when it is off, until it is on', () => {
    const { cache } = open({ limits: { ...LIMITS, maxEntries: 0 } })
    cache.remember(placeOf('a'), CLEAN, 'virus')
    expect([cache.isOn, cache.entries, cache.recall(placeOf('a'))]).toEqual([false, 0, undefined])
    cache.limit(LIMITS)
    cache.remember(placeOf('a'), CLEAN, 'virus')
    expect([cache.isOn, cache.entries, cache.recall(placeOf('a'))]).toEqual([true, 1, CLEAN])
  })
})

describe('shared', () => {
  const two = () => {
    const shared = memoryShared()
    return { shared, one: open({ shared }), other: open({ shared }) }
  }

  test('another instance finds it, and remembers it for the time that is left', async () => {
    const { one, other, shared } = two()
    one.cache.remember(placeOf('a'), INFECTED, 'virus')
    expect(shared.ttlOf('a')).toBe(LIMITS.infectedTtlMs)
    other.clock.now += HOUR_MS
    expect(await other.cache.fetch([placeOf('b'), placeOf('a')])).toEqual([undefined, INFECTED])
    expect(shared.reads).toBe(1)
    other.clock.now += 23 * HOUR_MS - 1
    expect(other.cache.recall(placeOf('a'))).toEqual(INFECTED)
    other.clock.now += 1
    expect(other.cache.recall(placeOf('a'))).toBeUndefined()
    expect(await other.cache.fetch([placeOf('a')])).toEqual([undefined])
  })

  test('a virus in a copy that came by another way is not there', async () => {
    const { one, other } = two()
    one.cache.remember(placeOf('a'), INFECTED, 'virus')
    expect(await other.cache.fetch([placeOf('a', ELSEWHERE)])).toEqual([undefined])
  })

  test.each<[string, SharedValue]>([
    ['says to be odd', 'odd'],
    ['has of something else', Buffer.from('clean')],
  ])('what the level %s is odd, and not remembered', async (_, value) => {
    const { cache } = open({ shared: { ...memoryShared(), available: true, read: async () => [value] } })
    expect(await cache.fetch([placeOf('a')])).toEqual(['odd'])
    expect(cache.recall(placeOf('a'))).toBeUndefined()
  })

  test('one that does not answer is not asked', async () => {
    const { one, shared } = two()
    shared.available = false
    one.cache.remember(placeOf('a'), CLEAN, 'virus')
    expect(await one.cache.fetch([placeOf('a')])).toEqual([undefined])
    expect([shared.reads, shared.size]).toEqual([0, 0])
  })
})
