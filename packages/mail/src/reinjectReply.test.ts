import { expect, test } from '@jest/globals'
import { queueIdOf, replyLine, ReplyReader } from './reinjectReply.ts'

function read(chunks: readonly Buffer[]): string[] {
  const reader = new ReplyReader()
  const replies: string[] = []
  for (const chunk of chunks) {
    reader.push(chunk)
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) replies.push(reply)
  }
  return replies
}

test('takes the same replies out of every split', () => {
  const bytes = Buffer.from(
    '220 hi\r\n250-a\r\n250-b \xe9\r\n250 c\r\n250\r\n354 go\n450 4.2.0 x\r\n',
    'latin1',
  )
  const replies = ['220 hi', '250-a\n250-b \xe9\n250 c', '250', '354 go', '450 4.2.0 x']
  for (let at = 0; at <= bytes.length; at++) {
    expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(replies)
  }
  expect(read([...bytes].map((byte) => Buffer.of(byte)))).toEqual(replies)
})

test.each([
  ['an empty line', '\r\n'],
  ['a line without a code', 'hello\r\n'],
  ['a short code', '25 ok\r\n'],
  ['a long code', '2500 ok\r\n'],
  ['a code below 200', '199 ok\r\n'],
  ['a code above 599', '600 ok\r\n'],
  ['a code that changes', '250-a\r\n550 b\r\n'],
  ['a code that changes back', '550-a\r\n250-b\r\n550 c\r\n'],
  ['a line break within the text', '250 ok\r\nX-Evil: 1\r\n'],
  ['NUL', '250 o\0k\r\n'],
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\n'],
  ['a reply of more than 64 KiB', `${'250-xxxxxxxxxxxxxxxxxxxxxxxxxx\r\n'.repeat(2200)}250 end\r\n`],
  ['a reply that never ends', `${'250-\r\n'.repeat(14_000)}`],
  ['a line that never ends', `250 ${'x'.repeat(65_536)}`],
])('refuses %s', (_, text) => {
  expect(() => read([Buffer.from(text, 'latin1')])).toThrow(
    expect.objectContaining({ code: 'E_REINJECT_PROTOCOL' }),
  )
})

test('takes a reply of just under 64 KiB', () => {
  const text = `250-${'x'.repeat(60_000)}\r\n250 end\r\n`
  expect(read([Buffer.from(text)])).toHaveLength(1)
})

test('gives the replies before the malformed one', () => {
  const reader = new ReplyReader()
  reader.push(Buffer.from('550 5.1.1 no\r\nboo\r\n'))
  expect(reader.next()).toBe('550 5.1.1 no')
  expect(() => reader.next()).toThrow('malformed')
})

test.each([
  ['250 2.0.0 Ok: queued as 4AB', '250 2.0.0 Ok: queued as 4AB'],
  ['550-5.1.1 <a@b>: no\n550 5.1.1 such user', '550 5.1.1 <a@b>: no such user'],
  ['550-first\n550-\n550 third', '550 first  third'],
  ['250', '250'],
  ['550 tab\there \x1b[31m caf\xe9', '550 tab?here ?[31m caf?'],
  [`550 ${'x'.repeat(5000)}`, `550 ${'x'.repeat(996)}`],
])('writes %j on one line', (reply, line) => {
  expect(replyLine(reply)).toBe(line)
})

test.each([
  ['250 2.0.0 Ok: queued as 4bQ2Wl1Zz9z', '4bQ2Wl1Zz9z'],
  ['250 2.0.0 Ok: queued as 4A?B', '4A'],
  [`250 queued as ${'A'.repeat(65)}`, undefined],
  ['250 2.1.5 <a@b> Saved', undefined],
])('reads the queue id in %j', (line, queueId) => {
  expect(queueIdOf(line)).toBe(queueId)
})
