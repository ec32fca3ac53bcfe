import { describe, expect, test } from '@jest/globals'
import { property, assert, constantFrom, array, string, oneof } from 'fast-check'
import { readAddresses, readAuthors } from './author.ts'
import { encodePath } from './path.ts'

const block = (...fields: string[]): Buffer => Buffer.from(`${fields.join('\r\n')}\r\n\r\n`, 'latin1')
const authorsOf = (value: string): string[] => readAuthors(block(`From: ${value}`))

test.each<[string, string[]]>([
  ['ann@example.org', ['ann@example.org']],
  ['Ann <ann@example.org>', ['ann@example.org']],
  ['<Ann@Example.ORG>', ['Ann@Example.ORG']],
  ['"a@good.example" <b@evil.example>', ['b@evil.example']],
  ['"<a@good.example>" <b@evil.example>', ['b@evil.example']],
  ['"a \\" <a@good.example> \\"" <b@evil.example>', ['b@evil.example']],
  ['(a@good.example) b@evil.example', ['b@evil.example']],
  ['(a@good.example, (nested \\) ) <x@y>) B <b@evil.example> (a@good.example)', ['b@evil.example']],
  ['=?utf-8?Q?a=40good.example?= <b@evil.example>', ['b@evil.example']],
  ['John Q. Public <john@example.org>', ['john@example.org']],
  ['"Duval, Marie" <marie@example.net>, paul@example.org', ['marie@example.net', 'paul@example.org']],
  ['Ann(x)<ann@example.org>(y)', ['ann@example.org']],
  ['"a b"@example.org', ['"a b"@example.org']],
  ['"a,b@c"@example.org', ['"a,b@c"@example.org']],
  ['ann@[192.0.2.1]', ['ann@[192.0.2.1]']],
  ["o'neil+tag=x@example.org", ["o'neil+tag=x@example.org"]],
  // RFC 6854: groups in From.
  ['Nobody:;', []],
  ['Nobody: (none) ; (really)', []],
  ['A Group:ann@example.org;', ['ann@example.org']],
  [
    'A: ann@example.org, B <bob@example.org>; , c@example.org',
    ['ann@example.org', 'bob@example.org', 'c@example.org'],
  ],
  // Octets, as the envelope has them.
  ['J\xfcrg <ann@example.org>', ['ann@example.org']],
  ['\xc3\xbc@example.org', ['\xfc@example.org']],
  ['\xfc@example.org', ['\udcfc@example.org']],
])('reads %j', (value, expected) => {
  expect(authorsOf(value)).toEqual(expected)
})

test.each([
  '',
  'ann',
  'ann@',
  '@example.org',
  '<>',
  'Ann <>',
  'a@good.example <b@evil.example>',
  'b@evil.example a@good.example',
  '<a@good.example> <b@evil.example>',
  'a@good.example b',
  'Ann <a@good.example',
  'Ann a@good.example>',
  '<<a@good.example>>',
  '<@evil.example:a@good.example>',
  '< a@good.example >',
  'a @ good.example',
  'a@good.example(x).evil.example',
  'a@good.example.',
  'a@.good.example',
  'a@b@good.example',
  '.a@good.example',
  'a..b@good.example',
  'a@good.example,',
  ', a@good.example',
  'a@good.example,,b@evil.example',
  'a@good.example; b@evil.example',
  'Group: a@good.example',
  'Group: a@good.example,;',
  'Group: Inner: a@good.example;;',
  'Group:; a@good.example',
  ': a@good.example;',
  '(open a@good.example',
  'a@good.example (open',
  'a@good.example )',
  'a@good.example (open \\)',
  '"open a@good.example',
  '"a"b <a@good.example> "',
  'a@[192.0.2.1',
  'a\x1b[2J <a@good.example>',
  '(\x7f) a@good.example',
])('reads nothing of %j', (value) => {
  expect(authorsOf(value)).toEqual([])
})

describe('of several fields', () => {
  test('reads all addresses, each as often as it stands there', () => {
    const header = block('From: a@x.example', 'Subject: b', 'FROM: b@x.example,\r\n\ta@x.example')
    expect(readAuthors(header)).toEqual(['a@x.example', 'b@x.example', 'a@x.example'])
  })

  test('reads nothing where one is broken', () => {
    expect(readAuthors(block('From: a@good.example', 'From: b'))).toEqual([])
    expect(readAuthors(block('From:', 'From: a@good.example'))).toEqual([])
  })
})

test.each([
  ['no From', 'Subject: a@good.example\r\n\r\n'],
  ['a name that only begins so', 'From-X: a@good.example\r\nXFrom: a@good.example\r\n\r\n'],
  ['another sender', 'Sender: a@good.example\r\nResent-From: a@good.example\r\n\r\n'],
  ['a header that was cut off', 'From: a@good.example\r\n'],
  ['a bare CR', 'X: 1\rFrom: a@good.example\r\n\r\n'],
  ['a bare LF', 'X: 1\nFrom: a@good.example\r\n\r\n'],
  ['a folded line that is blank', 'From: a@good.example\r\n \r\nFrom: b@evil.example\r\n\r\n'],
  ['a blank before the colon', 'From: a@good.example\r\nFrom : b@evil.example\r\n\r\n'],
  ['NUL', 'From: a@good.example\0\r\n\r\n'],
])('reads nothing of %s', (_, text) => {
  expect(readAuthors(Buffer.from(text, 'latin1'))).toEqual([])
})

test.each<[string, string, number]>([
  ['100 addresses', Array(100).fill('a@x.example').join(), 100],
  ['101 addresses', Array(101).fill('a@x.example').join(), 0],
  ['64 KiB', `(${'x'.repeat(64 * 1024 - 13)})a@x.example`, 1],
  ['a byte more', `(${'x'.repeat(64 * 1024 - 12)})a@x.example`, 0],
  ['the longest path', `${'a'.repeat(2038)}@x.example`, 1],
  ['a longer one', `${'a'.repeat(2039)}@x.example`, 0],
])('%s', (_, value, count) => {
  expect(authorsOf(value)).toHaveLength(count)
})

test('the limits are for all fields together', () => {
  const half = `From: ${Array(51).fill('a@x.example').join()}`
  expect(readAuthors(block(half))).toHaveLength(51)
  expect(readAuthors(block(half, half))).toEqual([])
})

const pieces = [
  '"',
  '\\',
  '(',
  ')',
  '<',
  '>',
  '@',
  ',',
  ':',
  ';',
  '.',
  ' ',
  '\t',
  'a',
  '[',
  ']',
  '\xe9',
  '=?',
  '\x01',
]
const hostile = array(oneof(constantFrom(...pieces), string({ maxLength: 3 })), { maxLength: 60 }).map(
  (parts) => parts.join(''),
)

describe('whatever it is', () => {
  test('it never throws, and what it finds stands there with its @', () => {
    assert(
      property(hostile, (value) => {
        const header = block(`From: ${value}`)
        for (const address of readAuthors(header)) {
          expect(address).toMatch(/^(?:[^@"]+|".*")@[^@]+$/)
          expect(header.toString('latin1')).toContain(encodePath(address))
        }
      }),
    )
  })

  test('the display name has no part in it', () => {
    assert(
      property(hostile, (name) => {
        // oxlint-disable-next-line no-control-regex -- they are not allowed in any name
        const quoted = name.replace(/[\x00-\x1f\x7f]|[^\x00-\xff]/g, '').replace(/["\\]/g, '\\$&')
        expect(authorsOf(`"${quoted}" <b@evil.example>`)).toEqual(['b@evil.example'])
      }),
    )
  })

  test.each([
    '"',
    '(',
    '"\\',
    '((\\',
    '<',
    'a:',
    'a@b,',
    'a.',
    '"a"',
    'a@',
    '=?',
    '[',
    'a@[',
    '() ',
    'a@b>',
    '<a@b>',
  ])('a field full of %j is read in one pass', (piece) => {
    expect(authorsOf(piece.repeat(Math.floor((64 * 1024) / piece.length)))).toEqual([])
  })
})

test('reads other fields of addresses the same way', () => {
  const header = block('From: a@x.example', 'To: B <b@x.example>, c@x.example', 'to: d@x.example')
  expect(readAddresses(header, 'To')).toEqual(['b@x.example', 'c@x.example', 'd@x.example'])
  expect(readAddresses(header, 'Cc')).toEqual([])
})
