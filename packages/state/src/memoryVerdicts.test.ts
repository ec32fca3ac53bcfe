import { expect, test } from '@jest/globals'
import { CLEAN } from '@ecluse/core'
import { MemoryVerdicts } from './memoryVerdicts.ts'
import type { RememberedVerdict } from './verdictValue.ts'

const until = (expiresAt: number): RememberedVerdict => ({ verdict: CLEAN, expiresAt })
const LIMITS = { maxEntries: 3, maxBytes: 1_000_000 }

test('forgets what was used longest ago', () => {
  const memory = new MemoryVerdicts(LIMITS)
  for (const key of ['a', 'b', 'c']) memory.set(key, until(100), 10)
  memory.get('a', 0)
  memory.set('d', until(100), 10)
  expect(['a', 'b', 'c', 'd'].map((key) => memory.get(key, 0) !== undefined)).toEqual([
    true,
    false,
    true,
    true,
  ])
  expect(memory.size).toBe(3)
})

test('forgets when the time is over', () => {
  const memory = new MemoryVerdicts(LIMITS)
  memory.set('a', until(100), 10)
  expect(memory.get('a', 99)).toEqual(until(100))
  expect(memory.get('a', 100)).toBeUndefined()
  expect(memory.size).toBe(0)
})

test('takes no more bytes than it may', () => {
  const memory = new MemoryVerdicts({ maxEntries: 1000, maxBytes: 5000 })
  for (let index = 0; index < 100; index++) {
    memory.set(`key ${index}`, until(100), 600)
    expect(memory.bytes).toBeLessThanOrEqual(5000)
  }
  expect(memory.size).toBe(4)
  memory.set('huge', until(100), 6000)
  expect(memory.get('huge', 0)).toBeUndefined()
})

test('keeps the newest when it gets smaller, all when it grows, and nothing when it is off', () => {
  const memory = new MemoryVerdicts(LIMITS)
  for (const key of ['a', 'b', 'c']) memory.set(key, until(100), 10)
  memory.resize({ ...LIMITS, maxEntries: 2 })
  expect(['a', 'b', 'c'].map((key) => memory.get(key, 0) !== undefined)).toEqual([false, true, true])
  memory.resize({ ...LIMITS, maxEntries: 10 })
  expect(memory.size).toBe(2)
  memory.resize({ ...LIMITS, maxEntries: 0 })
  memory.set('d', until(100), 10)
  expect([memory.size, memory.get('d', 0)]).toEqual([0, undefined])
})
