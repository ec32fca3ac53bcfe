import { expect, test } from '@jest/globals'
import { compareForExpiry, isOverdue, type Perishable } from './retention.ts'

const NOW = new Date('2026-11-24T08:00:00Z')
const message = (overrides: Partial<Perishable> = {}): Perishable => ({
  category: 'spam',
  storedAtMs: NOW.getTime() - 1000,
  fileBytes: 1,
  settled: false,
  ...overrides,
})

test.each<[string, Perishable, boolean]>([
  ['as old as it may be', message(), false],
  ['older', message({ storedAtMs: NOW.getTime() - 1001 }), true],
  ['of the future', message({ storedAtMs: NOW.getTime() + 1e9 }), false],
  ['of a category without a limit', message({ category: 'virus', storedAtMs: 0 }), false],
  ['released, and not old', message({ settled: true }), false],
])('a message that is %s', (_, perishable, expected) => {
  expect(isOverdue(perishable, { keepMs: { spam: 1000 } }, NOW)).toBe(expected)
})

test('what is overdue goes first, then what nobody waits for, then spam, then the rest, the oldest of each first', () => {
  const named = {
    overdueNew: { ...message({ storedAtMs: 90 }), overdue: true },
    overdueOld: { ...message({ storedAtMs: 80, category: 'virus' }), overdue: true },
    settled: { ...message({ storedAtMs: 70, category: 'virus', settled: true }), overdue: false },
    oldSpam: { ...message({ storedAtMs: 20 }), overdue: false },
    newSpam: { ...message({ storedAtMs: 60, category: 'spammy' }), overdue: false },
    oldVirus: { ...message({ storedAtMs: 1, category: 'virus' }), overdue: false },
    newBanned: { ...message({ storedAtMs: 2, category: 'banned' }), overdue: false },
  }
  const order = Object.entries(named).sort(([, a], [, b]) => compareForExpiry(a, b))
  expect(order.map(([name]) => name)).toEqual([
    'overdueOld',
    'overdueNew',
    'settled',
    'oldSpam',
    'newSpam',
    'oldVirus',
    'newBanned',
  ])
})
