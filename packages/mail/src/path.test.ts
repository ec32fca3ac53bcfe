import { expect, test } from '@jest/globals'
import { decodePath, encodePath, PATH_OCTETS, parsePath, readPath } from './path.ts'

test.each([
  [''],
  ['root'],
  ['a@b'],
  ['MiXed@Example.ORG'],
  ['"a b"@x'],
  ['"a@b"@x'],
  ['"a>b<c"@x'],
  [String.raw`"a\"b\\"@x`],
  ['"a\x01\t\x1b\x7f\\\x01"@x'],
  ['user..dots@docomo.ne.jp'],
  ['user.@docomo.ne.jp'],
  ['.user@x'],
  ['a@x_y.org'],
  ['a@x.org.'],
  ['user@xn--mnchen-3ya.de'],
  ['a@[IPv6:2001:db8::1]'],
  ['a+b=c@x'],
  ["o'neil!%#@x"],
  ['a,b@x'],
  ['@x'],
  [`${'a'.repeat(254 - 10)}@x.example`],
  ['a'.repeat(PATH_OCTETS)],
])('keeps the path <%s> as it is, and ends behind it', (path) => {
  const line = `FROM:<${path}> SIZE=1`
  expect(parsePath(line, 5)).toEqual({ address: path, end: line.indexOf(' SIZE') })
})

test.each([
  ['a@b'],
  ['<a@b'],
  ['<a b@c>'],
  ['<"a b@c>'],
  ['<a<b@c>'],
  ['<<a@b>>'],
  ['<a\tb@c>'],
  ['<a\0@c>'],
  ['<a\r@c>'],
  ['<"a\nb"@c>'],
  ['<"a\rb"@c>'],
  ['<"a\0b"@c>'],
  ['<"a\\\0b"@c>'],
  ['<"a"\x01@c>'],
  ['<a\x7f@c>'],
  [`<${'a'.repeat(PATH_OCTETS + 1)}>`],
  ['<@a,@b:>'],
])('takes %j for no path', (text) => {
  expect(parsePath(text, 0)).toBeUndefined()
})

test.each([
  ['<@a:u@c>', 'u@c'],
  ['<@a,@b.example:u@c>', 'u@c'],
  ['<@[IPv6:::1],@b:u@c>', 'u@c'],
  ['<@a:"@b:c"@d>', '"@b:c"@d'],
  ['<"@a:b"@c>', '"@a:b"@c'],
])('drops the source route of %s', (text, address) => {
  expect(parsePath(text, 0)).toEqual({ address, end: text.length })
})

test('gives a backslash outside of quotes no power over the end', () => {
  expect(parsePath(String.raw`<a\>b@c>`, 0)).toEqual({ address: 'a\\', end: 4 })
})

test('does not stumble over a path made to be slow', () => {
  expect(parsePath(`<${'"a" '.repeat(1000)}`, 0)).toBeUndefined()
  expect(parsePath(`<${'"a"'.repeat(1300)}`, 0)).toBeUndefined()
  expect(parsePath(`<${'@a,'.repeat(1300)}>`, 0)).toBeUndefined()
})

test('decodes UTF-8, and escapes each octet that is none', () => {
  const octets = Buffer.from('jösé@münchen.de 😀').toString('latin1')
  expect(decodePath(octets)).toBe('jösé@münchen.de 😀')
  expect(decodePath('j\xf6s\xc3\xa9@x')).toBe('j\udcf6sé@x')
  // A surrogate in UTF-8, an overlong form, and a sequence that is cut off are not UTF-8.
  expect(decodePath('\xed\xb2\x80')).toBe('\udced\udcb2\udc80')
  expect(decodePath('\xc0\xaf')).toBe('\udcc0\udcaf')
  expect(decodePath('\xf0\x9f\x98')).toBe('\udcf0\udc9f\udc98')
})

test('gives back the same octets, whatever they are', () => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  const pieces = [
    'a',
    '@',
    '\x80',
    '\xbf',
    '\xc3',
    '\xc3\xa9',
    '\xed\xa0\x80',
    '\xf0\x9f\x98\x80',
    '\xff',
    '\xe2\x82',
  ]
  for (let round = 0; round < 2000; round += 1) {
    const octets = Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join('')
    expect(encodePath(decodePath(octets))).toBe(octets)
  }
  for (let octet = 0; octet < 256; octet += 1) {
    expect(encodePath(decodePath(String.fromCharCode(octet)))).toBe(String.fromCharCode(octet))
  }
})

test('makes no ASCII octet, such as a line end, from an escape', () => {
  expect(encodePath('a\udc0d\udc0a\udc3eb')).toBe(Buffer.from('a���b').toString('latin1'))
})

test.each([
  ['a@example.org', 'a@example.org'],
  ['<a@example.org>', 'a@example.org'],
  ['<>', ''],
  ['', ''],
  ['"a b"@example.org', '"a b"@example.org'],
  ['zo\u00eb@ex\u00e4mple.org', 'zo\u00eb@ex\u00e4mple.org'],
  ['@relay.example:a@example.org', 'a@example.org'],
  ['a b@example.org', undefined],
  ['a@example.org> NOTIFY=NEVER', undefined],
  ['a@example.org\r\nDATA', undefined],
  ['<<a@example.org>>', undefined],
])('reads %j as a person writes an address', (text, address) => {
  expect(readPath(text)).toBe(address)
})
