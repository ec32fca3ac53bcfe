import { expect, test } from '@jest/globals'
import type { HeaderEdit } from '@ecluse/core'
import { createSpool, type SpooledMessage } from '@ecluse/mail'
import { headerDiff } from './headerDiff.ts'

async function spooled(text: string): Promise<SpooledMessage> {
  const writer = createSpool({ directory: '/nonexistent', memoryBytes: 10_000_000 }).create()
  await writer.write(Buffer.from(text, 'latin1'))
  return await writer.finish()
}

const received: HeaderEdit = { op: 'prepend', name: 'Received', value: 'by us id 1' }
const tag: HeaderEdit = { op: 'tag-subject', tag: '[x] ' }
const remove = (name: string): HeaderEdit => ({ op: 'remove', name })

test.each<[string, string, readonly HeaderEdit[], readonly string[]]>([
  ['nothing but what is added', 'A: 1\r\nB: 2\r\n\r\nbody', [received], ['+Received: by us id 1']],
  [
    'what is added and removed under the same name',
    'X-Spam-Flag: NO\r\nA: 1\r\nX-Spam-Flag: YES\r\n\r\n',
    [remove('X-Spam-*'), { op: 'prepend', name: 'X-Spam-Flag', value: 'YES' }, received],
    ['+X-Spam-Flag: YES', '+Received: by us id 1', '-X-Spam-Flag: NO', '-X-Spam-Flag: YES'],
  ],
  [
    'folded fields',
    'X-Spam-Status: a,\r\n\tb\r\nA: 1\r\n\r\n',
    [remove('X-Spam-*'), received],
    ['+Received: by us id 1', '-X-Spam-Status: a,\r\n\tb'],
  ],
  [
    'the subject, and no other field of that name',
    'Subject: one\r\nA: 1\r\nSubject: two\r\n\r\n',
    [received, tag],
    ['+Received: by us id 1', '-Subject: one', '+Subject: [x] one'],
  ],
  [
    'a subject where there was none',
    'A: 1\r\n\r\n',
    [received, tag],
    ['+Received: by us id 1', '+Subject: [x]'],
  ],
  ['a message without header', '\r\nbody', [received], ['+Received: by us id 1']],
  ['a header that the body cuts off', 'A: 1\r\nno field\r\n', [received], ['+Received: by us id 1']],
  [
    'bytes in UTF-8 and others',
    'X-A: \xc3\xa9\r\nX-A: \xe9\r\n\r\n',
    [remove('X-A')],
    ['-X-A: \xe9', '-X-A: \xe9'],
  ],
])('tells %s', async (_name, text, edits, expected) => {
  const { changes, leftOut } = await headerDiff(await spooled(text), edits)
  expect(changes.map(({ op, field }) => `${op}${field}`)).toEqual(expected)
  expect(leftOut).toBe(0)
})

test('tells the subject decoded, before and after', async () => {
  const message = await spooled('Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n')
  expect((await headerDiff(message, [tag])).subject).toEqual({ before: 'Grüße', after: '[x] Grüße' })
  expect((await headerDiff(await spooled('A: 1\r\n\r\n'), [tag])).subject).toEqual({ after: '[x]' })
  expect((await headerDiff(message, [received])).subject).toBeUndefined()
})

test('tells 200 changes and counts the rest, and cuts long fields', async () => {
  const many = await headerDiff(await spooled(`${'X-Spam-A:\r\n'.repeat(90_000)}\r\n`), [remove('X-Spam-*')])
  expect([many.changes.length, many.leftOut]).toEqual([200, 89_800])
  const long = await headerDiff(await spooled(`X-Spam-A: ${'a'.repeat(500_000)}\r\n\r\n`), [
    remove('X-Spam-*'),
  ])
  expect(long.changes).toEqual([{ op: '-', field: `X-Spam-A: ${'a'.repeat(1990)}… (498010 more)` }])
})
