import { expect, test } from '@jest/globals'
import { CLEAN, type Verdict } from '@ecluse/core'
import { MemoryVerdicts } from './memoryVerdicts.ts'
import type { RememberedVerdict } from './verdictValue.ts'

/** With so many symbols, some 15 bytes each as text. */
const scored = (count: number): Verdict => {
  const symbols = Array.from({ length: count }, (_, i) => ({ name: `SYMBOL_${i}`, score: i / 4 }))
  return { findings: [{ kind: 'score', points: 1, required: 5, symbols }] }
}
const until = (expiresAt: number): RememberedVerdict => ({ verdict: CLEAN, expiresAt })
const LIMITS = { maxEntries: 3, maxBytes: 1_000_000 }

test('forgets what was used longest ago', () => {
  const memory = new MemoryVerdicts(LIMITS)
  for (const key of ['a', 'b', 'c']) memory.set(key, until(100))
  memory.get('a', 0)
  memory.set('d', until(100))
  expect(['a', 'b', 'c', 'd'].map((key) => memory.get(key, 0) !== undefined)).toEqual([
    true,
    false,
    true,
    true,
  ])
  expect(memory.size).toBe(3)
})

test('gives back what it was given', () => {
  const memory = new MemoryVerdicts(LIMITS)
  const all: RememberedVerdict[] = [
    until(100),
    { verdict: scored(100), expiresAt: 100 },
    {
      verdict: { findings: [{ kind: 'virus', name: 'Win.Test.EICAR_HDB-1' }] },
      expiresAt: 100,
      trace: '0f'.repeat(32),
    },
  ]
  for (const [index, remembered] of all.entries()) memory.set(`key ${index}`, remembered)
  expect(all.map((_, index) => memory.get(`key ${index}`, 0))).toEqual(all)
})

test('forgets when the time is over', () => {
  const memory = new MemoryVerdicts(LIMITS)
  memory.set('a', until(100))
  expect(memory.get('a', 99)).toEqual(until(100))
  expect(memory.get('a', 100)).toBeUndefined()
  expect(memory.size).toBe(0)
})

test('takes no more bytes than it may', () => {
  const memory = new MemoryVerdicts({ maxEntries: 1000, maxBytes: 3000 })
  for (let index = 0; index < 100; index++) {
    memory.set(`key ${index}`, { verdict: scored(40), expiresAt: 100 })
    expect(memory.bytes).toBeLessThanOrEqual(3000)
  }
  expect(memory.size).toBe(3)
  memory.set('huge', { verdict: scored(200), expiresAt: 100 })
  expect(memory.get('huge', 0)).toBeUndefined()
})

test('keeps the newest when it gets smaller, all when it grows, and nothing when it is off', () => {
  const memory = new MemoryVerdicts(LIMITS)
  for (const key of ['a', 'b', 'c']) memory.set(key, until(100))
  memory.resize({ ...LIMITS, maxEntries: 2 })
  expect(['a', 'b', 'c'].map((key) => memory.get(key, 0) !== undefined)).toEqual([false, true, true])
  memory.resize({ ...LIMITS, maxEntries: 10 })
  expect(memory.size).toBe(2)
  memory.resize({ ...LIMITS, maxEntries: 0 })
  memory.set('d', until(100))
  expect([memory.size, memory.get('d', 0)]).toEqual([0, undefined])
})
