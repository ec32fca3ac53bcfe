import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from '@jest/globals'
import { attachMessage } from './attachedMessage.ts'
import type { OutgoingMessage } from './outgoing.ts'

const NOTE = {
  from: 'postmaster@filter.example.org',
  to: ['anna@example.org', 'bob@example.org'],
  subject: 'Message from the quarantine',
  date: new Date('2026-11-24T08:00:00Z'),
  messageId: 'Abc-123_xyZ9.1@filter.example.org',
  text: 'It was kept.\n\nDo not open what you do not expect.',
}
const outgoing = (bytes: Buffer): OutgoingMessage => ({
  sizeBytes: bytes.length,
  open: () => Readable.from([bytes], { objectMode: false }),
})

test('attaches the very bytes, and says its own size', async () => {
  const original = Buffer.from('Subject: caf\xe9\r\n\r\n--b\r\n.\r\nlone\nlf\0\r\n--b--', 'latin1')
  const message = attachMessage(NOTE, outgoing(original))
  const bytes = await buffer(message.open())
  expect(bytes.length).toBe(message.sizeBytes)
  const text = bytes.toString('latin1')
  const boundary = /boundary="([^"]+)"/.exec(text)?.[1] ?? ''
  expect(boundary).toMatch(/^=_[0-9a-f]{48}$/)
  expect(text.replaceAll(boundary, 'BOUNDARY')).toBe(
    [
      'From: <postmaster@filter.example.org>',
      'To: <anna@example.org>,',
      ' <bob@example.org>',
      'Subject: Message from the quarantine',
      'Date: Tue, 24 Nov 2026 08:00:00 +0000',
      'Message-ID: <Abc-123_xyZ9.1@filter.example.org>',
      'Auto-Submitted: auto-generated',
      'MIME-Version: 1.0',
      'Content-Type: multipart/mixed; boundary="BOUNDARY"',
      '',
      '--BOUNDARY',
      'Content-Type: text/plain; charset=us-ascii',
      '',
      'It was kept.',
      '',
      'Do not open what you do not expect.',
      '--BOUNDARY',
      'Content-Type: message/rfc822',
      'Content-Transfer-Encoding: 8bit',
      'Content-Disposition: attachment; filename="message.eml"',
      '',
      original.toString('latin1'),
      '--BOUNDARY--',
      '',
    ].join('\r\n'),
  )
})

test('says its own size with addresses beyond ASCII, and lets none begin a line', async () => {
  const note = { ...NOTE, to: ['j\u00fcrgen@b\u00fccher.example', 'a\r\nBcc: x@y'] }
  const message = attachMessage(note, outgoing(Buffer.from('x')))
  const bytes = await buffer(message.open())
  expect(bytes.length).toBe(message.sizeBytes)
  expect(bytes.toString()).toContain('To: <j\u00fcrgen@b\u00fccher.example>,\r\n <a??Bcc: x@y>\r\n')
})

test('is read by a mail parser as what it is', async () => {
  const { simpleParser } = await import('mailparser')
  const original = Buffer.from('From: <m@example.net>\r\nSubject: inner\r\n\r\nbody\r\n')
  const message = attachMessage(NOTE, outgoing(original))
  const parsed = await simpleParser(await buffer(message.open()), { skipHtmlToText: true })
  expect(parsed.subject).toBe('Message from the quarantine')
  const [attachment] = parsed.attachments
  expect(attachment).toMatchObject({ contentType: 'message/rfc822', filename: 'message.eml' })
  expect(attachment?.content.toString()).toBe(original.toString())
})

test('can be opened more than once, and has another boundary each time it is made', async () => {
  const original = outgoing(Buffer.from('x'))
  const message = attachMessage(NOTE, original)
  expect(await buffer(message.open())).toEqual(await buffer(message.open()))
  expect(await buffer(attachMessage(NOTE, original).open())).not.toEqual(await buffer(message.open()))
})
