import { expect, test } from '@jest/globals'
import { compileAddressList, FilterError, idleAddresses, lookupKeys, type ListEntry } from './index.ts'

const entries = (...texts: readonly string[]): ListEntry[] =>
  texts.map((text, index) => ({ text, place: { file: 'list', line: index + 1 } }))

test.each([
  ['user@example.com', 'User@EXAMPLE.com', true],
  ['User@Example.COM', 'user@example.com', true],
  ['user@example.com', 'user+x@example.com', true],
  ['user+x@example.com', 'user@example.com', false],
  ['user@', 'user@anywhere.example', true],
  ['user@', 'user', true],
  ['example.com', 'a@example.com', true],
  ['example.com', 'a@sub.example.com', false],
  ['example.com', 'example.com', false],
  ['@example.com', 'a@example.com', true],
  ['@.example.com', 'a@sub.example.com', true],
  ['.example.com', 'a@example.com', true],
  ['.example.com', 'a@deep.sub.example.com', true],
  ['.example.com', 'a@badexample.com', false],
  ['.com', 'a@example.com', true],
  ['.', 'a@example.com', true],
  ['.', 'postmaster', true],
  ['.', '', true],
  ['<>', '', true],
  ['<>', 'a@example.com', false],
  ['bücher.example', 'a@xn--bcher-kva.example', true],
  ['xn--bcher-kva.example', 'a@BÜCHER.example', true],
  ['.bücher.example', 'a@x.bücher.example', true],
  ['[192.0.2.1]', 'a@[192.0.2.1]', true],
  ['@[IPv6:2001:db8::1]', 'a@[IPv6:2001:DB8::1]', true],
  ['"A B"@example.com', '"a b"@example.com', true],
  ['"a\\@b"@example.com', '"a@b"@example.com', true],
  ['a*@example.com', 'a*@example.com', true],
  ['"!a"@example.com', '!a@example.com', true],
  ['/^no-?reply@/', 'noreply@example.com', true],
  ['/^no-?reply@/', 'NoReply@example.com', false],
  ['/^no-?reply@/i', 'NoReply@example.com', true],
  ['/a/b/', 'a/b@example.com', true],
  ['/^$/', '', true],
])('%s names %j: %s', (entry, address, expected) => {
  const match = compileAddressList(entries(entry), { delimiter: '+' }).match(address)
  expect(match !== undefined).toBe(expected)
})

const LIST = entries('.', '!.example.com', 'sub.example.com', '!bad@sub.example.com', 'x@', '/bad/', '<>')

test.each([
  ['a@example.org', '.', false],
  ['a@example.com', '.example.com', true],
  ['a@deep.sub.example.com', '.example.com', true],
  ['a@sub.example.com', 'sub.example.com', false],
  ['bad+x@sub.example.com', 'bad@sub.example.com', true],
  ['x@sub.example.com', 'x@', false],
  ['', '<>', false],
])('the most specific key decides about %j: %s, negated: %s', (address, key, negated) => {
  const list = compileAddressList(LIST, { delimiter: '+' })
  expect(list.match(address)).toEqual({ entry: expect.objectContaining({}), key, negated })
  expect(list.match(lookupKeys(address, { delimiter: '+' }))).toEqual(list.match(address))
})

test('regular expressions come behind all keys, the first that matches decides', () => {
  const list = compileAddressList(entries('/b/', '!/a/', '/ab/', 'ab@example.com'))
  expect(list.match('ab@example.com')?.key).toBe('ab@example.com')
  expect(list.match('xab@example.com')).toMatchObject({ key: '/b/', negated: false, entry: { text: '/b/' } })
  expect(list.match('xa@z.org')).toMatchObject({ key: '/a/', negated: true, entry: { place: { line: 2 } } })
  expect(list.match('x@z.org')).toBeUndefined()
})

test('an empty list names nobody', () => {
  expect(compileAddressList([]).match('')).toBeUndefined()
})

test('of the same key twice the first decides', () => {
  const list = entries(
    'a@B.example',
    '!A@b.example',
    '@b.example',
    'b.example',
    '/x/',
    '/x/i',
    '/x/',
    'c.example',
  )
  expect(compileAddressList(list).match('a@b.example')).toMatchObject({ negated: false })
})

const LABELS_20 = Array.from({ length: 20 }, () => 'x').join('.')

test.each([
  ['', 'take the empty entry out; the null sender is <>'],
  ['!', 'take the empty entry out; the null sender is <>'],
  ['@', 'the null sender is <>'],
  ['!!a@b', 'one ! is enough; a local part that begins with ! is quoted'],
  ['*', 'everybody is .'],
  ['*@example.com', 'write example.com'],
  ['*@', 'write .'],
  ['*.example.com', 'write .example.com'],
  ['a@*.example.com', 'there are no wildcards: write .domain or a regular expression'],
  ['<a@example.com>', 'leave out the angle brackets'],
  ['example.com.', 'leave out the dot at the end'],
  ['a@example.com b@example.com', 'one entry has no blanks outside of quotes'],
  ['a@.example.com', 'write a@ for any domain'],
  ['..', 'leave out the dot at the end'],
  ['a..b', undefined],
  ['a@b@c', undefined],
  ['"a@example.com', undefined],
  ['a\u0000@example.com', undefined],
  ['a@[1.2.3.4', undefined],
  [`.${LABELS_20}`, 'name a domain nearer to the root'],
  ['a'.repeat(513), 'it is longer than 512 characters'],
  [`${'a'.repeat(252)}.com`, undefined],
  ['/', 'it has no slash at its end'],
  ['/abc', 'it has no slash at its end'],
  ['/abc/x', 'there are no other flags than i'],
  ['/etc/ecluse/list', 'to read the entries from there, write file:/etc/ecluse/list'],
  ['FILE:list', 'write file: in small letters'],
  [
    'hash:/etc/postfix/virtual',
    'maps of Postfix are not read: write file:PATH of a file with one entry on each line',
  ],
  ['a@*', 'write a@ for any domain'],
  ['a@example.com,b@example.com', 'write one entry for each address'],
  ['a@example.com; b@example.com', 'write one entry for each address'],
  ['! a@example.com', 'no blank before an entry, nor behind its !'],
  ['- a@example.com', 'entries stand alone, without - before them and without quotes'],
  ['192.0.2.0/24', 'networks are for clients: write the addresses or domains of mail'],
  ['2001:db8::/32', 'networks are for clients: write the addresses or domains of mail'],
  ['//', 'write . for everybody'],
  ['/(a)\\1/', 'there are no backreferences: write out what they repeat'],
])('%j is refused (%s)', (text, hint) => {
  for (const compile of [compileAddressList, idleAddresses]) {
    let caught: unknown
    try {
      compile(entries('a@example.com', text))
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(FilterError)
    expect(caught).toMatchObject({ code: 'E_CONFIG', place: { file: 'list', line: 2 } })
    expect((caught as FilterError).message).toMatch(/^expected [ -~…]+$/)
    expect((caught as FilterError).hint).toBe(hint)
  }
})

test('an error in the configuration names its path', () => {
  const list = [{ text: '*', place: { path: 'policies[2].to[0]' } }]
  expect(() => compileAddressList(list)).toThrow(/^policies\[2\]\.to\[0\]: expected an address/)
})
