import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { FilterError, GLOB_LENGTH, globPattern } from './index.ts'

test.each([
  ['Heuristics.*', 'Heuristics.Phishing.Email', true],
  ['Heuristics.*', 'Heuristics.', true],
  ['Heuristics.*', 'Heuristics', false],
  ['Heuristics.*', 'heuristics.Phishing', false],
  ['Heuristics.*', 'X.Heuristics.Y', false],
  ['*Heuristics.*', 'X.Heuristics.Y', true],
  ['PUA.*', 'PUAxWin', false],
  ['Eicar-?', 'Eicar-1', true],
  ['Eicar-?', 'Eicar-', false],
  ['Eicar-?', 'Eicar-12', false],
  ['*', '', true],
  ['?', '', false],
  ['a*b*c', 'a-b-b-c', true],
  ['a*b*c', 'a-c-b', false],
  ['a.[b]+(c)\\', 'a.[b]+(c)\\', true],
  ['a.b', 'axb', false],
])('%s takes %j: %s', (glob, name, expected) => {
  expect(globPattern(glob)(name)).toBe(expected)
})

test.each(['', 'a'.repeat(GLOB_LENGTH + 1), 'a\u0000', 'a\nb'])('%j is no glob', (text) => {
  expect(() => globPattern(text)).toThrow(FilterError)
})

test('answers as the same regular expression does', () => {
  const pieces = fc.array(fc.constantFrom('a', 'b', '.', '*', '?'), { minLength: 1, maxLength: 8 })
  const names = fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 10 })
  fc.assert(
    fc.property(pieces, names, (glob, name) => {
      const source = glob.join('').replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')
      expect(globPattern(glob.join(''))(name.join(''))).toBe(new RegExp(`^${source}$`).test(name.join('')))
    }),
    { numRuns: 1000 },
  )
})

test('compares each character of a name at most as often as the glob is long', () => {
  expect(globPattern(`${'*a'.repeat(127)}b`)('a'.repeat(65_536))).toBe(false)
})
