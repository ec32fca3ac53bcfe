import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { compileAddressIndex, compileAddressList, patternPool, type ListEntry } from './index.ts'

const entries = (texts: readonly string[]): ListEntry[] =>
  texts.map((text, index) => ({ text, place: { path: `to[${index}]` } }))

test('gives the numbers of the lists that an address is in, ascending', () => {
  const index = compileAddressIndex(
    [['.'], ['user@example.com'], ['.com', '!example.com'], ['/user/'], [], ['user@']].map(entries),
  )
  expect(index.match('user@example.com')).toEqual([0, 1, 3, 5])
  expect(index.match('other@sub.example.com')).toEqual([0, 2])
  expect(index.match('')).toEqual([0])
})

test('no lists hold nobody', () => {
  expect(compileAddressIndex([]).match('a@example.com')).toEqual([])
})

test('an answer does not depend on the questions before it', () => {
  const index = compileAddressIndex([['a@example.com', '!.'], ['.']].map(entries))
  const asked = ['a@example.com', 'b@example.com', 'a@example.com']
  expect(asked.map((address) => index.match(address))).toEqual([[0, 1], [1], [0, 1]])
})

test('many lists with the same regular expression count it once', () => {
  const lists = Array.from({ length: 1000 }, () => entries(['/^(bounce|noreply|newsletter)[-+.@]/']))
  expect(compileAddressIndex(lists).match('noreply@example.com')).toHaveLength(1000)
})

test('the regular expressions of several compilations are bounded together in one pool', () => {
  const patterns = patternPool()
  const list = (from: number) => entries(Array.from({ length: 10 }, (_, i) => `/[a-z]{90}${from + i}/`))
  compileAddressIndex([list(0)], { patterns })
  compileAddressList(list(0), { patterns })
  expect(() => compileAddressList([...list(10), ...list(20)], { patterns })).toThrow('steps in all')
})

const user = fc.constantFrom('a', 'b', 'a+x', 'B')
const domain = fc.constantFrom('x.example', 'y.x.example', 'z.org', 'Y.X.Example')
const address = fc.oneof(
  fc.constantFrom('', 'a', 'a+x', '@', 'x.example'),
  fc.tuple(user, domain).map((parts) => parts.join('@')),
)
const text = fc.oneof(
  fc.constantFrom('<>', '.', '.example', '/a/', '/^b@/i', '/x\\.ex/', '/^$/'),
  domain,
  domain.map((name) => `.${name}`),
  user.map((name) => `${name}@`),
  fc.tuple(user, domain).map((parts) => parts.join('@')),
)
const list = fc.array(
  fc.tuple(fc.boolean(), text).map(([negated, entry]) => `${negated ? '!' : ''}${entry}`),
  { maxLength: 8 },
)

test('answers as each of the lists does', () => {
  fc.assert(
    fc.property(fc.array(list, { maxLength: 8 }), fc.array(address), (lists, addresses) => {
      const options = { delimiter: '+' }
      const index = compileAddressIndex(lists.map(entries), options)
      const single = lists.map((each) => compileAddressList(entries(each), options))
      for (const asked of addresses) {
        const expected = single.flatMap((each, number) =>
          each.match(asked)?.negated === false ? [number] : [],
        )
        expect(index.match(asked)).toEqual(expected)
      }
    }),
    { numRuns: 500 },
  )
})

const MANY = 200

test('among some lists it answers as among all, for those', () => {
  const chosen = fc.uniqueArray(fc.nat({ max: MANY - 1 }), { maxLength: MANY, size: 'max' })
  fc.assert(
    fc.property(fc.array(list, { minLength: 1, maxLength: 4 }), chosen, address, (kinds, numbers, asked) => {
      const lists = Array.from({ length: MANY }, (_, number) => entries(kinds[number % kinds.length] ?? []))
      const index = compileAddressIndex(lists, { delimiter: '+' })
      const among = new Set(numbers.toSorted((a, b) => a - b))
      const expected = index.find(asked).filter((hit) => among.has(hit.list))
      expect(index.find(asked, among)).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

test('an answer has the entry and the key that decided', () => {
  const index = compileAddressIndex([['.example.com', '/^A@/i'], ['.'], ['/^a@/']].map(entries))
  expect(index.find('a@sub.example.com')).toEqual([
    { list: 0, key: '.example.com', entry: { text: '.example.com', place: { path: 'to[0]' } } },
    { list: 1, key: '.', entry: { text: '.', place: { path: 'to[0]' } } },
    { list: 2, key: '/^a@/', entry: { text: '/^a@/', place: { path: 'to[0]' } } },
  ])
})
