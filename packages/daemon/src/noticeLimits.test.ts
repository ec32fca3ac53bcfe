import { expect, test } from '@jest/globals'
import { AdminRate } from './adminRate.ts'
import { NoticeBudget } from './noticeBudget.ts'

const HOUR_MS = 3_600_000

test('single mails up to the rate, the others held for one mail an hour later', () => {
  const rate = new AdminRate<number>(2, 2)
  expect([1, 2, 3, 4, 5].map((item) => rate.admit(item, item))).toEqual([true, true, false, false, false])
  expect(rate.dueAt).toBe(3 + HOUR_MS)
  // What comes meanwhile is held too, or the digest would tell old things behind new ones.
  expect(rate.admit(6, 2 + HOUR_MS)).toBe(false)
  expect(rate.flush()).toEqual({ shown: [3, 4], more: 2 })
  expect(rate.flush()).toBeUndefined()
  expect(rate.dueAt).toBeUndefined()
  expect(rate.admit(7, 3 + HOUR_MS)).toBe(true)
})

test('nothing is held below the rate', () => {
  const rate = new AdminRate<number>(1, 1)
  expect([0, 1, 2].map((hour) => rate.admit(hour, hour * (HOUR_MS + 1)))).toEqual([true, true, true])
  expect(rate.flush()).toBeUndefined()
})

test('the budget is for any 24 hours; what was not sent is given back', () => {
  let now = 0
  const budget = new NoticeBudget(2, () => now)
  expect([budget.take(), budget.take(), budget.take()]).toEqual([true, true, false])
  budget.giveBack()
  expect([budget.take(), budget.take()]).toEqual([true, false])
  now = 24 * HOUR_MS - 1
  expect(budget.take()).toBe(false)
  now++
  expect([budget.take(), budget.take(), budget.take()]).toEqual([true, true, false])
})

test('a budget of none allows nothing', () => {
  expect(new NoticeBudget(0, () => 0).take()).toBe(false)
})
