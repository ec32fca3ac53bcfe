import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, test } from '@jest/globals'
import { describeMessage, DISPLAY_LIMITS, headerSubject, type DisplayedMessage } from './display.ts'

const never = new AbortController().signal
const read = async (text: string | Buffer, limits = {}): Promise<DisplayedMessage> =>
  await describeMessage(Readable.from([Buffer.from(text)]), { ...DISPLAY_LIMITS, ...limits }, never)

const MIXED = [
  'From: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>',
  'To: a@example.org, "B, b" <b@example.org>',
  'Subject: =?utf-8?b?RsOqdGU=?=',
  'Date: Tue, 24 Nov 2026 08:00:00 +0100',
  'Content-Type: multipart/mixed; boundary=x',
  '',
  '--x',
  'Content-Type: text/plain; charset=iso-8859-1',
  'Content-Transfer-Encoding: quoted-printable',
  '',
  'd=E9j=E0 vu',
  '--x',
  'Content-Type: application/zip; name="=?utf-8?q?f=C3=AAte.zip?="',
  'Content-Transfer-Encoding: base64',
  '',
  'AAECAw==',
  '--x',
  'Content-Type: message/rfc822',
  'Content-Disposition: inline',
  '',
  'Subject: inner',
  '',
  'hello',
  '--x--',
  '',
].join('\r\n')

test('shows what people ask for', async () => {
  expect(await read(MIXED)).toEqual({
    subject: 'Fête',
    from: '"Zoë" <zoe@example.org>',
    to: 'a@example.org, "B, b" <b@example.org>',
    date: new Date('2026-11-24T07:00:00Z'),
    text: 'déjà vu',
    attachments: [
      { name: 'fête.zip', type: 'application/zip', sizeBytes: 4 },
      { type: 'message/rfc822', sizeBytes: 23 },
    ],
    truncated: false,
  })
})

test.each([
  ['<p>one</p><script>evil("</p>")</script ><P>two<BR>three', 'one\n\ntwo\nthree'],
  ['<style>p{}</style>a<!-- <p>hidden --><b>b</b>\n  c', 'ab c'],
  [
    '&lt;b&gt; &amp;amp; &#233;&#xE9; &#0; &#x110000; &bogus; &nbsp;x',
    '<b> &amp; éé &#0; &#x110000; &bogus; x',
  ],
  ['a < b <', 'a < b <'],
  ['a<!-- open', 'a'],
  ['a<script>open', 'a'],
  ['<title>t</title>&lt;script&gt;', '<script>'],
])('shows the HTML %j as text', async (html, text) => {
  expect(await read(`Content-Type: text/html\r\n\r\n${html}`)).toMatchObject({ text })
})

test('shows an attachment that names no type', async () => {
  const message =
    'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type:\r\n\r\nx\r\n--b--\r\n'
  expect(await read(message)).toMatchObject({
    attachments: [{ type: 'application/octet-stream', sizeBytes: 1 }],
  })
})

test('shows the plain text where there is both', async () => {
  const part = (type: string, text: string): string => `--x\r\nContent-Type: text/${type}\r\n\r\n${text}\r\n`
  const both = (plain: string): string =>
    `Content-Type: multipart/alternative; boundary=x\r\n\r\n${part('plain', plain)}${part('html', '<b>rich</b>')}--x--`
  expect(await read(both('plain'))).toMatchObject({ text: expect.stringMatching(/^plain\n?$/) })
  expect(await read(both(' '))).toMatchObject({ text: 'rich' })
})

test.each([
  ['nothing', ''],
  ['no fields', '\r\nbody\r\n'],
  ['a date that is none', 'Date: yesterday\r\n\r\nbody\r\n'],
])('leaves out what the message does not tell: %s', async (_, text) => {
  const shown = await read(text)
  expect(shown).toEqual({ text: text === '' ? '' : 'body\n', attachments: [], truncated: false })
})

test('stops at the limits and says so', async () => {
  expect(
    await read(`Subject: ${'s'.repeat(50)}\r\n\r\n${'b'.repeat(50)}`, { valueLength: 10 }),
  ).toMatchObject({
    subject: 's'.repeat(10),
    truncated: false,
  })
  expect(await read('\r\n12345', { textLength: 5 })).toMatchObject({ text: '12345', truncated: false })
  expect(await read('\r\n123456', { textLength: 5 })).toMatchObject({ text: '12345', truncated: true })
  expect(await read('\r\n1234', { inputBytes: 6 })).toMatchObject({ text: '1234', truncated: false })
  expect(await read('\r\n12345', { inputBytes: 6 })).toMatchObject({ text: '1234', truncated: true })
  expect(await read(MIXED, { parts: 4 })).toMatchObject({ truncated: false })
  expect(await read(MIXED, { parts: 3 })).toMatchObject({ subject: 'Fête', truncated: true })
  const { attachments, truncated } = await read(MIXED, { attachments: 1 })
  expect([attachments.length, truncated]).toEqual([1, true])
})

function nested(depth: number): string {
  const open = Array.from(
    { length: depth },
    (_, level) => `Content-Type: multipart/mixed; boundary=b${level}\r\n\r\n--b${level}\r\n`,
  )
  return `Subject: deep\r\n${open.join('')}\r\ntext\r\n`
}

const repeat = (count: number, line: string): string => line.repeat(count)
const HOSTILE: readonly (readonly [string, string])[] = [
  ['10,000 nested parts', nested(10_000)],
  ['150 nested parts, each line a boundary of none', `${nested(150)}${repeat(50_000, '--y\r\n')}`],
  ['10,000 parts', `Content-Type: multipart/mixed; boundary=x\r\n\r\n${repeat(10_000, '--x\r\n\r\nb\r\n')}`],
  ['100,000 fields', `Subject: many\r\n${repeat(100_000, 'X-A: b\r\n')}\r\nbody`],
  ['30,000 fields', `Subject: many\r\n${repeat(30_000, 'X: =?b\r\n')}\r\nbody`],
  ['a field without end', `Subject: long\r\nX: ${repeat(200_000, 'a'.repeat(10))}`],
  ['10,000 addresses', `To: ${repeat(10_000, '"a, b" <a@b>, ')}\r\n\r\nbody`],
  ['20,000 open quotes', `To: ${repeat(20_000, '"<(')}\r\n\r\nbody`],
  ['60,000 nested elements', `Content-Type: text/html\r\n\r\n${repeat(60_000, '<b>')}`],
  ['80,000 open tags', `Content-Type: text/html\r\n\r\n${repeat(80_000, '<a')}`],
  ['950 nested quotations', `Content-Type: text/html\r\n\r\n${repeat(950, '<blockquote>a ')}`],
  ['2 MiB of blanks', `Content-Type: text/html\r\n\r\n${repeat(200_000, ' \n \n')}`],
  ['50,000 comments', `Content-Type: text/html\r\n\r\n${repeat(50_000, '<!-')}`],
  ['50,000 table cells', `Content-Type: text/html\r\n\r\n<table>${repeat(50_000, '<td>')}`],
  ['50,000 entities', `Content-Type: text/html\r\n\r\n${repeat(50_000, '&amp;')}`],
  ['UTF-7', 'Content-Type: text/plain; charset=utf-7\r\n\r\n+ADw-script+AD4-\r\n'],
]

test.each(HOSTILE)('answers soon for %s', async (_, text) => {
  const shown = await describeMessage(Readable.from([Buffer.from(text)]), DISPLAY_LIMITS, never)
  expect(JSON.stringify(shown).length).toBeLessThan(200_000)
})

test('ends when the signal aborts, and frees the source', async () => {
  const source = new Readable({ read() {} })
  source.push('Subject: endless\r\n')
  const controller = new AbortController()
  const shown = describeMessage(source, DISPLAY_LIMITS, controller.signal)
  controller.abort()
  await expect(shown).rejects.toMatchObject({ code: 'E_ABORTED' })
  expect(source.destroyed).toBe(true)
})

test('passes on the failure of the source', async () => {
  const source = new Readable({
    read() {
      this.destroy(new Error('disk'))
    },
  })
  await expect(describeMessage(source, DISPLAY_LIMITS, never)).rejects.toThrow('disk')
})

test('gives the same however the bytes are split', async () => {
  const whole = await read(MIXED)
  const bytes = Buffer.from(MIXED)
  for (let at = 1; at < bytes.length; at += 7) {
    const source = Readable.from([bytes.subarray(0, at), bytes.subarray(at)])
    expect(await describeMessage(source, DISPLAY_LIMITS, never)).toEqual(whole)
  }
})

const corpus = join(import.meta.dirname, '../../../../shared/fixtures/mail/malformed')
const malformed = existsSync(corpus) ? readdirSync(corpus).filter((name) => name.endsWith('.eml')) : []
const withCorpus = malformed.length > 0 ? test : test.skip

// oxlint-disable jest/no-standalone-expect -- it is a test, where the corpus is there
withCorpus.each(malformed.length > 0 ? malformed : ['absent'])(
  'answers for the malformed %s',
  async (name) => {
    const shown = await read(readFileSync(join(corpus, name)))
    expect(JSON.stringify(shown).length).toBeLessThan(200_000)
  },
)
// oxlint-enable jest/no-standalone-expect

test.each([
  ['Subject: plain\r\n\r\n', 'plain'],
  ['subject : blank before the colon\r\n', 'blank before the colon'],
  ['From: a\r\nSUBJECT: folded\r\n\tonce\r\n twice\r\nTo: b\r\n', 'folded\tonce twice'],
  ['Subject: first\r\nSubject: second\r\n', 'first'],
  ['Subject:\r\n', ''],
  ['X-Subject: no\r\nFrom: Subject: no\r\n', undefined],
  ['', undefined],
  ['Subject: =?utf-8?B?w6k=?= and =?ISO-8859-1?q?=E9_?= end\r\n', 'é and é  end'],
  ['Subject: =?utf-8?Q?a?=\r\n =?utf-8?Q?b?=\r\n', 'ab'],
  ['Subject: =?utf-8?Q?=C3?= =?UTF-8?Q?=A9?=\r\n', 'é'],
  ['Subject: =?utf-8?b?w6k=?= =?koi8-r?b?wQ==?=\r\n', 'éа'],
  ['Subject: =?utf-8*fr?q?a?=\r\n', 'a'],
  ['Subject: =?nonsense?q?a?= =?utf-7?q?+ADw-?=\r\n', '=?nonsense?q?a?= =?utf-7?q?+ADw-?='],
  ['Subject: =?utf-8?q?=FF=C3?=\r\n', '\ufffd\ufffd'],
  ['Subject: =?utf-8?q?open\r\n', '=?utf-8?q?open'],
])('decodes the subject of %j', (header, subject) => {
  expect(headerSubject(Buffer.from(header))).toBe(subject)
})

test('reads raw 8-bit subjects: UTF-8, else windows-1252', () => {
  expect(headerSubject(Buffer.from('Subject: fête\r\n', 'utf8'))).toBe('fête')
  expect(headerSubject(Buffer.from('Subject: fête\r\n', 'latin1'))).toBe('fête')
})

test('bounds a subject of 1 MiB', () => {
  const header = Buffer.from(`Subject: ${'=?utf-8?q?'.repeat(100_000)}\r\n`)
  expect(headerSubject(header)?.length).toBeLessThanOrEqual(4096)
})
