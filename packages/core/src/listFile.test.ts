import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { FilterError, LIST_LINE_LENGTH, LIST_LINES, parseListFile } from './index.ts'

const read = (text: string): [string, number][] =>
  parseListFile(text, '/etc/list').map(({ text: entry, place }) => [entry, 'line' in place ? place.line : 0])

test.each([
  ['', []],
  ['\ufeff', []],
  ['\n\n', []],
  ['a@example.com', [['a@example.com', 1]]],
  ['\ufeffa@example.com\n', [['a@example.com', 1]]],
  [
    '# all\n\n  a@example.com \t# me\r\n\t# x\r\nb#c@example.com\n',
    [
      ['a@example.com', 3],
      ['b#c@example.com', 5],
    ],
  ],
  ['  #\n!a@b #', [['!a@b', 2]]],
  [
    '/a[#]b/ # x\n"a \\#b"@c',
    [
      ['/a[#]b/', 1],
      ['"a \\#b"@c', 2],
    ],
  ],
  [
    'a\n \nb',
    [
      ['a', 1],
      ['b', 3],
    ],
  ],
] satisfies [string, [string, number][]][])('%j has the entries %j', (text, expected) => {
  expect(read(text)).toEqual(expected)
})

test.each([
  ['a\nfile:/etc/other', 2, 'expected an entry, got the name of a file'],
  ['a\rb', 1, 'expected text without control characters'],
  ['a\n\u0000', 2, 'expected text without control characters'],
  ['a\u001b[31m', 1, 'expected text without control characters'],
  [`\n${'a'.repeat(LIST_LINE_LENGTH + 1)}`, 2, 'expected a line of at most 1024 characters'],
  ['\n'.repeat(LIST_LINES) + 'a', LIST_LINES + 1, 'expected at most 1000000 lines'],
])('an error names the file, the line and the cure (%#)', (text, line, message) => {
  let caught: unknown
  try {
    read(text)
  } catch (error) {
    caught = error
  }
  expect(caught).toBeInstanceOf(FilterError)
  expect(caught).toMatchObject({ code: 'E_CONFIG', message, place: { file: '/etc/list', line } })
  expect((caught as FilterError).hint).toBeDefined()
})

test('takes lines and files up to their bounds', () => {
  expect(read('a'.repeat(LIST_LINE_LENGTH) + '\r\n')).toHaveLength(1)
  expect(read('\n'.repeat(LIST_LINES - 1) + 'a\n')).toEqual([['a', LIST_LINES]])
})

test('an entry is one that has been written, whatever else stands in the file', () => {
  const piece = fc.constantFrom('a', ' ', '\t', '#', '\r\n', '\n', '@', '/', 'file:')
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const text = pieces.join('')
      try {
        for (const [entry, line] of read(text)) {
          expect(entry).toMatch(/^[^\s#]([^\r\n]*[^\s])?$/)
          expect(text.split('\n')[line - 1]).toContain(entry)
        }
      } catch (error) {
        if (!(error instanceof FilterError)) throw error
      }
    }),
  )
})
