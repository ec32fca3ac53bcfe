import { expect, test } from '@jest/globals'
import { claimKey, ledgerKeys, verdictKey, verdictName, verdictPattern } from './redisKeys.ts'

const KEY = 'ecluse:v1:clamav:1.4.3-27500:0a1b:d1ce57'
const tagOf = (key: string): string | undefined => /\{([^}]*)\}/.exec(key)?.[1]

test.each([
  ['ecluse', KEY, 'ecluse:v1:clamav:1.4.3-27500:0a1b:{d1ce57}'],
  ['site-a', KEY, 'site-a:v1:clamav:1.4.3-27500:0a1b:{d1ce57}'],
  ['p', 'v1:a:b:c:d', 'p:v1:a:b:c:{d}'],
  ['p', 'ecluse:v1:a{x}:b:c:d}e', 'p:v1:a_x_:b:c:{d_e}'],
])('under %s the verdict %s is at %s', (prefix, key, expected) => {
  expect(verdictKey(prefix, key)).toBe(expected)
})

test('what one scanner is told besides has the same tag, and the digest of the content as its name', () => {
  const told = `${KEY}-0123abcd`
  expect(tagOf(verdictKey('p', told))).toBe(tagOf(verdictKey('p', KEY)))
  expect(verdictKey('p', told)).toMatch(/\}-0123abcd$/)
  expect(verdictName('p', verdictKey('p', told))).toEqual(verdictName('p', verdictKey('p', KEY)))
})

test('keeps all that belongs to one message on one node of a Cluster', () => {
  expect([claimKey('p', KEY), verdictKey('p', KEY.replace('clamav', 'rspamd'))].map(tagOf)).toEqual([
    'd1ce57',
    'd1ce57',
  ])
  const { known, turns } = ledgerKeys('p', 'abc')
  expect([known, turns].map(tagOf)).toEqual(['abc', 'abc'])
})

test('tells scanner, version and digest of a verdict, and nothing of other keys', () => {
  expect(verdictName('ecluse', verdictKey('ecluse', KEY))).toEqual({
    scanner: 'clamav',
    version: '1.4.3-27500',
    digest: 'd1ce57',
  })
  for (const other of [claimKey('ecluse', KEY), verdictKey('x', KEY), 'ecluse:v1:{a}', 'ecluse:ledger:{a}']) {
    expect(verdictName('ecluse', other)).toBeUndefined()
  }
})

test('looks for what is named and for nothing else', () => {
  expect(verdictPattern('ecluse', {})).toBe('ecluse:v1:*:*{*}*')
  expect(verdictPattern('e*', { scanner: 'a[b]?', digest: 'd\\' })).toBe('e\\*:v1:a\\[b\\]\\?:*{d\\\\}*')
})
