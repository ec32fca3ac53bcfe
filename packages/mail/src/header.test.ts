import { describe, expect, test } from '@jest/globals'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { HeaderEdit, Message } from '@ecluse/core'
import { editMessage, findHeaderEnd, foldField } from './header.ts'

const messageOf = (text: string, inMemory = true): Message => {
  const bytes = Buffer.from(text, 'latin1')
  return {
    id: 'AbCdEf123456',
    sizeBytes: bytes.length,
    digest: '',
    ...(inMemory && { bytes }),
    header: bytes.subarray(0, findHeaderEnd(bytes).length),
    open: (offset = 0) => Readable.from([bytes.subarray(offset)], { objectMode: false }),
  }
}
const remove: HeaderEdit = { op: 'remove', name: 'X-Spam-*' }
const flag: HeaderEdit = { op: 'prepend', name: 'X-Spam-Flag', value: 'YES' }
const tag: HeaderEdit = { op: 'tag-subject', tag: '***SPAM*** ' }

test.each<[string, string, HeaderEdit[], string]>([
  ['adds above the first field', 'A: 1\r\n\r\nb\r\n', [flag], 'X-Spam-Flag: YES\r\nA: 1\r\n\r\nb\r\n'],
  [
    'removes a folded field, whatever its case, not in the body',
    'A: 1\r\nx-sPAM-flag: NO\r\n\tmore\r\nB: 2\r\n\r\nX-Spam-Flag: body\r\n',
    [remove, flag],
    'X-Spam-Flag: YES\r\nA: 1\r\nB: 2\r\n\r\nX-Spam-Flag: body\r\n',
  ],
  [
    'removes the first and the last field',
    'X-Spam-A: 1\r\nB: 2\r\nX-Spam-C: 3\r\n\r\nb',
    [remove],
    'B: 2\r\n\r\nb',
  ],
  ['removes the obsolete form with a blank', 'X-Spam-A : 1\r\nB: 2\r\n\r\n', [remove], 'B: 2\r\n\r\n'],
  [
    'removes what a bare CR or LF would bring out',
    'A: 1\rX-Spam-A: 1\nX-Spam-B: 1\r\nB: 2\r\n\r\n',
    [remove],
    'A: 1\rB: 2\r\n\r\n',
  ],
  [
    'removes what stands between a bare CR and an empty line of one LF',
    'A: 1\rX-Spam-A: 1\n\nX-Spam-B: body\r\n',
    [remove],
    'A: 1\r\n\nX-Spam-B: body\r\n',
  ],
  ['keeps a name that only ends so', 'Not-X-Spam-A: 1\r\n\r\n', [remove], 'Not-X-Spam-A: 1\r\n\r\n'],
  [
    'keeps 8-bit and odd bytes',
    'A: \xff\0\x1b\r\nX-Spam-A: 1\r\n\r\n\xfe',
    [remove],
    'A: \xff\0\x1b\r\n\r\n\xfe',
  ],
  [
    'has a body only',
    'no header here\r\nX-Spam-A: 1\r\n',
    [remove, flag],
    'X-Spam-Flag: YES\r\n\r\nno header here\r\nX-Spam-A: 1\r\n',
  ],
  ['is empty', '', [remove, flag], 'X-Spam-Flag: YES\r\n'],
  ['has an empty header', '\r\nX-Spam-A: 1\r\n', [remove, flag], 'X-Spam-Flag: YES\r\n\r\nX-Spam-A: 1\r\n'],
  ['tags the subject', 'Subject: hi\r\n there\r\n\r\n', [tag], 'Subject: ***SPAM*** hi\r\n there\r\n\r\n'],
  ['tags once', 'subject:***SPAM*** re: ***SPAM*** hi\r\n\r\n', [tag], 'subject: ***SPAM*** re: hi\r\n\r\n'],
  [
    'tags once what it tagged where there was no subject',
    'Subject: ***SPAM***\r\n\r\n',
    [tag],
    'Subject: ***SPAM*** \r\n\r\n',
  ],
  [
    'leaves no blank line where a tag was alone on its line',
    'Subject: hi\r\n ***SPAM*** \r\n\t***SPAM***\r\n there\r\n\r\n',
    [tag],
    'Subject: ***SPAM*** hi\r\n there\r\n\r\n',
  ],
  [
    'leaves words that only begin as the tag does',
    'Subject: ***SPAM***? no\r\n\r\n',
    [tag],
    'Subject: ***SPAM*** ***SPAM***? no\r\n\r\n',
  ],
  [
    'tags a missing subject',
    'A: 1\r\n\r\n',
    [tag, flag],
    'X-Spam-Flag: YES\r\nSubject: ***SPAM***\r\nA: 1\r\n\r\n',
  ],
  [
    'has no header and begins with a blank',
    ' x\r\nX-Spam-Flag: forged\r\n\r\n',
    [flag],
    'X-Spam-Flag: YES\r\n\r\n x\r\nX-Spam-Flag: forged\r\n\r\n',
  ],
  ['has no header and no new field', ' x\r\n', [remove], ' x\r\n'],
  ['has no byte', '', [flag], 'X-Spam-Flag: YES\r\n'],
  ['tags an empty subject', 'Subject:\r\nA: 1\r\n\r\n', [tag], 'Subject: ***SPAM*** \r\nA: 1\r\n\r\n'],
])('a message that %s', async (_name, input, edits, expected) => {
  for (const inMemory of [true, false]) {
    const outgoing = editMessage(messageOf(input, inMemory), edits)
    const bytes = outgoing.chunks ? Buffer.concat(outgoing.chunks) : await buffer(outgoing.open())
    expect(bytes.toString('latin1')).toBe(expected)
    expect(outgoing.sizeBytes).toBe(bytes.length)
    expect((await buffer(outgoing.open())).toString('latin1')).toBe(expected)
  }
})

describe('findHeaderEnd', () => {
  test.each<[string, string, boolean]>([
    ['A: 1\r\n\r\n', '', true],
    ['A: 1\r\n b\r\n\r\n', 'x', true],
    ['A: 1\n\n', 'x\r\n\r\n', true],
    ['A: 1\r\r', 'x', true],
    ['A: 1\r\n', 'not a field\r\n\r\n', true],
    ['', ' begins with a blank: 1\r\n\r\n', true],
    ['\r\n', 'A: 1\r\n\r\n', true],
    [`A${' '.repeat(5000)}: 1\r\n\r\n`, 'x', true],
    [`${'A'.repeat(5000)}: 1\r\n\r\n`, 'x', true],
    ['A: 1\r\nB:', '', false],
    ['A: 1\r\n', 'X-Sp', false],
  ])('%j then %j', (header, body, certain) => {
    expect(findHeaderEnd(Buffer.from(header + body))).toEqual({ length: header.length, certain })
  })
  test('looks at no more than 1 MiB', () => {
    const endless = Buffer.from('A: 1\r\n'.repeat(400_000))
    expect(findHeaderEnd(endless).length).toBeLessThanOrEqual(1024 * 1024)
  })
})

describe('foldField', () => {
  test.each([
    ['Short', 'a b', 'Short: a b\r\n'],
    ['X-Spam-Level', '', 'X-Spam-Level:\r\n'],
    [
      'X-Spam-Status',
      'No, score=-1 tagged_above=-9999 required=6.31 tests=[ALL_TRUSTED=-1] autolearn=disabled',
      'X-Spam-Status: No, score=-1 tagged_above=-9999 required=6.31\r\n tests=[ALL_TRUSTED=-1] autolearn=disabled\r\n',
    ],
    [
      'X-Spam-Status',
      `Yes, score=9 tests=[${'RULE_NUMBER=1,'.repeat(8)}LAST=1] autolearn=no`,
      'X-Spam-Status: Yes, score=9 tests=[RULE_NUMBER=1,RULE_NUMBER=1,RULE_NUMBER=1,\r\n' +
        ' RULE_NUMBER=1,RULE_NUMBER=1,RULE_NUMBER=1,RULE_NUMBER=1,RULE_NUMBER=1,LAST=1]\r\n autolearn=no\r\n',
    ],
    ['A', 'x'.repeat(100), `A: ${'x'.repeat(100)}\r\n`],
  ])('%s: %s', (name, value, expected) => {
    expect(foldField(name, value)).toBe(expected)
  })
  test('no line is longer than 78 columns where there is a place to fold', () => {
    for (let length = 1; length < 60; length++) {
      const lines = foldField(
        'Name',
        `${'w'.repeat(length)} ${'v'.repeat(length)},${'u'.repeat(length)} t`,
      ).split('\r\n')
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(78)
    }
  })
})
