import { expect, test } from '@jest/globals'
import { seeded } from '../test/random.ts'
import { firstOf } from './firstOf.ts'

const compare = (a: number, b: number): number => a - b

test('gives the first of all, in order, as sorting all of them would', () => {
  const random = seeded(7)
  for (let run = 0; run < 100; run++) {
    const values = Array.from({ length: random(3000) }, () => random(1000))
    const count = random(50)
    const first = firstOf(compare, count)
    for (const value of values) if (first.wants(value)) first.add(value)
    expect(first.take()).toEqual([...values].sort(compare).slice(0, count))
  }
})

test('gives all where no count is given', () => {
  const first = firstOf(compare)
  for (let value = 5000; value > 0; value--) if (first.wants(value)) first.add(value)
  expect(first.take()).toHaveLength(5000)
})

test('does not hold more than twice of what is wanted, and some', () => {
  const first = firstOf(compare, 10)
  let wanted = 0
  for (let value = 1; value <= 100_000; value++) {
    if (!first.wants(value)) continue
    wanted++
    first.add(value)
  }
  expect(wanted).toBeLessThan(2000)
})
