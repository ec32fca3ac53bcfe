import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { assess, decide, DEFAULT_POLICY, type Envelope } from '@ecluse/core'
import { createSpool } from '@ecluse/mail'
import { createFileStore, quarantineRecord } from '@ecluse/quarantine'
import { readMessageFile, type FileMessage } from './messageFile.ts'

const NEVER = new AbortController().signal
const LIMIT = 1024 * 1024

let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ecluse-file-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function read(
  content: string | Buffer,
  limitBytes = LIMIT,
): Promise<FileMessage & { readonly text: string }> {
  const file = join(folder, 'message.eml')
  await writeFile(file, content, 'latin1')
  return await readFrom(file, limitBytes)
}

async function readFrom(file: string, limitBytes = LIMIT): Promise<FileMessage & { readonly text: string }> {
  const writer = createSpool({ directory: folder, memoryBytes: 100_000 }).create()
  const found = await readMessageFile(file, { writer, limitBytes }, NEVER)
  const text = (await buffer(found.message.open())).toString('latin1')
  await found.message.discard()
  return { ...found, text }
}

test.each([
  ['CRLF as it is', 'A: b\r\n\r\nx\r\n', 'A: b\r\n\r\nx\r\n', 'crlf', 'message'],
  ['CRLF with bare LF in it as it is', 'A: b\r\n\r\nx\ny\r\n', 'A: b\r\n\r\nx\ny\r\n', 'crlf', 'message'],
  ['LF as CRLF', 'A: b\n\n\nx\n', 'A: b\r\n\r\n\r\nx\r\n', 'lf', 'message'],
  ['LF with CRLF in it as CRLF', 'A: b\n\nx\r\ny\n', 'A: b\r\n\r\nx\r\ny\r\n', 'lf', 'message'],
  ['a last line without end', 'A: b\n\nx', 'A: b\r\n\r\nx\r\n', 'lf', 'message'],
  ['a single line', 'A: b', 'A: b\r\n', 'crlf', 'message'],
  ['bytes that are not ASCII', 'A: \xe9\xff\n\n\x00\n', 'A: \xe9\xff\r\n\r\n\x00\r\n', 'lf', 'message'],
  ['an mbox without its line', 'From a@b Tue\nA: b\n\nFrom x\n', 'A: b\r\n\r\nFrom x\r\n', 'lf', 'mbox'],
  ['a mbox line before CRLF', 'From a@b\r\nA: b\r\n\r\n', 'A: b\r\n\r\n', 'crlf', 'mbox'],
  ['a From field, which is no mbox', 'From: a@b\n\n', 'From: a@b\r\n\r\n', 'lf', 'message'],
])('reads %s', async (_name, content, text, lineEnds, form) => {
  expect(await read(content)).toMatchObject({ text, lineEnds, form, notes: [] })
})

test('reads line ends the same wherever the pieces of the file end', async () => {
  // Pieces of a file are 64 KiB: a CRLF, and an LF, on each side of that.
  for (const shift of [-2, -1, 0, 1]) {
    const start = `A: b\n\n${'x'.repeat(65_536 + shift - 6)}`
    const { text } = await read(`${start}\r\ny\n\nz\n`)
    expect(text).toBe(`${start.replace(/\n/g, '\r\n')}\r\ny\r\n\r\nz\r\n`)
  }
})

test('keeps a message that is larger than memory in a file', async () => {
  const content = `A: b\r\n\r\n${'0123456789abcd\r\n'.repeat(20_000)}`
  const { text, message } = await read(content)
  expect([text === content, message.bytes, message.sizeBytes]).toEqual([true, undefined, content.length])
})

test.each([
  ['nothing', '', LIMIT, 'no message in it'],
  ['an empty mbox', 'From a@b\n', LIMIT, 'no message in it'],
  ['one byte too much', 'A: b\r\n\r\nx\r\n', 10, 'larger than limits.messageSize (10 bytes)'],
  ['one that becomes too large', 'A: b\n\nx\n', 10, 'larger than limits.messageSize (10 bytes)'],
])('refuses %s', async (_name, content, limit, what) => {
  await expect(read(content, limit)).rejects.toMatchObject({
    code: 'E_USAGE',
    message: expect.stringContaining(what),
  })
})

test.each([
  ['', 'is a folder, not a file'],
  ['none.eml', 'no such file'],
])('says that %j cannot be read', async (name, what) => {
  await expect(readFrom(join(folder, name))).rejects.toMatchObject({
    code: 'E_USAGE',
    message: `${join(folder, name)}: ${what}`,
  })
})

test('takes any size up to the limit', async () => {
  await expect(read('A: b\r\n\r\nx\r\n', 11)).resolves.toMatchObject({ notes: [] })
})

const ORIGINAL = 'From: a@example.net\r\nSubject: kept\r\n\r\nbare\nLF, no end'
const ENVELOPE: Envelope = {
  protocol: 'lmtp',
  mailFrom: 'a@example.net',
  recipients: [{ address: 'x@example.org', orcpt: 'rfc822;y' }],
  smtpUtf8: false,
  client: { address: '192.0.2.7' },
  peer: { helo: 'mail' },
  listener: '127.0.0.1:10024',
}

/** A file of the quarantine. */
async function quarantined(): Promise<string> {
  const store = createFileStore(join(folder, 'quarantine'))
  const { message } = await read(ORIGINAL.replace('no end', 'no end\r\n'))
  await store.prepare()
  const context = {
    id: 'Akept0000001',
    hostname: 'h',
    envelope: ENVELOPE,
    date: new Date(0),
    alertHeader: 'X-Ecluse-Alert',
    recipientDelimiter: '',
  }
  const assessment = assess([], DEFAULT_POLICY)
  const decisions = ENVELOPE.recipients.map((recipient) =>
    decide(recipient, { policy: DEFAULT_POLICY, local: true }, assessment),
  )
  await store.put(quarantineRecord(context, decisions), message, NEVER)
  return join(folder, 'quarantine/A/clean-Akept0000001.eml')
}

test('reads the original of a file of the quarantine, with what is known of it', async () => {
  const found = await readFrom(await quarantined())
  expect(found).toMatchObject({ form: 'quarantine', entry: { envelope: ENVELOPE }, notes: [] })
  expect(found.message.id).toBe('Akept0000001')
  expect(found.text).toBe(`${ORIGINAL}\r\n`)
})

test('says so where a file of the quarantine was changed', async () => {
  const file = await quarantined()
  const bytes = await readFile(file)
  const longer = await read(Buffer.concat([bytes, Buffer.from('x')]))
  expect(longer).toMatchObject({
    form: 'quarantine',
    notes: [expect.stringContaining('not the message that was kept')],
  })
  const cut = await read(bytes.toString('latin1').replace('header-bytes=0', 'header-bytes=9'))
  expect(cut).toMatchObject({ form: 'message', notes: [expect.stringContaining('cannot be read')] })
  const unix = await read(bytes.toString('latin1').replaceAll('\r\n', '\n'))
  expect(unix).toMatchObject({
    form: 'message',
    lineEnds: 'lf',
    notes: [expect.stringContaining('cannot be read')],
  })
})
