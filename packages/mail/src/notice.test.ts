import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { simpleParser, type ParsedMail } from 'mailparser'
import { composeNotice, NOTICE_MESSAGES, type NoticeMessage, type NoticeRequest } from './notice.ts'
import { NOTICE_DATE, noticeMessage, noticeSender, sampleNotice } from './notice.testkit.ts'
import { NOTICE_TEXTS } from './noticeTemplates.ts'

const FOLDER = new URL('../../../fixtures/notices/', import.meta.url)

test.each(
  NOTICE_TEXTS.flatMap((kind) => (['en', 'fr'] as const).map((language) => [kind, language] as const)),
)('%s in %s is, byte for byte, what stands in fixtures/notices', async (kind, language) => {
  const { bytes } = await sampleNotice(kind, language)
  expect(bytes.toString()).toBe(readFileSync(new URL(`${kind}.${language}.eml`, FOLDER), 'utf8'))
})

async function compose(
  message: Partial<NoticeMessage>,
  changes: Partial<NoticeRequest> = {},
): Promise<Buffer> {
  const request = {
    kind: 'admin',
    to: 'postmaster@example.org',
    date: NOTICE_DATE,
    id: 'ID.admin',
    ...changes,
  } as const
  const { bytes } = await composeNotice(await noticeSender(), {
    messages: [noticeMessage(message)],
    ...request,
  })
  return bytes
}

const FIELDS = [
  'to',
  'from',
  'subject',
  'message-id',
  'date',
  'auto-submitted',
  'content-language',
  'mime-version',
  'content-type',
]

const HOSTILE = [
  'x\r\nBcc: victim@example.net\r\n\r\n<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>"\'&',
  'https://evil.example/?a=1&b=2',
  'invoice\u202efdp.exe',
  '\u001b[31mred\u0007',
  '{{#items}}{{contact}}{{/items}}',
  '=?utf-8?Q?=0D=0ABcc:_x@example.net?=',
  'a\u2028b\u2029c\u0085d',
  '\udc80\ud83d',
  '\u{e0041}\u200b\u2066x',
]

/** What must hold of every notice, whatever it tells of. */
async function isHarmless(bytes: Buffer): Promise<ParsedMail> {
  const text = bytes.toString('latin1')
  const head = text.slice(0, text.indexOf('\r\n\r\n') + 2)
  expect(bytes.toString()).toMatch(/^[\x20-\x7e\r\n]*$/)
  expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/)
  expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998)
  const names = head
    .split(/\r\n(?![ \t])/)
    .flatMap((field) => (field === '' ? [] : [(field.split(':', 1)[0] ?? '').toLowerCase()]))
  expect(names.toSorted()).toEqual(FIELDS.toSorted())
  const mail = await simpleParser(bytes)
  const html = String(mail.html)
  // Of all tags only those of our texts.
  const tags = new Set(
    html.match(/<\/?[a-z!][^\s>/]*/gi)?.map((tag) => tag.replace(/[</]/g, '').toLowerCase()),
  )
  const ours = [
    '!doctype',
    'html',
    'head',
    'meta',
    'style',
    'body',
    'main',
    'h1',
    'p',
    'table',
    'tr',
    'th',
    'td',
    'tbody',
    'strong',
    'code',
    'br',
    'footer',
  ]
  expect([...tags].filter((tag) => !ours.includes(tag))).toEqual([])
  expect(html).not.toMatch(/\bon\w+=["']|javascript:\S/i)
  const shown = `${mail.subject ?? ''}${mail.text ?? ''}${html}`
  expect(shown).not.toMatch(/[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udbff](?![\udc00-\udfff])/)
  // oxlint-disable-next-line no-control-regex -- what must not be there
  expect(shown).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]/)
  return mail
}

test.each(HOSTILE)('%j stays text, wherever it comes from', async (hostile) => {
  const bytes = await compose({
    subject: hostile,
    mailFrom: hostile,
    client: hostile,
    queueId: hostile,
    viruses: [hostile],
    recipients: [{ address: hostile, category: 'virus', destiny: 'discard' }],
  })
  const mail = await isHarmless(bytes)
  expect(mail.to).toMatchObject({ text: 'postmaster@example.org' })
  expect(mail.attachments).toEqual([])
})

test('a subject that is a tag is seen as it is, in both forms', async () => {
  const mail = await simpleParser(await compose({ subject: '<b>&amp;' }))
  expect(mail.text).toContain('Subject:     <b>&amp;')
  expect(mail.html).toContain('<td>&lt;b&gt;&amp;amp;</td>')
})

test('no mail program makes a link of an address that a stranger wrote', async () => {
  const mail = await simpleParser(await compose({ subject: 'see https://evil.example/' }))
  expect(mail.text).toContain('see https[:]//evil.example/')
  expect(mail.text).not.toContain('https://')
})

test('nothing that a stranger writes makes more than a notice', async () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(...HOSTILE),
    fc.string({ unit: fc.constantFrom('<', '{{', '\r\n', '"', '\u202e', '=?', '.') }),
  )
  let made = 0
  await fc.assert(
    fc.asyncProperty(text, text, text, async (subject, mailFrom, virus) => {
      await isHarmless(await compose({ subject, mailFrom, viruses: [virus] }))
      made++
    }),
    { numRuns: 60 },
  )
  expect(made).toBe(60)
})

test('a long list is cut, and the rest is counted', async () => {
  const messages = Array.from({ length: NOTICE_MESSAGES + 5 }, (_, index) =>
    noticeMessage({ id: `id${index}` }),
  )
  const mail = await simpleParser(await compose({}, { messages, more: 1000 }))
  expect(mail.text).toContain(`found viruses in ${NOTICE_MESSAGES + 1005} message(s)`)
  expect(mail.text).toContain('And 1005 more: see the log.')
  expect(mail.text).toContain(`id${NOTICE_MESSAGES - 1}`)
  expect(mail.text).not.toContain(`id${NOTICE_MESSAGES}\n`)
})

test('however much a message has of everything, its notice is small', async () => {
  const long = 'x'.repeat(1_000_000)
  const recipients = Array.from(
    { length: 1000 },
    () => ({ address: long, category: 'virus', destiny: 'discard' }) as const,
  )
  const bytes = await compose({
    subject: long,
    mailFrom: long,
    viruses: Array.from({ length: 1000 }, () => long),
    recipients,
  })
  expect(bytes.length).toBeLessThan(100_000)
})

test('what a message has not is told in words', async () => {
  const { subject: _subject, client: _client, queueId: _queueId, kept: _kept, ...bare } = noticeMessage()
  const bytes = await compose({}, { messages: [bare] })
  const { text } = await simpleParser(bytes)
  expect(text).toMatch(/Subject: {5}\(no subject\)\nClient: {6}unknown\n/)
  expect(text).not.toContain('Kept as')
})

test('an address with letters beyond ASCII needs SMTPUTF8', async () => {
  const request = {
    kind: 'sender',
    to: 'grüße@example.org',
    date: NOTICE_DATE,
    id: 'x',
    messages: [noticeMessage()],
  } as const
  const { smtpUtf8 } = await composeNotice(await noticeSender(), request)
  expect(smtpUtf8).toBe(true)
})

const LINK = `https://mail.example.org/quarantine/release/OWq7VHtyZuJm?to=${'%C3%A9'.repeat(127)}&key=${'x'.repeat(43)}`
const toPaul = { kind: 'recipients', to: 'paul@example.org' } as const

test('a list has the link where the recipient may release it himself, whole, in both forms', async () => {
  const mail = await simpleParser(await compose({ release: `${LINK}&"'<` }, toPaul))
  expect(mail.text).toContain(`\nRelease:  ${LINK}&"'<\n`)
  expect(mail.text).toContain('Follow its link')
  expect(mail.html).toContain(`<a href="${LINK.replaceAll('&', '&amp;')}&amp;&quot;&#39;&lt;">`)
})

test('a list without links says whom to ask, in both forms', async () => {
  const { text, html } = await simpleParser(await compose({}, toPaul))
  const words = 'Do you want one of them? Ask postmaster@example.org, and tell the id.'
  expect([text, String(html)]).toEqual([expect.stringContaining(words), expect.stringContaining(words)])
  expect(`${text}${String(html)}`).not.toMatch(/Release|href|link/)
})

test('a list with as many links as it may have is small', async () => {
  const messages = Array.from({ length: NOTICE_MESSAGES + 5 }, () => noticeMessage({ release: LINK }))
  expect((await compose({}, { ...toPaul, messages })).length).toBeLessThan(250_000)
})
