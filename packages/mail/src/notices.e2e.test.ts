/* Notices as others read them: two parsers of mail, one of them strict, and a spam scanner. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { GTUBE, describeWith, startSpamd, type SpamdService } from '@ecluse/fixtures'
import { simpleParser } from 'mailparser'
import { composeNotice, NOTICE_MESSAGES } from './notice.ts'
import { noticeMessage, noticeSender, sampleNotice } from './notice.testkit.ts'
import { NOTICE_TEXTS } from './noticeTemplates.ts'

/** Reads a message from stdin; ends with an error where it, or a field of it, is not as RFC 5322 and MIME have it. */
const STRICT = `
import email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.strict)
types = []
for part in message.walk():
    types.append(part.get_content_type())
    for name, value in part.items():
        if value.defects: raise SystemExit(f'{name}: {value.defects}')
    if part.get_content_maintype() == 'text': part.get_content()
plain = next(part for part in message.walk() if part.get_content_type() == 'text/plain')
print(json.dumps({'types': types, 'subject': message['subject'], 'to': message['to'].addresses[0].addr_spec, 'text': plain.get_content()}))
`

interface Read {
  readonly types: readonly string[]
  readonly subject: string
  readonly to: string
  readonly text: string
}

async function readStrictly(message: Buffer): Promise<Read> {
  const child = spawn('python3', ['-c', STRICT], { stdio: ['pipe', 'pipe', 'pipe'] })
  const [told, complaint] = [text(child.stdout), text(child.stderr)]
  child.stdin.end(message)
  expect(await complaint).toBe('')
  return JSON.parse(await told) as Read
}

/** Of each kind in each language, and those that are most unlike them. */
const SAMPLES: readonly (readonly [name: string, compose: () => Promise<Buffer>])[] = [
  ...NOTICE_TEXTS.flatMap((kind) =>
    (['en', 'fr'] as const).map(
      (language) =>
        [`${kind}, ${language}`, async () => (await sampleNotice(kind, language, new Date())).bytes] as const,
    ),
  ),
  [
    'a digest of more than one mail shows',
    async () => {
      const messages = Array.from({ length: NOTICE_MESSAGES }, (_, index) =>
        noticeMessage({ id: `OWq7VHtyZ${100 + index}`, subject: `Ein Relevé, das ${index}.` }),
      )
      const request = {
        kind: 'admin',
        to: 'postmaster@example.org',
        date: new Date(),
        id: 'x.digest',
      } as const
      return (await composeNotice(await noticeSender(), { ...request, messages, more: 1000 })).bytes
    },
  ],
  [
    'what strangers wrote to break it',
    async () => {
      const hostile = noticeMessage({
        subject: 'x\r\nBcc: v@example.net\r\n\r\n--b =?utf-8?Q?=0D=0A?= \u202e\udc80 <img src=x>',
        mailFrom: '"a\\"b c"@example.net',
        viruses: ['Win\r\nX: y', '=?x?Q?=00?='],
      })
      const request = {
        kind: 'admin',
        to: 'postmaster@example.org',
        date: new Date(),
        id: 'x.admin',
      } as const
      return (await composeNotice(await noticeSender(), { ...request, messages: [hostile] })).bytes
    },
  ],
]

describeWith({ describe, beforeAll }, 'python3')('read by a strict parser', () => {
  test.each(SAMPLES)('%s has no defect, and is what another parser reads', async (_, compose) => {
    const bytes = await compose()
    const strict = await readStrictly(bytes)
    const lenient = await simpleParser(bytes, { skipHtmlToText: true, skipTextToHtml: true })
    expect(strict.types[0]).toMatch(/^multipart\/(?:alternative|report)$/)
    expect(strict.subject).toBe(lenient.subject)
    expect(lenient.to).toMatchObject({ value: [{ address: strict.to }] })
    expect(lenient.text?.trimEnd().startsWith(strict.text.replaceAll('\r\n', '\n').trimEnd())).toBe(true)
    expect(strict.text.length).toBeGreaterThan(100)
  })

  test('a message with a defect is refused: the parser is strict', async () => {
    const broken = 'From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n'
    await expect(readStrictly(Buffer.from(broken))).rejects.toThrow(/CloseBoundaryNotFoundDefect/)
  })
})

describeWith({ describe, beforeAll }, 'spamd')('looked at by SpamAssassin, without the network', () => {
  let spamd: SpamdService
  beforeAll(async () => {
    spamd = await startSpamd()
  }, 120_000)
  afterAll(async () => {
    await spamd?.close()
  })

  async function pointsOf(message: Buffer): Promise<number> {
    const socket = connect(spamd.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.end(
      Buffer.concat([Buffer.from(`CHECK SPAMC/1.5\r\nContent-length: ${message.length}\r\n\r\n`), message]),
    )
    const [, points] = /^Spam: \w+ ; (-?[\d.]+) \//m.exec(await text(socket)) ?? []
    return Number(points)
  }

  test.each(SAMPLES)('%s has less than two points', async (_, compose) => {
    expect(await pointsOf(await compose())).toBeLessThan(2)
  })

  test('GTUBE has more: points are given', async () => {
    expect(await pointsOf(Buffer.from(`Subject: x\r\n\r\n${GTUBE}\r\n`))).toBeGreaterThan(100)
  })
})
