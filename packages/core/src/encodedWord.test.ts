import { expect, test } from '@jest/globals'
import { encodeWords } from './encodedWord.ts'

test.each([
  ['', ''],
  ['***SPAM*** ', '***SPAM*** '],
  ['[Verdächtig] ', '=?UTF-8?B?W1ZlcmTDpGNodGlnXSA=?= '],
  ['\r\n', '=?UTF-8?B?DQo=?= '],
  // 15 characters of three bytes fill a word.
  ['迷'.repeat(16), `=?UTF-8?B?${'6L+3'.repeat(15)}?= =?UTF-8?B?6L+3?= `],
])('encodes %j', (text, encoded) => {
  expect(encodeWords(text)).toBe(encoded)
})
