/* The index of a file store: for speed alone, so that nothing depends on what is in it. */
import { link, mkdtemp, readdir, readFile, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { envelope, message, record, SPAM, VIRUS } from '../test/sample.ts'
import { createFileStore } from './fileStore.ts'
import type { QuarantineItem } from './record.ts'
import type { QuarantineFilter, QuarantinePage, QuarantineStore } from './store.ts'

const never = new AbortController().signal
const MAIL = 'From: a@x\r\nSubject: hello\r\n\r\nbody\r\n'
let directory = ''
let store: QuarantineStore

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-index-'))
  store = createFileStore(directory)
  await store.prepare()
})

afterEach(async () => {
  await store.close()
  await rm(directory, { recursive: true, force: true })
})

/** All in the shard A; the higher the number, the newer. */
const idOf = (number: number): string => `A${String(number).padStart(11, '0')}`

async function keep(number: number, to = 'anna@example.org'): Promise<void> {
  const id = idOf(number)
  const storedAt = new Date(Date.UTC(2026, 10, 1) + number * 1000)
  const options = {
    id,
    storedAt,
    envelope: envelope({ recipients: [{ address: to }, { address: 'both@example.org' }] }),
    assessment: number % 3 === 0 ? VIRUS : SPAM,
  }
  await store.put(record(options), message(MAIL, { id }), never)
}

async function items(filter?: QuarantineFilter, page?: QuarantinePage): Promise<QuarantineItem[]> {
  const all: QuarantineItem[] = []
  for await (const item of store.list(filter, page)) all.push(item)
  return all
}

const ids = async (filter?: QuarantineFilter, page?: QuarantinePage): Promise<string[]> =>
  (await items(filter, page)).map(({ id }) => id)
const numbers = (...values: number[]): string[] => values.map(idOf)
const indexOfA = (): string => join(directory, 'index/A.1')
/** The index as it is once nothing waits to be added to it. */
async function bytesOfA(): Promise<Buffer> {
  await store.close()
  return await readFile(indexOfA())
}
const linesOfA = async (): Promise<string[]> =>
  (await bytesOfA())
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '')

test.each<[QuarantineFilter, QuarantinePage, number[]]>([
  [{}, {}, [5, 4, 3, 2, 1]],
  [{}, { limit: 2 }, [5, 4]],
  [{}, { limit: 2, offset: 3 }, [2, 1]],
  [{}, { limit: 0 }, []],
  [{}, { offset: 9 }, []],
  [{}, { after: idOf(3) }, [2, 1]],
  [{}, { after: idOf(4), limit: 1, offset: 1 }, [2]],
  [{ categories: ['virus'] }, {}, [3]],
  [{ categories: ['spam'] }, { limit: 2, offset: 1 }, [4, 2]],
  [{ recipient: 'odd@example.org' }, {}, [5, 3, 1]],
  [{ recipient: 'odd@example.org' }, { limit: 1, after: idOf(5) }, [3]],
  [{ minScore: 16 }, {}, [5, 4, 2, 1]],
  [{ minScore: 17 }, {}, []],
])('lists %j, %j', async (filter, page, expected) => {
  for (const number of [3, 1, 5, 2, 4]) await keep(number, number % 2 === 1 ? 'odd@example.org' : undefined)
  expect(await ids(filter, page)).toEqual(numbers(...expected))
})

test('refuses to go on behind a message that is not there', async () => {
  await keep(1)
  const failure = { code: 'E_QUARANTINE', message: `${idOf(2)}: is not in quarantine` }
  await expect(ids({}, { after: idOf(2) })).rejects.toMatchObject(failure)
  await expect(ids({}, { after: '../../x' })).rejects.toMatchObject({ code: 'E_QUARANTINE' })
})

test('opens no message that the index knows', async () => {
  for (let number = 1; number <= 3; number++) await keep(number)
  const before = await items()
  // What is in the files does not matter any more.
  for (const name of await readdir(join(directory, 'A'))) await truncate(join(directory, 'A', name))
  expect(await items()).toEqual(before)
})

test('shows the same when the index is deleted, and has it again', async () => {
  for (let number = 1; number <= 300; number++) await keep(number)
  await store.markReleased(idOf(2), { at: new Date(), by: 'root', to: ['anna@example.org'], as: 'resend' })
  const before = await items()
  await rm(join(directory, 'index'), { recursive: true })
  store = createFileStore(directory)
  expect(await items()).toEqual(before)
  expect(await linesOfA()).toHaveLength(300)
  expect(await items()).toEqual(before)
  expect(await linesOfA()).toHaveLength(300)
}, 60_000)

test('shows the same when the index is torn at any byte, and what another process adds then', async () => {
  for (let number = 1; number <= 2; number++) await keep(number)
  const whole = await bytesOfA()
  await keep(3)
  const added = (await bytesOfA()).subarray(whole.length)
  const before = await items()
  for (let at = 0; at <= whole.length; at++) {
    await writeFile(indexOfA(), Buffer.concat([whole.subarray(0, at), added]))
    expect(await items()).toEqual(before)
    expect(await linesOfA()).not.toHaveLength(0)
    expect(await items()).toEqual(before)
  }
})

test.each([
  ['zeros', (bytes: Buffer) => Buffer.alloc(bytes.length)],
  ['no line ends', (bytes: Buffer) => Buffer.alloc(3_000_000, bytes)],
  ['the lines of another shard', (bytes: Buffer) => Buffer.from(bytes.toString().replaceAll(' A0', ' B0'))],
  ['every line twice', (bytes: Buffer) => Buffer.concat([bytes, bytes])],
])('shows the same when the index has %s', async (_, spoil) => {
  for (let number = 1; number <= 3; number++) await keep(number)
  const before = await items()
  await writeFile(indexOfA(), spoil(await bytesOfA()))
  expect(await items()).toEqual(before)
})

test('shows nothing that is only in the index', async () => {
  for (let number = 1; number <= 3; number++) await keep(number)
  await unlink(join(directory, 'A', `spam-${idOf(2)}.eml`))
  expect(await ids()).toEqual(numbers(3, 1))
  expect(await store.usage()).toMatchObject({ files: 2 })
})

test('keeps mail where there can be no index, and shows it', async () => {
  await writeFile(join(directory, 'index'), 'not a folder')
  await keep(1)
  expect(await ids()).toEqual(numbers(1))
  expect(await store.usage()).toMatchObject({ files: 1 })
})

test('knows of a release that another process recorded, and of one that the index has not been told', async () => {
  await keep(1)
  const release = {
    at: new Date('2026-11-24T09:00:00Z'),
    by: 'root',
    to: ['anna@example.org'],
    as: 'plain',
  } as const
  await createFileStore(directory).markReleased(idOf(1), release)
  const states = async (): Promise<unknown> => (await items()).map(({ recipients }) => recipients[0]?.state)
  expect(await states()).toEqual(['released'])
  expect((await store.get(idOf(1))).releases).toEqual([release])
  // As if its process had been killed between the event and the index.
  await writeFile(
    join(directory, 'A', `${idOf(1)}.2.event`),
    '{"event":"deleted","at":"2026-11-24T10:00:00Z","recipients":["anna@example.org"]}\n',
  )
  expect(await states()).toEqual(['deleted'])
  expect(await linesOfA()).toHaveLength(3)
})

test('deletes for one recipient, and altogether once nobody has a copy', async () => {
  await keep(1)
  await store.delete(idOf(1), ['anna@example.org'])
  expect(await ids({ recipient: 'anna@example.org', states: ['kept'] })).toEqual([])
  expect(await ids({ recipient: 'both@example.org', states: ['kept'] })).toEqual(numbers(1))
  await store.delete(idOf(1), ['both@example.org'])
  await expect(store.get(idOf(1))).rejects.toMatchObject({ message: `${idOf(1)}: is not in quarantine` })
  expect(await readdir(join(directory, 'A'))).toEqual([])
})

test('gives each of many releases at the same time a place of its own', async () => {
  await keep(1)
  const others = [store, createFileStore(directory), createFileStore(directory)]
  await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const release = { at: new Date(index), by: `${index}`, to: ['anna@example.org'], as: 'plain' } as const
      await others[index % 3]?.markReleased(idOf(1), release)
    }),
  )
  const { releases } = await store.get(idOf(1))
  expect(releases.map(({ by }) => Number(by)).sort((a, b) => a - b)).toEqual([...Array(30).keys()])
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})

test('counts by category, and what nobody waits for', async () => {
  for (let number = 1; number <= 4; number++) await keep(number)
  await store.markReleased(idOf(1), {
    at: new Date(),
    by: 'x',
    to: ['anna@example.org', 'both@example.org'],
    as: 'plain',
  })
  const stats = await store.stats()
  expect(stats).toMatchObject({
    ...(await store.usage()),
    files: 4,
    settled: 1,
    categories: [
      { category: 'virus', files: 1, oldest: new Date('2026-11-01T00:00:03Z') },
      {
        category: 'spam',
        files: 3,
        oldest: new Date('2026-11-01T00:00:01Z'),
        newest: new Date('2026-11-01T00:00:04Z'),
      },
    ],
  })
  expect(await store.stats({ categories: ['banned'] })).toEqual({
    files: 0,
    bytes: 0,
    settled: 0,
    categories: [],
  })
})

test('rebuild reads all of them again, and tells of those that are damaged', async () => {
  for (let number = 1; number <= 3; number++) await keep(number)
  const before = await items()
  await writeFile(indexOfA(), 'nonsense')
  await link(join(directory, 'A', `spam-${idOf(1)}.eml`), join(directory, 'A', `spam-${idOf(9)}.eml`))
  const damaged: unknown[] = []
  expect(await store.rebuild((error) => damaged.push(error))).toMatchObject({ files: 3 })
  expect(damaged.map(String)).toEqual([expect.stringContaining('has the fields of another message')])
  expect(await linesOfA()).toHaveLength(3)
  expect(await items()).toEqual(before)
})

const DAY = 86_400_000
const NOW = new Date(Date.UTC(2026, 10, 1) + 4 * 1000 + DAY)
const work = (limit = 1000): { now: Date; limit: number; signal: AbortSignal } => ({
  now: NOW,
  limit,
  signal: never,
})

test('expires each category after its own time, and no more than it is told at once', async () => {
  for (let number = 1; number <= 6; number++) await keep(number)
  // 1, 2, 4 and 5 are spam, 3 and 6 are viruses; what was stored at 4 is as old as it may be.
  expect(await store.expire({ keepMs: { spam: DAY } }, work(1))).toMatchObject({ files: 1, more: true })
  expect(await ids()).toEqual(numbers(6, 5, 4, 3, 2))
  expect(await store.expire({ keepMs: { spam: DAY } }, work())).toMatchObject({ files: 1, more: false })
  expect(await ids()).toEqual(numbers(6, 5, 4, 3))
  expect(await store.expire({ keepMs: { virus: DAY } }, work())).toMatchObject({ files: 1 })
  expect(await ids()).toEqual(numbers(6, 5, 4))
  expect(await store.expire({ keepMs: {} }, work())).toEqual({ files: 0, bytes: 0, more: false })
})

test('makes room for the newest: first of what nobody waits for, then of spam', async () => {
  for (let number = 1; number <= 6; number++) await keep(number)
  const to = ['anna@example.org', 'both@example.org']
  await store.markReleased(idOf(6), { at: NOW, by: 'x', to, as: 'plain' })
  const { bytes } = await store.usage()
  expect(await store.expire({ keepMs: {}, maxBytes: bytes }, work())).toMatchObject({ files: 0 })
  expect(await store.expire({ keepMs: {}, maxBytes: bytes - 1 }, work())).toMatchObject({
    files: 1,
    more: false,
  })
  expect(await ids()).toEqual(numbers(5, 4, 3, 2, 1))
  // Events go with their message.
  expect((await readdir(join(directory, 'A'))).filter((name) => name.endsWith('.event'))).toEqual([])
  expect(await store.expire({ keepMs: {}, maxBytes: 1 }, work(4))).toMatchObject({ files: 4, more: true })
  expect(await ids()).toEqual(numbers(3))
})

test('leaves expiry to whoever is at it, and not to one that is gone', async () => {
  await keep(1)
  const lock = join(directory, 'tmp/expire.lock')
  await symlink(`1@${hostname()}`, lock)
  expect(await store.expire({ keepMs: { spam: 1 } }, work())).toMatchObject({ files: 0 })
  await unlink(lock)
  await symlink(`2147483646@${hostname()}`, lock)
  expect(await store.expire({ keepMs: { spam: 1 } }, work())).toMatchObject({ files: 1 })
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})

test('does what one process is enough for, and lets go of it however it ends', async () => {
  const other = createFileStore(directory)
  const within = await store.alone('rescan', async () => [await other.alone('rescan', async () => 'both')])
  expect(within).toEqual([undefined])
  await expect(store.alone('rescan', async () => await Promise.reject(new TypeError('x')))).rejects.toThrow(
    'x',
  )
  expect(await other.alone('rescan', async () => 'done')).toBe('done')
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})

test('adds to the index by itself, with others, and what waits when it is closed', async () => {
  for (let number = 1; number <= 300; number++) await keep(number)
  // As many as are written together do not wait for the end.
  while (!(await readFile(indexOfA(), 'latin1').catch(() => '')).includes(idOf(256))) {
    await new Promise((resolve) => void setImmediate(resolve))
  }
  await store.close()
  expect(await readFile(indexOfA(), 'latin1')).toContain(idOf(300))
  expect(await linesOfA()).toHaveLength(300)
}, 60_000)

test('makes the index small again once most of it is of no use', async () => {
  await keep(1)
  const [line = ''] = await linesOfA()
  await writeFile(indexOfA(), `${line}\n`.repeat(1500))
  await store.expire({ keepMs: {} }, work())
  expect(await linesOfA()).toEqual([line])
  expect(await ids()).toEqual(numbers(1))
})

test.each(['gzip'] as const)('keeps messages compressed: %s', async (compress) => {
  await keep(1)
  await store.close()
  store = createFileStore(directory, { compress })
  const text = `${MAIL}${'the same again\r\n'.repeat(10_000)}`
  const id = idOf(2)
  for (const stream of [false, true]) await store.put(record({ id }), message(text, { id, stream }), never)
  expect(await readdir(join(directory, 'A'))).toEqual(expect.arrayContaining([`spam-${id}.eml.gz`]))
  // Read by a store that does not compress, and without the index.
  await store.close()
  await rm(join(directory, 'index'), { recursive: true })
  store = createFileStore(directory)
  expect((await ids()).sort()).toEqual(numbers(1, 2))
  const opened = await store.open(id)
  expect((await buffer(opened.open())).toString()).toBe(text)
  expect(opened.sizeBytes).toBe(text.length)
  expect((await store.usage()).bytes).toBeLessThan(10_000)
  await store.delete(id)
  expect(await ids()).toEqual(numbers(1))
})

test('gives nothing of a compressed message that is cut off', async () => {
  store = createFileStore(directory, { compress: 'gzip' })
  await keep(1)
  const path = join(directory, 'A', `spam-${idOf(1)}.eml.gz`)
  const whole = await readFile(path)
  for (const size of [0, 5, whole.length >> 1, whole.length - 1]) {
    await writeFile(path, whole.subarray(0, size))
    const read = async (): Promise<Buffer> => await buffer((await store.open(idOf(1))).open())
    await expect(read()).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  }
})

test('lists a message with more recipients than the index takes', async () => {
  const recipients = Array.from({ length: 4000 }, (_, index) => ({ address: `${index}${'x'.repeat(150)}@x` }))
  const id = idOf(1)
  await store.put(record({ id, envelope: envelope({ recipients }) }), message(MAIL, { id }), never)
  await keep(2)
  expect(new Set((await items()).map((item) => item.recipients.length))).toEqual(new Set([2, 4000]))
  expect(await linesOfA()).toHaveLength(1)
})
