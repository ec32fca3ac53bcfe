import { expect, test } from '@jest/globals'
import { putBack, takeApart } from './pieces.ts'

const long = (count: number, of: (index: number) => unknown = (index) => index): unknown[] =>
  Array.from({ length: count }, (_, index) => of(index))

test.each<[string, unknown, number]>([
  ['nothing long', { a: [1, 2, { b: 'x' }], c: null }, 0],
  ['a list at the limit', { a: long(2000) }, 0],
  ['a long list', { a: { b: long(2001) }, c: 1 }, 2],
  ['a list of lists', { policies: long(3, () => ({ when: { senders: long(4500) } })) }, 9],
  [
    'long lists in a long list',
    { a: long(2001, (index) => (index % 2000 === 0 ? { b: long(2001) } : {})) },
    6,
  ],
])('%s comes together again', (_what, value, count) => {
  const { rest, pieces } = structuredClone(takeApart(value))
  expect(pieces).toHaveLength(count)
  for (const { items } of pieces) expect(items.length).toBeLessThanOrEqual(2000)
  for (const piece of pieces) putBack(rest, piece)
  expect(rest).toEqual(value)
})

test('a piece of a list that is not there is refused', () => {
  expect(() => putBack({ a: 1 }, { path: ['a'], items: [] })).toThrow('no list at a')
})
