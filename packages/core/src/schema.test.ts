import { describe, expect, test } from '@jest/globals'
import {
  address,
  cidr,
  choice,
  count,
  domainPattern,
  duration,
  flag,
  formatDuration,
  hostName,
  list,
  path,
  points,
  secret,
  section,
  size,
  text,
} from './schema.ts'

/** What reading gives, or the messages of its issues. */
function read(
  schema: {
    safeParse(input: unknown): { data?: unknown; error?: { issues: { message: string }[] } | undefined }
  },
  input: unknown,
): unknown {
  const { data, error } = schema.safeParse(input)
  return error ? error.issues.map(({ message }) => message).join('; ') : data
}

const A_DURATION = 'expected a duration such as 30s, 5m, 2h or 30d'
const A_SIZE = 'expected a size such as 256KiB or 50MiB'

describe('a duration', () => {
  test.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2 h', 7_200_000],
    ['30d', 2_592_000_000],
    ['0s', 0],
    ['', A_DURATION],
    ['30', A_DURATION],
    ['-30s', A_DURATION],
    ['1e3s', A_DURATION],
    ['30S', A_DURATION],
    ['30s ', A_DURATION],
    [30, A_DURATION],
    [null, A_DURATION],
    [`${'9'.repeat(400)}d`, 'expected less'],
  ])('%j is %j', (input, expected) => {
    expect(read(duration('How long.'), input)).toEqual(expected)
  })

  test.each([
    ['999ms', 'expected 1s–590s'],
    ['1s', 1000],
    ['590s', 590_000],
    ['10m', 'expected 1s–590s'],
  ])('from 1s to 590s: %s is %j', (input, expected) => {
    expect(read(duration('How long.', { min: '1s', max: '590s' }), input)).toEqual(expected)
  })

  test.each(['0ms', '250ms', '1500ms', '60s', '300s', '900s', '20m', '2h', '30d'])(
    '%s is written so again',
    (written) => {
      expect(formatDuration(Number(read(duration('How long.'), written)))).toBe(written)
    },
  )
})

test.each([
  ['0B', 0],
  ['256KiB', 262_144],
  ['1.5MiB', 1_572_864],
  ['2GiB', 2_147_483_648],
  ['50MB', A_SIZE],
  ['50mib', A_SIZE],
  [50, A_SIZE],
])('the size %j is %j', (input, expected) => {
  expect(read(size('How large.'), input)).toEqual(expected)
})

const AN_ADDRESS = 'expected host:port, [v6]:port or unix:/PATH'
test.each([
  ['127.0.0.1:25', { host: '127.0.0.1', port: 25 }],
  ['[::1]:25', { host: '::1', port: 25 }],
  ['my_filter-1.example:25', { host: 'my_filter-1.example', port: 25 }],
  ['unix:/run/x', { path: '/run/x' }],
  [`unix:/${'x'.repeat(106)}`, { path: `/${'x'.repeat(106)}` }],
  [`unix:/${'x'.repeat(107)}`, 'expected a socket path of at most 107 bytes'],
  [`unix:/${'é'.repeat(54)}`, 'expected a socket path of at most 107 bytes'],
  ['unix:/run/\n', AN_ADDRESS],
  ['[:::]:25', AN_ADDRESS],
  ['[127.0.0.1]:25', { host: '127.0.0.1', port: 25 }],
  ['127.0.0.256:25', AN_ADDRESS],
  ['-x:25', AN_ADDRESS],
  ['a..b:25', AN_ADDRESS],
  ['"a":25', AN_ADDRESS],
  [25, AN_ADDRESS],
])('the address %j is %j', (input, expected) => {
  expect(read(address('Where.'), input)).toEqual(expected)
})

const A_DOMAIN = 'expected a domain such as example.org, or .example.org with all below it'
test.each([
  ['example.org', 'example.org'],
  ['.example.net', '.example.net'],
  ['localhost', 'localhost'],
  ['münchen.example', 'münchen.example'],
  ['', A_DOMAIN],
  ['.', A_DOMAIN],
  ['..example.org', A_DOMAIN],
  ['example.org.', A_DOMAIN],
  ['*.example.org', A_DOMAIN],
  ['a@example.org', A_DOMAIN],
  ['a b', A_DOMAIN],
  ['a'.repeat(256), A_DOMAIN],
  [1, A_DOMAIN],
])('the domain %j is %j', (input, expected) => {
  expect(read(domainPattern('Which.'), input)).toEqual(expected)
})

test.each([
  [count('N.', { min: 1, max: 10 }), 1, 1],
  [count('N.', { min: 1, max: 10 }), 11, 'expected 1–10'],
  [count('N.', { min: 1, max: 10 }), 1.5, 'expected 1–10'],
  [count('N.'), -1, 'expected a whole number from 0'],
  [count('N.'), Number.NaN, 'expected a whole number from 0'],
  [count('N.'), '1', 'expected a whole number from 0'],
  [points('N.'), -6.2, -6.2],
  [points('N.'), Infinity, 'expected a number of points'],
  [flag('B.'), true, true],
  [flag('B.'), 'yes', 'expected true or false'],
  [choice('C.', ['a', 'b']), 'b', 'b'],
  [choice('C.', ['a', 'b']), 'c', 'expected one of: a, b'],
  [hostName('H.'), 'mail.example.org', 'mail.example.org'],
  [hostName('H.'), '127.0.0.1', 'expected a host name'],
  [hostName('H.'), 'mail example', 'expected a host name'],
  [cidr('N.'), '10.0.0.0/8', '10.0.0.0/8'],
  [cidr('N.'), '10.0.0.1', '10.0.0.1/32'],
  [cidr('N.'), '10.0.0.1/8', 'expected a network without host bits'],
  [text('T.'), 'a b', 'a b'],
  [text('T.'), 'a\r\nb', 'expected text without control characters'],
  [text('T.', { max: 3 }), 'abcd', 'expected at most 3 characters'],
  [secret('S.'), 'x', 'x'],
  [secret('S.'), 'x\n', 'expected text without control characters'],
  [path('P.'), '/a', '/a'],
  [path('P.'), 'a', 'expected an absolute path'],
  [path('P.'), '/a\0', 'expected an absolute path'],
  [list('L.', text('T.'), { min: 1 }), [], 'expected at least one entry'],
  [list('L.', text('T.'), { max: 1 }), ['a', 'b'], 'expected at most 1 entries'],
  [list('L.', text('T.')), 'a', 'expected a list'],
  [section('S.', { a: text('T.') }), { a: 'x' }, { a: 'x' }],
  [section('S.', { a: text('T.') }), { a: 'x', b: 1 }, 'unknown key'],
  [section('S.', { a: text('T.') }), [], 'expected a section with keys'],
])('case %#: reads or says what it expected', (schema, input, expected) => {
  expect(read(schema, input)).toEqual(expected)
})
