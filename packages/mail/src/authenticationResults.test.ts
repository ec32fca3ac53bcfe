import { describe, expect, test } from '@jest/globals'
import { array, assert, constantFrom, oneof, property, string } from 'fast-check'
import { readAuthenticationResults } from './authenticationResults.ts'

const read = (...values: string[]): string[] => {
  const fields = values.map((value) => `Authentication-Results: ${value}\r\n`)
  return shown(readAuthenticationResults(Buffer.from(`${fields.join('')}\r\n`, 'latin1'), ['mx.example.org']))
}
const shown = (proofs: ReturnType<typeof readAuthenticationResults>): string[] =>
  proofs.map(({ method, identity }) => `${method} ${(identity as { domain: string }).domain}`)
const MX = 'mx.example.org;'

describe('reads what is in use', () => {
  test.each<[string, string, string[]]>([
    [
      'OpenDKIM',
      'mx.example.org;\r\n\tdkim=pass (2048-bit key; unprotected) header.d=example.net header.i=@example.net header.a=rsa-sha256 header.s=sel header.b="Ab/c+d=="',
      ['dkim example.net'],
    ],
    [
      'OpenDMARC',
      'mx.example.org; dmarc=pass (p=reject dis=none) header.from=example.net',
      ['dmarc example.net'],
    ],
    [
      'pypolicyd-spf',
      'mx.example.org; spf=pass (sender SPF authorized) smtp.mailfrom=example.net (client-ip=192.0.2.1; helo=mail.example.net; envelope-from=marie@example.net; receiver=<UNKNOWN>)',
      ['spf example.net'],
    ],
    [
      'rspamd',
      'mx.example.org;\r\n\tdkim=pass header.d=example.net header.s=sel header.b=Ab/c+d==;\r\n\tspf=pass (mx.example.org: domain of marie@example.net designates 192.0.2.1 as permitted sender) smtp.mailfrom=marie@example.net;\r\n\tdmarc=pass (policy=none) header.from=example.net',
      ['dkim example.net', 'spf example.net', 'dmarc example.net'],
    ],
    [
      'Gmail',
      'mx.example.org;\r\n       dkim=pass header.i=@example.net header.s=20230601 header.b="Mv/aE=";\r\n       spf=pass (google.com: domain of a@example.net designates 192.0.2.1 as permitted sender) smtp.mailfrom=a@example.net;\r\n       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=example.net;\r\n       dara=pass header.i=@example.com',
      ['dkim example.net', 'spf example.net', 'dmarc example.net'],
    ],
    [
      'Microsoft, with a name in front',
      'mx.example.org; spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=example.net; dkim=pass (signature was verified)\r\n header.d=example.net;dmarc=pass action=none header.from=example.net;compauth=pass reason=100',
      ['dkim example.net', 'spf example.net', 'dmarc example.net'],
    ],
    [
      'RFC 8601 appendix B.5, with comments everywhere',
      '(a (nested) one) mx.example.org (b) 1 (c) ; (d) dkim (e) / (f) 1 (g) = (h) pass (i) reason (j) = (k) "good (l) ;" (m) header (n) . (o) d (p) = (q) example.net (r) ; spf = fail smtp.mailfrom=b.example',
      ['dkim example.net'],
    ],
  ])('%s', (_, value, expected) => {
    expect(read(value)).toEqual(expected)
  })
})

test.each<[string, string[]]>([
  [`${MX} none`, []],
  [`${MX} none;`, []],
  ['mx.example.org', []],
  ['MX.Example.ORG; DKIM=PASS HEADER.D=Example.NET.', ['dkim example.net']],
  ['"mx.example.org"; dkim=pass header.d=example.net', ['dkim example.net']],
  ['"mx\\.example.org"; dkim=pass header.d=example.net', ['dkim example.net']],
  ['mx.example.org 1; dkim=pass header.d=example.net', ['dkim example.net']],
  ['mx.example.org 2; dkim=pass header.d=example.net', []],
  [`${MX} dkim/2=pass header.d=b.example; spf=pass smtp.mailfrom=a.example`, ['spf a.example']],
  [`${MX} dkim=pass (test) header.d=a.example`, ['dkim a.example']],
  [`${MX} dkim=pass header.d="a.example"`, ['dkim a.example']],
  [`${MX} dkim=pass header.i=x+y@a.example`, ['dkim a.example']],
  [`${MX} dkim=pass header.i="x y"@a.example`, ['dkim a.example']],
  [`${MX} dkim=pass header.i=@b.a.example header.d=a.example`, ['dkim a.example']],
  [`${MX} dkim=pass header.d=a.example; dkim=pass header.d=b.example`, ['dkim a.example', 'dkim b.example']],
  [`${MX} dkim=fail header.d=a.example; dkim=pass header.d=b.example`, ['dkim b.example']],
  [`${MX} dkim=pass header.d=a.example; dkim=pass header.d=A.example`, ['dkim a.example']],
  [`${MX} spf=pass smtp.helo=b.example; spf=pass smtp.mailfrom=a.example`, ['spf a.example']],
  [`${MX} spf=pass smtp.mailfrom="x@b.example"@a.example`, ['spf a.example']],
  [`${MX} spf=pass smtp.mailfrom=x@b\xc3\xbccher.example`, ['spf b\xfccher.example']],
  // Nothing that passed, nothing that it belongs to, or nothing that is a domain.
  [`${MX} dkim=pass`, []],
  [`${MX} spf=pass smtp.helo=a.example`, []],
  [`${MX} dmarc=pass policy.dmarc=none`, []],
  [`${MX} dkim=pass policy.d=a.example smtp.mailfrom=a.example header.from=a.example`, []],
  [`${MX} dkim=fail header.d=a.example; spf=softfail smtp.mailfrom=a.example`, []],
  [`${MX} dkim=passed header.d=a.example; spf=neutral smtp.mailfrom=a.example`, []],
  [`${MX} arc=pass header.d=a.example; auth=pass smtp.auth=a@a.example`, []],
  [`${MX} x-dkim=pass header.d=a.example; dkim-adsp=pass header.from=a.example`, []],
  [`${MX} dkim=pass header.i=a.example`, []],
  [`${MX} dkim=pass header.d=`, []],
  [`${MX} spf=pass smtp.mailfrom=<>`, []],
  [`${MX} spf=pass smtp.mailfrom=""`, []],
  [`${MX} spf=pass smtp.mailfrom=<x@a.example>`, []],
  [`${MX} spf=pass smtp.mailfrom=x@y@a.example`, []],
  [`${MX} spf=pass smtp.mailfrom="x@a.example"`, []],
  [`${MX} dkim=pass header.d=a/b.example`, []],
  // What a sender's text may have brought in.
  [`${MX} dkim=pass header.d=a.example header.d=b.example`, []],
  [`${MX} spf=pass (of "x) smtp.mailfrom=good.example (y"@e.example) smtp.mailfrom=e.example`, []],
  [`${MX} dmarc=fail (x); dmarc=pass header.from=good.example; (y) dmarc=fail header.from=e.example`, []],
  [`${MX} spf=fail smtp.mailfrom=e.example; spf=pass smtp.mailfrom=good.example`, []],
  // Other hosts.
  ['mx.example.com; dkim=pass header.d=a.example', []],
  ['mx.example.org.evil.example; dkim=pass header.d=a.example', []],
  ['evil.example (; mx.example.org;) ; dkim=pass header.d=a.example', []],
  ['m\u212a.example.org; dkim=pass header.d=a.example', []],
  ['; dkim=pass header.d=a.example', []],
  ['dkim=pass header.d=a.example', []],
  // Not the grammar: nothing of the field.
  [`${MX} dkim=pass header.d=a.example; spf`, []],
  [`${MX} dkim=pass header.d=a.example; spf=`, []],
  [`${MX} dkim=pass header.d=a.example;; spf=fail`, []],
  [`${MX} dkim=pass header.d=a.example (open`, []],
  [`${MX} dkim=pass header.d=a.example )`, []],
  [`${MX} dkim=pass header.d=a.example "open`, []],
  [`${MX} dkim=pass header.d="a.example"b.example`, []],
  [`${MX} dkim=pass header.d=a.example"b"`, []],
  [`${MX} dkim=pass header.d a.example`, []],
  [`${MX} dkim=pass .d=a.example`, []],
  [`${MX} dkim pass header.d=a.example`, []],
  [`${MX} =pass header.d=a.example`, []],
  [`${MX} dkim=pass header.d=a.example \x1b[2J=x`, []],
  ['mx.example.org dkim=pass header.d=a.example', []],
])('of %j', (value, expected) => {
  expect(read(value)).toEqual(expected)
})

test('reads all fields of trusted hosts, and no others', () => {
  const header = [
    'Authentication-Results: A; dkim=pass header.d=a.example',
    'authentication-results: b; dkim=pass header.d=b.example',
    'Authentication-Results: c; dkim=pass header.d=c.example',
    'X-Authentication-Results: a; dkim=pass header.d=d.example',
    'ARC-Authentication-Results: i=1; a; dkim=pass header.d=e.example',
    'Authentication-Results: broken; (',
    'Authentication-Results: b; dkim=pass header.d=b.example; dmarc=pass header.from=f.example',
  ]
  const bytes = Buffer.from(`${header.join('\r\n')}\r\n\r\n`)
  expect(shown(readAuthenticationResults(bytes, ['a', 'B']))).toEqual([
    'dkim a.example',
    'dkim b.example',
    'dmarc f.example',
  ])
  expect(readAuthenticationResults(bytes, [])).toEqual([])
})

test.each<[string, string[], string[]]>([
  ['a failure', [`${MX} dmarc=fail header.from=a.example`, `${MX} dmarc=pass header.from=a.example`], []],
  [
    'another signature',
    [`${MX} dkim=pass header.d=b.example`, `${MX} dkim=pass header.d=a.example`],
    ['dkim b.example'],
  ],
  ['no signature', [`${MX} dkim=none`, `${MX} dkim=pass header.d=a.example`], []],
  [
    'the name in other letters',
    [`${MX} spf=fail smtp.mailfrom=a.example`, '"MX.example.org"; spf=pass smtp.mailfrom=a.example'],
    [],
  ],
  [
    'what breaks the grammar',
    [`${MX} spf=fail (of "(("@e.example`, `${MX} dkim=pass header.d=a.example`],
    [],
  ],
  ['what is too long', [`${MX} (${'x'.repeat(16_384)})`, `${MX} dkim=pass header.d=a.example`], []],
  [
    'another method',
    [`${MX} dmarc=fail header.from=a.example`, `${MX} dkim=pass header.d=a.example`],
    ['dkim a.example'],
  ],
  [
    'SPF of the HELO name',
    [`${MX} spf=fail smtp.helo=b.example`, `${MX} spf=pass smtp.mailfrom=a.example`],
    ['spf a.example'],
  ],
  [
    'another host',
    ['mx.example.net; dkim=fail header.d=a.example', `${MX} dkim=pass header.d=a.example`],
    ['dkim a.example'],
  ],
])('below %s of the same host, of the same method nothing is believed', (_, values, expected) => {
  expect(read(...values)).toEqual(expected)
})

// The border that removes forged fields would have seen none there.
test.each([
  'X: 1\rAuthentication-Results: mx; dkim=pass header.d=a.example\r\n\r\n',
  'X: 1\nAuthentication-Results: mx; dkim=pass header.d=a.example\r\n\r\n',
  'X: 1\r\n \r\nAuthentication-Results: mx; dkim=pass header.d=a.example\r\n\r\n',
  'Authentication-Results : mx; dkim=pass header.d=a.example\r\n\r\n',
  'Authentication-Results: mx; dkim=pass header.d=a.example\r\nno field\r\n',
])('reads nothing of %j', (text) => {
  expect(readAuthenticationResults(Buffer.from(text), ['mx'])).toEqual([])
})

describe('limits', () => {
  const other = 'evil.example; none'
  const good = `${MX} dkim=pass header.d=a.example`
  test.each<[string, string[], number]>([
    ['the 50th field', [...Array<string>(49).fill(other), good], 1],
    ['the 51st', [...Array<string>(50).fill(other), good], 0],
    ['16 KiB', [`${good} (${'x'.repeat(16 * 1024 - good.length - 3)})`], 1],
    ['more', [`${good} (${'x'.repeat(16 * 1024 - good.length - 2)})`], 0],
    ['50 results', [`${good}${'; x=pass'.repeat(49)}`], 1],
    ['51 results', [`${good}${'; x=pass'.repeat(50)}`], 0],
    ['20 properties', [`${good}${' x.y=z'.repeat(19)}`], 1],
    ['21 properties', [`${good}${' x.y=z'.repeat(20)}`], 0],
  ])('%s', (_, values, count) => {
    expect(read(...values)).toHaveLength(count)
  })
})

const pieces = [
  ';',
  '=',
  '.',
  '/',
  '@',
  '"',
  '\\',
  '(',
  ')',
  ' ',
  '\t',
  '1',
  'none',
  'dkim',
  'spf',
  'dmarc',
  'pass',
]
const names = [
  'header.d=',
  'header.i=@',
  'smtp.mailfrom=',
  'header.from=',
  'reason=',
  'a.example',
  '\xe9',
  '\x01',
]
const hostile = array(oneof(constantFrom(...pieces, ...names), string({ maxLength: 2 })), {
  maxLength: 60,
}).map((parts) => parts.join(''))

describe('whatever it is', () => {
  test('it never throws, and proves nothing but domains', () => {
    assert(
      property(hostile, (value) => {
        for (const proof of read(`${MX} ${value}`))
          expect(proof).toMatch(/^(?:dkim|spf|dmarc) [\w\x80-\uffff.-]+$/)
      }),
    )
  })

  test('comments change nothing', () => {
    assert(
      property(hostile, (text) => {
        // oxlint-disable-next-line no-control-regex -- they are not allowed in any comment
        const comment = `(${text.replace(/[\x00-\x1f\x7f]|[^\x00-\xff]/g, '').replace(/[()\\]/g, '\\$&')})`
        const value = `${comment}mx.example.org${comment};${comment}dkim=${comment}pass${comment}header.d=a.example${comment}`
        expect(read(value)).toEqual(['dkim a.example'])
      }),
    )
  })

  test.each(['(', '"', '\\', ';', '=', '((\\', 'a=b ', 'a', 'a.b=', '"a"', '() ', '@', '1 '])(
    'a field full of %j is read in one pass',
    (piece) => {
      expect(read(`${MX} ${piece.repeat(Math.floor((15 * 1024) / piece.length))}`)).toEqual([])
    },
  )
})
