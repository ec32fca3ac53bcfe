import { expect, test } from '@jest/globals'
import { fitsFacets, fitsText } from './filter.ts'
import type { QuarantineItem } from './record.ts'
import type { QuarantineFilter } from './store.ts'

const AT = new Date('2026-11-24T08:00:00Z')
const item = (overrides: Partial<QuarantineItem> = {}): QuarantineItem => ({
  id: 'Abc-123_xyZ9',
  category: 'spam',
  storedAt: AT,
  mailFrom: 'Mallory@News.Example.net',
  recipients: [
    { address: 'Anna@example.org', state: 'released' },
    { address: 'bob@sub.example.org', state: 'kept' },
    { address: 'passed@example.com' },
  ],
  subject: 'Big FÊTE',
  sizeBytes: 1,
  score: 12.5,
  reasons: [],
  ...overrides,
})

const fits = (filter: QuarantineFilter, of = item()): boolean =>
  fitsFacets({ ...of, storedAtMs: of.storedAt.getTime() }, filter) && fitsText(of, filter)

test.each<[QuarantineFilter, boolean]>([
  [{}, true],
  [{ categories: ['virus', 'spam'] }, true],
  [{ categories: ['virus'] }, false],
  [{ categories: [] }, false],
  [{ storedBefore: AT }, false],
  [{ storedBefore: new Date(AT.getTime() + 1) }, true],
  [{ storedSince: AT }, true],
  [{ storedSince: new Date(AT.getTime() + 1) }, false],
  [{ minScore: 12.5, maxScore: 12.5 }, true],
  [{ minScore: 12.6 }, false],
  [{ maxScore: 12.4 }, false],
  [{ recipient: 'anna@EXAMPLE.org' }, true],
  [{ recipient: 'nna@example.org' }, false],
  [{ recipient: 'example.org' }, true],
  [{ recipient: '@example.org' }, true],
  [{ recipient: 'xample.org' }, false],
  [{ recipient: '.org' }, true],
  [{ recipient: 'org' }, false],
  [{ sender: 'mallory@news.example.net' }, true],
  [{ sender: '.example.net' }, true],
  [{ sender: 'example.net' }, false],
  [{ sender: '' }, false],
  [{ subject: 'fête' }, true],
  [{ subject: 'fete' }, false],
  [{ states: ['kept'] }, true],
  [{ states: ['deleted'] }, false],
  [{ states: [] }, false],
  [{ recipient: 'anna@example.org', states: ['kept'] }, false],
  [{ recipient: 'passed@example.com', states: ['kept', 'released', 'deleted'] }, false],
  [{ recipient: 'example.org', sender: 'example.org' }, false],
])('%j', (filter, expected) => {
  expect(fits(filter)).toBe(expected)
})

test('finds no score and no subject where there is none, and the null sender', () => {
  const { score: _, subject: __, ...rest } = item()
  const bare = { ...rest, mailFrom: '' }
  expect(fits({ minScore: -999 }, bare)).toBe(false)
  expect(fits({ maxScore: 999 }, bare)).toBe(false)
  expect(fits({ subject: 'x' }, bare)).toBe(false)
  expect(fits({ sender: '' }, bare)).toBe(true)
  expect(fits({ sender: '<>' }, bare)).toBe(true)
})
