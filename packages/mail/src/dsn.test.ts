import { expect, test } from '@jest/globals'
import { simpleParser } from 'mailparser'
import { composeDsn, type DsnRequest } from './dsn.ts'
import {
  bounced,
  bouncedEnvelope,
  HEADER,
  NOTICE_DATE,
  noticeMessage,
  noticeSender,
} from './notice.testkit.ts'

interface Part {
  readonly type: string
  readonly encoding: string
  readonly content: string
}

/** The parts of a multipart message, as they stand; latin1. */
function partsOf(bytes: Buffer): { readonly head: string; readonly parts: Part[] } {
  const text = bytes.toString('latin1')
  const [, boundary = ''] = /boundary="([^"]+)"/.exec(text) ?? []
  const [head = '', ...parts] = text.split(`--${boundary}`)
  expect(parts.pop()?.trim()).toBe('--')
  return {
    head,
    parts: parts.map((part) => {
      const end = part.indexOf('\r\n\r\n')
      const field = (name: string): string =>
        new RegExp(`^${name}: ([^;\r]+)`, 'im').exec(part.slice(0, end))?.[1] ?? ''
      return {
        type: field('Content-Type'),
        encoding: field('Content-Transfer-Encoding'),
        content: part.slice(end + 4).replace(/\r\n$/, ''),
      }
    }),
  }
}

async function compose(
  changes: Partial<DsnRequest> = {},
): Promise<ReturnType<typeof partsOf> & { smtpUtf8: boolean; bytes: Buffer }> {
  const { bytes, smtpUtf8 } = await composeDsn(await noticeSender(), {
    envelope: bouncedEnvelope(),
    about: [bounced({ address: 'bob@example.com' })],
    message: noticeMessage({ viruses: [], mailFrom: 'anne@example.org' }),
    header: HEADER,
    date: NOTICE_DATE,
    ...changes,
  })
  return { ...partsOf(bytes), smtpUtf8, bytes }
}

/** Blocks of fields, each field as name and value. */
function blocksOf(content = ''): Record<string, string>[] {
  return content
    .trimEnd()
    .split('\r\n\r\n')
    .map((block) =>
      Object.fromEntries(block.split('\r\n').map((line) => line.split(/: (.*)/, 2) as [string, string])),
    )
}

test('is a report of RFC 6522, to the sender, which nothing answers', async () => {
  const { head, parts, smtpUtf8 } = await compose()
  expect(head).toMatch(/^Content-Type: multipart\/report; report-type=delivery-status;\r\n boundary=/m)
  expect(head).toMatch(/^To: anne@example\.org\r$/m)
  expect(head).toMatch(/^Auto-Submitted: auto-replied\r$/m)
  expect(head).toMatch(/^In-Reply-To: <20261124\.1@example\.org>\r$/m)
  expect(parts.map(({ type }) => type)).toEqual([
    'text/plain',
    'message/delivery-status',
    'text/rfc822-headers',
  ])
  expect(smtpUtf8).toBe(false)
})

test('has every field of RFC 3464 that we know', async () => {
  const { parts } = await compose({
    about: [
      bounced({ address: 'bob@example.com', orcpt: 'rfc822;Bob+2Bnews@example.com', notify: ['FAILURE'] }),
      bounced({ address: 'eve@example.com' }, { category: 'oversized', reason: 'Message size exceeds' }),
    ],
  })
  expect(blocksOf(parts[1]?.content)).toEqual([
    {
      'Original-Envelope-Id': 'QQ314159+x',
      'Reporting-MTA': 'dns; mail.example.org',
      'Arrival-Date': 'Tue, 24 Nov 2026 15:00:00 +0000',
    },
    {
      'Original-Recipient': 'rfc822; Bob+news@example.com',
      'Final-Recipient': 'rfc822; bob@example.com',
      Action: 'failed',
      Status: '5.7.0',
      'Diagnostic-Code': 'smtp; 554 5.7.0 id=OWq7VHtyZuJm - spam',
      'Last-Attempt-Date': 'Tue, 24 Nov 2026 15:00:00 +0000',
      'Final-Log-ID': 'OWq7VHtyZuJm',
    },
    {
      'Final-Recipient': 'rfc822; eve@example.com',
      Action: 'failed',
      Status: '5.3.4',
      'Diagnostic-Code': 'smtp; 552 5.3.4 id=OWq7VHtyZuJm - Message size exceeds',
      'Last-Attempt-Date': 'Tue, 24 Nov 2026 15:00:00 +0000',
      'Final-Log-ID': 'OWq7VHtyZuJm',
    },
  ])
})

test('a whole message may have millions of lines', async () => {
  const bytes = Buffer.concat([HEADER, Buffer.alloc(8_000_000, '\n')])
  const { bytes: report } = await compose({ bytes, envelope: bouncedEnvelope({ ret: 'FULL' }) })
  expect(report.includes('Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n')).toBe(true)
  expect(report.length).toBeGreaterThan(16_000_000)
})

test.each([
  ['x'.repeat(997), '7bit'],
  ['x'.repeat(998), '8bit'],
  ['\0', '8bit'],
  ['\x7f', '7bit'],
  ['\x80', '8bit'],
])('a line of a whole message: %#', async (line, encoding) => {
  const bytes = Buffer.concat([HEADER, Buffer.from(`${line}\r\n`, 'latin1')])
  const { parts } = await compose({ bytes, envelope: bouncedEnvelope({ ret: 'FULL' }) })
  expect(parts.at(-1)?.encoding).toBe(encoding)
})

const BODY = Buffer.concat([HEADER, Buffer.from('Gr\u00fc\u00dfe\r\n.\r\n')])

test.each<[string, Partial<DsnRequest>, string, string, string]>([
  ['without RET', { bytes: BODY }, 'text/rfc822-headers', '7bit', HEADER.toString('latin1')],
  [
    'with RET=HDRS',
    { bytes: BODY, envelope: bouncedEnvelope({ ret: 'HDRS' }) },
    'text/rfc822-headers',
    '7bit',
    HEADER.toString('latin1'),
  ],
  [
    'with RET=FULL',
    { bytes: BODY, envelope: bouncedEnvelope({ ret: 'FULL' }) },
    'message/rfc822',
    '8bit',
    BODY.toString('latin1'),
  ],
  [
    'with RET=FULL, of a large message',
    { envelope: bouncedEnvelope({ ret: 'FULL' }) },
    'text/rfc822-headers',
    '7bit',
    HEADER.toString('latin1'),
  ],
  [
    'a header of 8-bit text, quoted',
    { header: Buffer.from('Subject: \u00fc=\r\nX: y \r\n\r\n') },
    'text/rfc822-headers',
    'quoted-printable',
    'Subject: =C3=BC=3D\r\nX: y=20\r\n\r\n',
  ],
  [
    'international',
    { bytes: BODY, envelope: bouncedEnvelope({ mailFrom: 'gr\u00fc\u00dfe@example.org', smtpUtf8: true }) },
    'message/global-headers',
    '7bit',
    HEADER.toString('latin1'),
  ],
  [
    'international, all of it',
    {
      bytes: BODY,
      envelope: bouncedEnvelope({ mailFrom: 'gr\u00fc\u00dfe@example.org', smtpUtf8: true, ret: 'FULL' }),
    },
    'message/global',
    '8bit',
    BODY.toString('latin1'),
  ],
])('gives back %s', async (_, changes, type, encoding, content) => {
  const { parts } = await compose(changes)
  expect(parts[2]).toEqual({ type, encoding, content })
})

test('an international report has the types and the recipient of RFC 6533, and needs SMTPUTF8', async () => {
  const about = [
    bounced({ address: 'j\u00f6rg@example.com', orcpt: String.raw`utf-8;j\x{F6}rg@example.com` }),
  ]
  const { parts, smtpUtf8 } = await compose({ about, envelope: bouncedEnvelope({ smtpUtf8: true }) })
  expect(smtpUtf8).toBe(true)
  expect(parts[1]?.type).toBe('message/global-delivery-status')
  expect(blocksOf(Buffer.from(parts[1]?.content ?? '', 'latin1').toString())[1]).toMatchObject({
    'Original-Recipient': String.raw`utf-8; j\x{F6}rg@example.com`,
    'Final-Recipient': 'utf-8; j\u00f6rg@example.com',
  })
})

test.each<[string, Partial<DsnRequest>]>([
  ['an ENVID with a line end', { envelope: bouncedEnvelope({ envid: 'a+0D+0AStatus:+202.0.0' }) }],
  ['an ENVID of 8-bit characters', { envelope: bouncedEnvelope({ envid: 'a+FF' }) }],
  ['a broken ENVID', { envelope: bouncedEnvelope({ envid: 'a+0' }) }],
  [
    'an ORCPT with a line end',
    { about: [bounced({ address: 'b@example.com', orcpt: 'rfc822;a+0D+0AAction:+20relayed' })] },
  ],
  ['an ORCPT of an odd type', { about: [bounced({ address: 'b@example.com', orcpt: 'x y;a' })] }],
  ['an ORCPT without a type', { about: [bounced({ address: 'b@example.com', orcpt: 'a@example.com' })] }],
  ['a recipient with a line end', { about: [bounced({ address: '"a\r\nAction: relayed"@example.com' })] }],
  ['a recipient that is not UTF-8', { about: [bounced({ address: 'a\udcff@example.com' })] }],
  [
    'a reason with a line end',
    { about: [bounced({ address: 'b@example.com' }, { reason: 'a\r\nAction: relayed' })] },
  ],
  ['a Message-ID with a line end', { header: Buffer.from('Message-ID: <a\r\n b@c>\r\n\r\n') }],
  ['a hostile subject', { message: noticeMessage({ subject: 'a\r\nBcc: x@example.net\r\n\r\nb' }) }],
])('%s adds no field', async (_, changes) => {
  const { head, parts } = await compose(changes)
  const fields = [
    'Original-Envelope-Id',
    'Reporting-MTA',
    'Arrival-Date',
    'Original-Recipient',
    'Final-Recipient',
    'Action',
    'Status',
    'Diagnostic-Code',
    'Last-Attempt-Date',
    'Final-Log-ID',
  ]
  const blocks = blocksOf(parts[1]?.content)
  expect(blocks).toHaveLength(2)
  expect(blocks.flatMap((block) => Object.keys(block)).filter((name) => !fields.includes(name))).toEqual([])
  expect(blocks[1]).toMatchObject({ Action: 'failed', Status: '5.7.0' })
  expect(parts).toHaveLength(3)
  expect(head).not.toMatch(/^Bcc/im)
})

test('a header without end is cut at a line', async () => {
  const header = Buffer.from(`Subject: x\r\n${`X-Long: ${'y'.repeat(500)}\r\n`.repeat(2000)}\r\n`)
  const { parts } = await compose({ header })
  expect(parts[2]?.content.length).toBeLessThanOrEqual(32_768)
  expect(parts[2]?.content).toMatch(/^Subject: x\r\n(?:X-Long: y{500}\r\n)+$/)
})

test('another parser reads it as a report too', async () => {
  const { bytes } = await compose()
  const mail = await simpleParser(bytes, { keepDeliveryStatus: true })
  expect(mail.attachments.map(({ contentType }) => contentType)).toEqual([
    'message/delivery-status',
    'text/rfc822-headers',
  ])
  expect(mail.text).toContain('<bob@example.com>: spam, refused')
})
