import { expect, test } from '@jest/globals'
import { RE2JS } from 're2js'
import {
  compileAddressList,
  compilePattern,
  FilterError,
  PATTERN_LENGTH,
  PATTERN_SIZE,
  PATTERN_TEXT,
  patternPool,
  POOL_SIZE,
} from './index.ts'

test.each([
  ['^no-?reply@', 'noreply@example.org', true],
  ['^no-?reply@', 'Noreply@example.org', false],
  ['example', 'a@sub.example.org', true],
  ['@example\\.org$', 'a@example.org.evil.example', false],
  ['^[^@]{3,}@', 'ab@example.org', false],
  ['\\p{Greek}', 'α@example.org', true],
  ['^.$', '😀', true],
])('%s anywhere in %s: %s', (source, text, expected) => {
  expect(compilePattern(source).test(text)).toBe(expected)
})

test('passes over letters case when asked to', () => {
  expect(compilePattern('^NO-reply@', { ignoreCase: true }).test('no-REPLY@example.org')).toBe(true)
})

function errorOf(run: () => unknown): FilterError {
  try {
    run()
  } catch (error) {
    if (error instanceof FilterError) return error
    throw error
  }
  throw new TypeError('nothing was thrown')
}

test.each([
  ['[', 'missing closing ]', undefined],
  ['(a', 'missing closing )', undefined],
  ['a**', 'invalid nested repetition operator', undefined],
  [
    '(?=a)b',
    'invalid or unsupported Perl syntax',
    'there is no lookahead and no lookbehind: write several entries',
  ],
  ['(?<!a)b', 'invalid named capture', 'there is no lookahead and no lookbehind: write several entries'],
  ['(a)\\1', 'invalid escape sequence', 'there are no backreferences: write out what they repeat'],
  ['', 'that is not empty', 'write . for everybody'],
  ['((a{100}){100}){100}', 'invalid repeat count', 'lower its repeat counts, or write several entries'],
  ['(?<\u001b[31m', 'invalid named capture', undefined],
])('%j is refused: %s', (source, message, hint) => {
  const error = errorOf(() => compilePattern(source))
  expect(error.code).toBe('E_CONFIG')
  expect(error.message).toMatch(/^expected a regular expression[ ,][ -~]*$/)
  expect(error.message).toContain(message)
  expect(error.hint).toBe(hint)
})

test('takes a pattern up to its length and size, and none beyond', () => {
  const longest = 'a|'.repeat(PATTERN_LENGTH / 2 - 1) + 'aa'
  expect(longest).toHaveLength(PATTERN_LENGTH)
  expect(() => compilePattern(longest)).not.toThrow()
  expect(errorOf(() => compilePattern(`${longest}a`)).message).toContain('at most 256 characters')
  const overhead = compilePattern('a{2}').size - 2
  expect(compilePattern(`a{${PATTERN_SIZE - overhead}}`).size).toBe(PATTERN_SIZE)
  const larger = errorOf(() => compilePattern(`a{${PATTERN_SIZE - overhead + 1}}`))
  expect(larger.message).toContain('at most 200 steps when compiled, got 201')
})

test('looks at the beginning of a text that is longer than any address', () => {
  const pattern = compilePattern('b$')
  expect(pattern.test(`${'a'.repeat(PATTERN_TEXT - 1)}b`)).toBe(true)
  expect(pattern.test(`${'a'.repeat(PATTERN_TEXT)}b`)).toBe(false)
})

// Backtracking, or many states at once: what makes other engines exponential.
const HOSTILE = [
  '(x+x+)+[yz]',
  '(a|b)*a(a|b){60}[cd]',
  '.*a.{14}b.{14}[cd]',
  '(.*a.{30}[cd]|.*b.{31}[de])',
  '(?:a?){60}a{60}[bc]$',
  '\\b(\\w+\\b.?)*[yz]$',
  '((((((a*)*)*)*)*)*)*[cd]',
]

function coins(length: number): number[] {
  let state = 7
  return Array.from({ length }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return 97 + (state & 1)
  })
}

test.each(HOSTILE)('%s reads each character of a hostile text at most four times', (source) => {
  for (const length of [320, 65_536]) {
    let reads = 0
    const octets = new Proxy(coins(length), {
      get(target, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) reads++
        return Reflect.get(target, key) as unknown
      },
    })
    const compiled = RE2JS.compile(source)
    expect(compiled.programSize()).toBeLessThanOrEqual(PATTERN_SIZE)
    expect(compiled.test(octets)).toBe(false)
    // Once by the automaton of states; where these are too many, on from there by that of threads, which looks ahead.
    expect(reads).toBeLessThanOrEqual(4 * length)
  }
})

test('all patterns on one text are at most some half a million steps, which take 28 ms', () => {
  expect(POOL_SIZE * PATTERN_TEXT).toBeLessThanOrEqual(512_000)
})

test('many lists that ask one pattern about one address work it out once', () => {
  const { prototype } = RE2JS
  const compute = Object.getOwnPropertyDescriptor(prototype, 'test')
  const test: unknown = compute?.value
  if (typeof test !== 'function') throw new TypeError('no test to count')
  let computed = 0
  const counted = function (this: RE2JS, ...args: unknown[]): unknown {
    computed++
    return Reflect.apply(test, this, args)
  }
  Object.defineProperty(prototype, 'test', { ...compute, value: counted })
  try {
    const pool = patternPool()
    const lists = Array.from({ length: 100 }, (_, index) =>
      compileAddressList([{ text: '/^b/', place: { path: `to[${index}]` } }], { patterns: pool }),
    )
    computed = 0
    for (const address of ['a@example.net', 'b@example.net', 'a@example.net']) {
      const found = lists.filter((list) => list.match(address) !== undefined)
      expect(found).toHaveLength(address.startsWith('b') ? 100 : 0)
    }
    expect(computed).toBe(3)
  } finally {
    Object.defineProperty(prototype, 'test', { ...compute })
  }
})

test('a pool compiles the same pattern once, and bounds all of them together', () => {
  const pool = patternPool()
  const first = pool.compile('a{190}')
  expect(pool.compile('a{190}')).toBe(first)
  expect(pool.compile('a{190}', { ignoreCase: true })).not.toBe(first)
  const error = errorOf(() => {
    for (let i = 0; i < POOL_SIZE; i++) pool.compile(`z${i}`)
  })
  expect(error.message).toContain('at most 1000 steps in all')
  expect(error.hint).toBeDefined()
  expect(pool.compile('a{190}')).toBe(first)
})
