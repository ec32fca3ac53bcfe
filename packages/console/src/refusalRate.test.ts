import { expect, test } from '@jest/globals'
import { RefusalRate } from './refusalRate.ts'

test('tells those of a minute one by one, and of the others how many there were', () => {
  const rate = new RefusalRate(2)
  const now = 1_000_000
  expect([0, 1, 2, 59_999].map((later) => rate.refuse(now + later))).toEqual([
    { within: true, left: 0 },
    { within: true, left: 0 },
    { within: false, left: 0 },
    { within: false, left: 0 },
  ])
  expect(rate.refuse(now + 60_000)).toEqual({ within: true, left: 2 })
  expect(rate.refuse(now + 60_001)).toEqual({ within: true, left: 0 })
  expect(rate.refuse(now + 500_000)).toEqual({ within: true, left: 0 })
})
