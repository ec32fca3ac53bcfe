import { afterEach, beforeEach, expect, test } from '@jest/globals'
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
