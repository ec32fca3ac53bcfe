import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { ANNA, keyOf, relayed, START, TTL_MS } from '../test/sample.ts'
import { formatRecord } from './ledgerRecord.ts'
import { KERNEL_DISK, SegmentStore, type FileLimits } from './segmentStore.ts'

let directory = ''
const open: SegmentStore[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-store-'))
})

afterEach(async () => {
  for (const store of open.splice(0)) await store.close()
  await rm(directory, { recursive: true, force: true })
})

async function start(limits: FileLimits): Promise<SegmentStore> {
  const store = new SegmentStore({ directory, ttlMs: TTL_MS, disk: KERNEL_DISK, limits })
  open.push(store)
  await store.prepare(START)
  return store
}

const lineOf = (key: string): Buffer =>
  Buffer.concat(formatRecord({ key, at: START, items: [{ recipient: ANNA, result: relayed() }] }))

async function append(store: SegmentStore, numbers: readonly number[]): Promise<void> {
  const keys = numbers.map(keyOf)
  await store.append(
    keys.map((key) => ({ key, bytes: lineOf(key) })),
    START,
  )
}

const count = async (): Promise<number> =>
  (await readdir(directory)).filter((name) => name.endsWith('.log')).length

const LINE_BYTES = lineOf(keyOf(0)).length

test.each([
  ['records', { records: 3, bytes: 1e9 }],
  ['bytes', { records: 1e9, bytes: 3 * LINE_BYTES }],
])('begins a new file when one has enough %s, and finds what is in each', async (_, limits) => {
  const store = await start(limits)
  for (const number of [0, 1, 2]) await append(store, [number])
  expect(await count()).toBe(1)
  await append(store, [3])
  expect(await count()).toBe(2)
  // What is written together stays together.
  await append(store, [4, 5, 6, 7])
  expect(await count()).toBe(2)
  await append(store, [8])
  expect(await count()).toBe(3)
  for (let number = 0; number < 9; number++) {
    expect(await store.find(keyOf(number), START)).toMatchObject([{ key: keyOf(number) }])
  }
})

test('forgets one file at a time', async () => {
  const store = await start({ records: 2, bytes: 1e9 })
  await append(store, [0, 1])
  await append(store, [2, 3])
  await append(store, [4])
  const later = START + TTL_MS
  expect([store.expire(START), store.entries]).toEqual([false, 5])
  expect([store.expire(later), store.entries]).toEqual([true, 3])
  expect([store.expire(later), store.entries]).toEqual([true, 1])
  // The file that is written to stays; what is in it has expired all the same.
  expect([store.expire(later), store.entries]).toEqual([false, 1])
  expect(await store.find(keyOf(4), later)).toEqual([])
  await store.removeExpired()
  expect(await count()).toBe(1)
})

test('takes a record of another key, which begins with the same digits, for no hit', async () => {
  const store = await start({ records: 9, bytes: 1e9 })
  const twin = keyOf(0).slice(0, 8) + keyOf(1).slice(8)
  await append(store, [0])
  expect(await store.find(twin, START)).toEqual([])
})
