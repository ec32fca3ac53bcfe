import { expect, test } from '@jest/globals'
import { mostSimilar } from './similar.ts'

test.each([
  ['lisen', 'listen'],
  ['listne', 'listen'],
  ['LISTEN', 'listen'],
  ['local_domains', 'localDomains'],
  ['locladomain', 'localDomains'],
  ['log', 'log'],
  ['lag', 'log'],
  ['logging', 'log'],
  ['list', 'listen'],
  ['local', 'localDomains'],
  ['', undefined],
  ['x', undefined],
  ['xyz', undefined],
  ['somethingElse', undefined],
  ['l'.repeat(100_000), undefined],
])('%j is near %j', (word, expected) => {
  expect(mostSimilar(word, ['listen', 'localDomains', 'log'])).toBe(expected)
})

test('nothing is near nothing', () => {
  expect(mostSimilar('listen', [])).toBeUndefined()
})
