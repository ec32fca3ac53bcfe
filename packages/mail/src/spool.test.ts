import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { createSpool, newMessageId, type SpooledMessage } from './spool.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spool-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true })
})

async function spool(bytes: Buffer, chunkBytes: number, memoryBytes = 1024): Promise<SpooledMessage> {
  const writer = createSpool({ directory, memoryBytes }).create()
  for (let at = 0; at < bytes.length; at += chunkBytes)
    await writer.write(bytes.subarray(at, at + chunkBytes))
  return await writer.finish()
}

const header = 'Subject: s\r\nTo: t\r\n\r\n'
const mail = (bodyBytes: number): Buffer => Buffer.from(header + 'x'.repeat(bodyBytes - 2) + '\r\n')

test.each([
  [10, 7, true],
  [1024 - header.length, 1, true],
  [1025 - header.length, 1, false],
  [1_000_000, 65_536, false],
  [1_000_000, 1_000_000, false],
])('keeps %d bytes of body in pieces of %d; in memory: %s', async (bodyBytes, chunkBytes, inMemory) => {
  const bytes = mail(bodyBytes)
  const message = await spool(bytes, chunkBytes)
  expect(message.bytes !== undefined).toBe(inMemory)
  expect(message.sizeBytes).toBe(bytes.length)
  expect(message.digest).toBe(createHash('sha256').update(bytes).digest('hex'))
  expect(message.header.toString()).toBe(header)
  const readers = await Promise.all([buffer(message.open()), buffer(message.open()), buffer(message.open(5))])
  expect(readers[0].equals(bytes) && readers[1].equals(bytes) && readers[2].equals(bytes.subarray(5))).toBe(
    true,
  )
  await message.discard()
})

test('a file has no name that could outlive the process', async () => {
  const message = await spool(mail(5000), 100)
  expect(await readdir(directory)).toEqual([])
  await message.discard()
})

test('finds the end of a header longer than what is kept in memory, whatever the pieces', async () => {
  const long = `${'X-Filler: yes\r\n'.repeat(500)}X-Spam-Flag: YES\r\n\r\n`
  for (const memoryBytes of [0, 1023, 1024, 6000]) {
    const message = await spool(Buffer.from(`${long}body\r\n`), 999, memoryBytes)
    expect(message.header.toString()).toBe(long)
    await message.discard()
  }
})

test('gives up with E_SPOOL, and takes the rest of the message, when the folder is gone', async () => {
  await rm(directory, { recursive: true })
  await expect(spool(mail(50_000), 100)).rejects.toMatchObject({ code: 'E_SPOOL' })
  await expect(createSpool({ directory, memoryBytes: 1 }).prepare()).rejects.toMatchObject({
    code: 'E_SPOOL',
    hint: expect.stringContaining('create it'),
  })
  directory = await mkdtemp(join(tmpdir(), 'spool-'))
})

test('a reader after the end of the message fails instead of reading another file', async () => {
  const message = await spool(mail(5000), 100)
  const reader = message.open()
  await message.discard()
  await expect(buffer(reader)).rejects.toMatchObject({ code: 'E_SPOOL' })
})

test('prepare removes what a killed process left, and nothing else', async () => {
  await writeFile(join(directory, `${newMessageId()}.eml`), 'left')
  await writeFile(join(directory, 'README'), 'keep')
  await createSpool({ directory, memoryBytes: 1 }).prepare()
  expect(await readdir(directory)).toEqual(['README'])
})

test('discarding at any time leaves no open file', async () => {
  const before = (await readdir('/proc/self/fd')).length
  for (let pieces = 0; pieces < 40; pieces++) {
    const writer = createSpool({ directory, memoryBytes: 1024 }).create()
    for (let piece = 0; piece < pieces; piece++) void writer.write(Buffer.alloc(20_000))
    await writer.discard()
  }
  expect((await readdir('/proc/self/fd')).length).toBe(before)
})

test('ids begin and end alphanumeric', () => {
  for (let i = 0; i < 1000; i++) expect(newMessageId()).toMatch(/^[0-9A-Za-z][\w-]{10}[0-9A-Za-z]$/)
})

describe('the content of a message', () => {
  const received = (id: number): string =>
    `Received: from a by b id ${id};\r\n\tTue, 24 Nov 2026 10:00:00 +0000\r\n`
  const copy = (id: number, body = 'x'): Buffer =>
    Buffer.from(`${received(id)}${header}${body.repeat(5000)}\r\n`)
  const contentOf = async (bytes: Buffer, memoryBytes: number, wanted = true) => {
    const writer = createSpool({ directory, memoryBytes, wantsContent: () => wanted }).create()
    for (let at = 0; at < bytes.length; at += 700) await writer.write(bytes.subarray(at, at + 700))
    const message = await writer.finish()
    await message.discard()
    return message.content?.()
  }

  test.each([
    ['in memory', 1_000_000],
    ['in a file', 1024],
  ])('%s: is the same in copies that came by other ways, and only in those', async (_, memoryBytes) => {
    const first = await contentOf(copy(1), memoryBytes)
    expect(first?.trace).toEqual([received(1).trimEnd()])
    expect((await contentOf(copy(2), memoryBytes))?.digest).toBe(first?.digest)
    expect((await contentOf(copy(1, 'y'), memoryBytes))?.digest).not.toBe(first?.digest)
    expect((await contentOf(copy(1), 1_000_000))?.digest).toBe(first?.digest)
  })

  test.each([1_000_000, 1024])(
    'is all bytes where there is nothing to leave out, or no telling (%d)',
    async (memoryBytes) => {
      for (const bytes of [mail(5000), Buffer.from(copy(1).toString().replace('\r\n\t', '\n\t'))]) {
        const digest = createHash('sha256').update(bytes).digest('hex')
        expect(await contentOf(bytes, memoryBytes)).toEqual({ digest, trace: [] })
      }
    },
  )

  test('is all bytes where the header is longer than what is kept in memory', async () => {
    const bytes = Buffer.from(`${'X: y\r\n'.repeat(500)}${copy(1).toString()}`)
    const digest = createHash('sha256').update(bytes).digest('hex')
    expect(await contentOf(bytes, 1024)).toEqual({ digest, trace: [] })
  })

  test('is not worked out for a file when nobody wants it', async () => {
    expect(await contentOf(copy(1), 1024, false)).toBeUndefined()
  })
})
