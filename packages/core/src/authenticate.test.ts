import { describe, expect, test } from '@jest/globals'
import { authenticates, comparableDomain } from './authenticate.ts'
import type { Authenticated, AuthenticationMethod, Finding } from './verdict.ts'

const found = (method: AuthenticationMethod, identity: Authenticated['identity']): Authenticated => ({
  kind: 'authenticated',
  method,
  identity,
})
const dkim = (domain: string): Authenticated => found('dkim', { domain })
const SPF = found('spf', 'mail-from')
const DMARC = found('dmarc', 'from')
const AUTHOR_SIGNED = found('dkim', 'from')
const SENDER_SIGNED = found('dkim', 'mail-from')

describe.each<[string, Authenticated]>([
  ['SPF', SPF],
  ['a DKIM signature of the envelope sender', SENDER_SIGNED],
])('%s', (_, finding) => {
  test.each<[boolean, string, string]>([
    [true, 'ann@example.org', 'ann@example.org'],
    [true, 'ann@example.org', 'bounce@example.org'],
    [true, 'Ann@EXAMPLE.org', 'ann@example.ORG'],
    [true, 'ann@example.org.', 'ann@example.org'],
    [true, 'ann@example.org', 'ann@example.org.'],
    [true, 'ann@b\xfccher.example', 'ann@b\xfccher.example'],
    [false, 'ann@b\xfccher.example', 'ann@xn--bcher-kva.example'],
    [false, 'ann@b\xfccher.example', 'ann@B\xdcCHER.example'],
    [false, 'ann@bank.example', 'ann@ban\u212a.example'],
    [false, 'ann@sub.example.org', 'ann@example.org'],
    [false, 'ann@example.org', 'ann@sub.example.org'],
    [false, 'ann@example.org', 'ann@notexample.org'],
    [false, 'ann@example.org', ''],
    [false, '', ''],
    [false, 'ann', 'ann'],
    [false, 'ann@', 'ann@'],
    [false, '@example.org', '@example.org'],
    [false, 'ann@.', 'ann@.'],
    [false, 'ann@example.org..', 'ann@example.org..'],
    [false, 'ann@[192.0.2.1]', 'ann@[192.0.2.1]'],
    [false, '"x@good.example"@example.org', '"x@good.example"@example.org'],
    [false, 'x@good.example@example.org', 'x@good.example@example.org'],
    [false, 'ann@example.org', 'a..b@example.org'],
    [false, 'ann@example.org', '\udce9@example.org'],
    [false, 'ann@\udce9.example', 'ann@\udce9.example'],
  ])('says %p of %p when the envelope sender is %p', (expected, address, mailFrom) => {
    expect(authenticates([finding], address, { mailFrom })).toBe(expected)
    // From has no part in it.
    expect(authenticates([finding], address, { mailFrom, author: 'x@other.example' })).toBe(expected)
  })
})

describe.each<[string, Authenticated]>([
  ['DMARC', DMARC],
  ['DMARC of a named domain', found('dmarc', { domain: 'Example.org.' })],
  ['a DKIM signature of the author', AUTHOR_SIGNED],
])('%s', (_, finding) => {
  test.each<[boolean, string, string | undefined]>([
    [true, 'ann@example.org', 'ann@example.org'],
    [true, 'bob@EXAMPLE.ORG', 'ann@example.org.'],
    [false, 'ann@sub.example.org', 'ann@example.org'],
    [false, 'ann@example.org', 'ann@sub.example.org'],
    [false, 'ann@example.org', 'ann@other.example'],
    // None, a broken one, or several.
    [false, 'ann@example.org', undefined],
  ])('says %p of %p when the author is %p', (expected, address, author) => {
    const claimed = { mailFrom: 'ann@example.org', ...(author !== undefined && { author }) }
    expect(authenticates([finding], address, claimed)).toBe(expected)
  })
})

test.each<[boolean, string, string]>([
  [true, 'example.org', 'ann@example.org'],
  [true, 'EXAMPLE.org.', 'ann@example.ORG'],
  [true, 'example.org', 'ann@a.b.example.org'],
  [false, 'a.example.org', 'ann@example.org'],
  [false, 'a.example.org', 'ann@b.example.org'],
  [false, 'example.org', 'ann@badexample.org'],
  [false, 'example.org', 'ann@example.org.evil.example'],
  // A top level domain signs for itself at most.
  [false, 'org', 'ann@example.org'],
  [true, 'localdomain', 'ann@localdomain'],
  [false, '', 'ann@example.org'],
  [false, '.', 'ann@example.org'],
  [false, '.org', 'ann@example.org'],
  [false, '*.org', 'ann@example.org'],
  [false, 'example.org', ''],
  [false, 'xn--bcher-kva.example', 'ann@b\xfccher.example'],
  [true, 'b\xfccher.example', 'ann@b\xfccher.example'],
])('says %p of a DKIM signature by %p for %p', (expected, domain, address) => {
  expect(authenticates([dkim(domain)], address, { mailFrom: '' })).toBe(expected)
})

test.each<[boolean, string]>([
  [true, 'ann@example.org'],
  [false, 'ann@sub.example.org'],
])('says %p of SPF of a named domain for %p', (expected, address) => {
  const findings = [found('spf', { domain: 'example.org' })]
  expect(authenticates(findings, address, { mailFrom: '' })).toBe(expected)
})

test('one finding that proves it is enough, and no other kind proves anything', () => {
  const others: Finding[] = [
    { kind: 'score', points: -100, symbols: [{ name: 'DMARC_POLICY_ALLOW', score: -1 }] },
    { kind: 'virus', name: 'example.org' },
    { kind: 'unchecked', reason: 'encrypted' },
    dkim('other.example'),
  ]
  const claimed = { mailFrom: 'ann@example.org', author: 'ann@example.org' }
  expect(authenticates([], 'ann@example.org', claimed)).toBe(false)
  expect(authenticates(others, 'ann@example.org', claimed)).toBe(false)
  expect(authenticates([...others, DMARC], 'ann@example.org', claimed)).toBe(true)
})

test.each([`${'a.'.repeat(127)}ab`, 'a b', 'a\r\nb', 'a/b', 'a:s=b', 'a..b', '.a', ' a', '', '\udce9.a'])(
  'the name %j is none',
  (text) => {
    expect(comparableDomain(text)).toBeUndefined()
  },
)
