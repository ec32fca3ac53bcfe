import { expect, test } from '@jest/globals'
import { headerReadsOneWay } from './message.ts'

test.each<[boolean, string]>([
  [true, 'From: a@example.org\r\n\r\n'],
  [true, 'From:a@example.org\r\nSubject: a\r\n\t b : c\r\nX-Empty:\r\n\r\n'],
  [true, 'Subject: \xff\x1b :\r\n\r\n'],
  [false, ''],
  [false, '\r\n'],
  // Cut off, or ended by a line that is no field.
  [false, 'From: a@example.org\r\n'],
  [false, 'From: a@example.org'],
  [false, 'From: a@example.org\n\n'],
  [false, 'X: 1\rFrom: a@example.org\r\n\r\n'],
  [false, 'X: 1\nFrom: a@example.org\r\n\r\n'],
  [false, 'X: 1\r\rFrom: a@example.org\r\n\r\n'],
  [false, 'X: 1\0\r\n\r\n'],
  [false, 'X: 1\r\n \r\nFrom: a@example.org\r\n\r\n'],
  [false, 'X: 1\r\n\t \t\r\n\r\n'],
  [false, 'From : a@example.org\r\n\r\n'],
  [false, 'X: 1\r\nFrom\t: a@example.org\r\n\r\n'],
])('says %p of %j', (expected, text) => {
  expect(headerReadsOneWay(Buffer.from(text, 'latin1'))).toBe(expected)
})
