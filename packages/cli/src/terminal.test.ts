import { expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { describeError, escapeControls } from './terminal.ts'

test.each([
  ['plain, Écluse, 漢', 'plain, Écluse, 漢'],
  ['a\nb\r\tc', 'a\\x0ab\\x0d\\x09c'],
  ['\u001b[31m\u007f\u009b31m', '\\x1b[31m\\x7f\\x9b31m'],
  ['\u2028\u202e\u2066', '\\u{2028}\\u{202e}\\u{2066}'],
])('%j is shown as %s', (text, expected) => {
  expect(escapeControls(text)).toBe(expected)
})

test.each([
  [{}, 'what'],
  [{ hint: 'cure' }, 'what (cure)'],
  [{ place: { file: 'f' } }, 'f: what'],
  [{ place: { file: 'f', line: 2, column: 3 }, hint: 'cure' }, 'f:2:3: what (cure)'],
  [{ place: { file: 'a\nb' } }, 'a\\x0ab: what'],
])('an error with %j is told in one line', (options, expected) => {
  expect(describeError(new FilterError('E_CONFIG', 'what', options))).toBe(expected)
})
