import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Shares } from './shares.ts'

/** Takes as many as it may, at the instant `now`. */
function fill(shares: Shares, name: string, now: number): number {
  let count = 0
  for (; shares.mayTake(name, now); count++) shares.take(name, now)
  return count
}

describe('places', () => {
  test('go all to one that is alone', () => {
    expect(fill(new Shares(() => 10), 'a', 0)).toBe(10)
  })

  test('are kept for another one that wanted some', () => {
    const shares = new Shares(() => 8)
    shares.mayTake('b', 0)
    expect(fill(shares, 'a', 0)).toBe(6)
    expect(fill(shares, 'b', 0)).toBe(2)
  })

  test('go to who was refused before they go back to who had them all', () => {
    const shares = new Shares(() => 8)
    fill(shares, 'a', 0)
    expect(shares.mayTake('b', 1)).toBe(false)
    shares.release('a')
    expect(shares.mayTake('a', 2)).toBe(false)
    expect(fill(shares, 'b', 2)).toBe(1)
  })

  test('are no longer kept for one that has not asked for a minute', () => {
    const shares = new Shares(() => 8)
    shares.mayTake('b', 0)
    expect(fill(shares, 'a', 59_999)).toBe(6)
    expect(fill(shares, 'a', 60_000)).toBe(2)
  })

  test('are as many as the limit says now', () => {
    let limit = 2
    const shares = new Shares(() => limit)
    fill(shares, 'a', 0)
    limit = 3
    expect(fill(shares, 'a', 0)).toBe(1)
    limit = 1
    shares.release('a')
    expect(shares.mayTake('a', 0)).toBe(false)
  })

  test('cannot be given back twice', () => {
    const shares = new Shares(() => 1)
    shares.take('a', 0)
    shares.release('a')
    expect(() => shares.release('a')).toThrow(TypeError)
  })

  test('are given to ten thousand names without remembering them all', () => {
    const shares = new Shares(() => 5)
    for (let i = 0; i < 10_000; i++) shares.mayTake(`name${i}`, 0)
    expect(fill(shares, 'a', 0)).toBe(5)
  })
})

test('never more than the limit, and no name under its part is refused while a place is free', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), give: fc.boolean() })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 300 }), (limit, steps) => {
      const shares = new Shares(() => limit)
      const part = Math.floor(limit / 8)
      const wrong: unknown[] = []
      for (const [now, { name, give }] of steps.entries()) {
        if (give && shares.takenBy(name) > 0) {
          shares.release(name)
          continue
        }
        const may = shares.mayTake(name, now)
        if (!may && shares.takenBy(name) < part && shares.taken < limit) wrong.push({ name, now })
        if (may) shares.take(name, now)
        const sum = ['a', 'b', 'c', 'd'].reduce((total, each) => total + shares.takenBy(each), 0)
        if (shares.taken > limit || shares.taken !== sum) wrong.push({ taken: shares.taken, sum, now })
      }
      expect(wrong).toEqual([])
    }),
  )
})
