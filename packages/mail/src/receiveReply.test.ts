import { expect, test } from '@jest/globals'
import { formatReply, isValidReply } from './receiveReply.ts'

test.each([
  ['Ok', '250 2.0.0 Ok\r\n'],
  ['', '250 2.0.0 \r\n'],
  ['a\nb\r\nc', '250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 c\r\n'],
  ['a\rb\0c\x1b\u2028ü', '250-2.0.0 a\r\n250 2.0.0 b?c???\r\n'],
])('formats %j', (text, wire) => {
  expect(formatReply({ code: 250, enhanced: '2.0.0', text })).toBe(wire)
})

test.each([
  ['words', 'word '.repeat(1000).trim()],
  ['one word', 'x'.repeat(5000)],
  ['at the limit', 'x'.repeat(500)],
  ['one past it', 'x'.repeat(501)],
])('breaks a long text into lines of at most 512 octets, and loses nothing: %s', (_name, text) => {
  const lines = formatReply({ code: 554, enhanced: '5.7.0', text }).split('\r\n').slice(0, -1)
  for (const [at, line] of lines.entries()) {
    expect(line.length).toBeLessThanOrEqual(510)
    expect(line.slice(0, 10)).toBe(at < lines.length - 1 ? '554-5.7.0 ' : '554 5.7.0 ')
  }
  const joined = lines.map((line) => line.slice(10)).join(text.includes(' ') ? ' ' : '')
  expect(joined).toBe(text)
})

test('cuts a text that nobody needs', () => {
  expect(formatReply({ code: 250, enhanced: '2.0.0', text: 'x'.repeat(1_000_000) }).length).toBeLessThan(
    10_000,
  )
})

test.each([
  [250, '2.0.0', true],
  [554, '5.7.0', true],
  [450, '4.700.123', true],
  [250, '5.0.0', false],
  [354, '3.0.0', false],
  [250, '', false],
  [250, '2.0.0 Ok\r\n250 2.0.0', false],
  [600, '6.0.0', false],
  [Number.NaN, '2.0.0', false],
])('judges the reply %s %j of a handler', (code, enhanced, valid) => {
  expect(isValidReply({ code, enhanced, text: '' })).toBe(valid)
})
