import { expect, test } from '@jest/globals'
import { isReleaseSecret, releaseSecret } from './releaseSecret.ts'

const KEY = 'correct horse battery staple, 32 and more'
const ABOUT = { id: 'Abc-123_xyZ9', recipient: 'anna@example.org' }

test('is the same each time, and fit for a link', () => {
  expect(releaseSecret(KEY, ABOUT)).toBe(releaseSecret(KEY, { ...ABOUT }))
  expect(releaseSecret(KEY, ABOUT)).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(isReleaseSecret(KEY, releaseSecret(KEY, ABOUT), ABOUT)).toBe(true)
})

test.each([
  ['another message', KEY, { ...ABOUT, id: 'Abc-123_xyZ8' }],
  ['another recipient', KEY, { ...ABOUT, recipient: 'bob@example.org' }],
  ['the same recipient in capitals', KEY, { ...ABOUT, recipient: 'Anna@example.org' }],
  ['the two in one', KEY, { id: `${ABOUT.id}\0anna`, recipient: '@example.org' }],
  ['another key', `${KEY}!`, ABOUT],
])('does not fit %s', (_, key, about) => {
  expect(isReleaseSecret(key, releaseSecret(KEY, ABOUT), about)).toBe(false)
})

test.each([
  '',
  'x',
  releaseSecret(KEY, ABOUT).slice(0, -1),
  `${releaseSecret(KEY, ABOUT)}A`,
  '\0'.repeat(43),
  'é'.repeat(43),
  '\ud800'.repeat(43),
  `\r\n${releaseSecret(KEY, ABOUT)}`,
  releaseSecret(KEY, ABOUT).toLowerCase(),
  '../'.repeat(100_000),
])('is not %j', (given) => {
  expect(isReleaseSecret(KEY, given, ABOUT)).toBe(false)
})
