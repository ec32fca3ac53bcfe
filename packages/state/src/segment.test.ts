import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { ANNA, keyOf, relayed, START } from '../test/sample.ts'
import { formatRecord, MAX_LINE_BYTES } from './ledgerRecord.ts'
import { readPlace, scanSegment, segmentName, segmentTime, type Segment } from './segment.ts'

let directory = ''
let path = ''

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-segment-'))
  path = join(directory, segmentName(START))
})

afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

const lineOf = (key: string, text = 'B1'): Buffer =>
  Buffer.concat(formatRecord({ key, at: START, items: [{ recipient: ANNA, result: relayed(text) }] }))

async function scan(): Promise<{ segment: Segment; damaged: number }> {
  const scanned = await scanSegment(path, START)
  if (scanned === undefined) throw new TypeError('not a file')
  return scanned
}

/** The numbers of those keys that the file gives the right record for. */
async function found({ table }: Segment, count: number): Promise<number[]> {
  const numbers: number[] = []
  for (let number = 0; number < count; number++) {
    for (const place of table.find(keyOf(number))) {
      if ((await readPlace(path, place))?.key === keyOf(number)) numbers.push(number)
    }
  }
  return numbers
}

test('reads the whole records before the place where the file was cut, wherever that is', async () => {
  const lines = [0, 1, 2].map((number) => lineOf(keyOf(number)))
  const bytes = Buffer.concat(lines)
  const ends = lines.map((_, index) => Buffer.concat(lines.slice(0, index + 1)).length)
  await writeFile(path, bytes)
  for (let length = bytes.length; length >= 0; length--) {
    await truncate(path, length)
    const { segment, damaged } = await scan()
    const whole = ends.filter((end) => end <= length)
    expect([segment.table.count, segment.sizeBytes, damaged]).toEqual([
      whole.length,
      whole.at(-1) ?? 0,
      length === (whole.at(-1) ?? 0) ? 0 : 1,
    ])
    expect(await found(segment, 3)).toEqual(whole.map((_, index) => index))
  }
})

test.each([
  ['an empty line', Buffer.from('\n'), 1],
  ['text', Buffer.from('hello\nworld\n'), 2],
  ['NUL bytes, as after a power cut', Buffer.concat([Buffer.alloc(5000), Buffer.from('\n')]), 1],
  ['the end of a record', lineOf(keyOf(9)).subarray(20), 1],
  ['a line of 5 MB', Buffer.concat([Buffer.alloc(5_000_000, 'x'), Buffer.from('\n')]), 1],
  [
    'a line one byte too long',
    Buffer.concat([Buffer.alloc(MAX_LINE_BYTES, lineOf(keyOf(9)).subarray(0, -1)), Buffer.from('\n')]),
    1,
  ],
])('passes over %s between records', async (_, garbage, lines) => {
  await writeFile(path, Buffer.concat([lineOf(keyOf(0)), garbage, lineOf(keyOf(1))]))
  const { segment, damaged } = await scan()
  expect([await found(segment, 2), damaged]).toEqual([[0, 1], lines])
})

test('reads a file of many chunks, whatever stands at their edges', async () => {
  const count = 8000
  const lines = Array.from({ length: count }, (_, number) => lineOf(keyOf(number), 'x'.repeat(number % 211)))
  await writeFile(path, Buffer.concat(lines))
  const { segment, damaged } = await scan()
  expect([segment.table.count, damaged]).toEqual([count, 0])
  expect(segment.sizeBytes).toBe((await readFile(path)).length)
  for (const number of [0, 1, 4000, count - 1]) {
    const [place] = segment.table.find(keyOf(number))
    expect(await readPlace(path, place ?? -1)).toMatchObject({ key: keyOf(number) })
  }
})

const LINE_BYTES = lineOf(keyOf(0)).length

test.each([3_000_000, (1 << 20) - LINE_BYTES, 1 << 20])('counts a torn line of %d bytes', async (size) => {
  await writeFile(path, lineOf(keyOf(0)))
  await appendFile(path, Buffer.alloc(size, 'x'))
  const { segment, damaged } = await scan()
  expect([segment.table.count, segment.sizeBytes, damaged]).toEqual([1, LINE_BYTES, 1])
})

test('counts the torn line of a file that is one, and as long as what is read at once', async () => {
  await writeFile(path, Buffer.alloc(1 << 20, 'x'))
  const { segment, damaged } = await scan()
  expect([segment.table.count, segment.sizeBytes, damaged]).toEqual([0, 0, 1])
})

test('reads a record of the greatest length, and none without an end', async () => {
  const bare = formatRecord({ key: keyOf(0), at: START, items: [{ recipient: '', reservedId: '' }] })[0]
  const recipient = 'x'.repeat(MAX_LINE_BYTES - (bare?.length ?? 0))
  const [line] = formatRecord({ key: keyOf(0), at: START, items: [{ recipient, reservedId: '' }] })
  await writeFile(path, line ?? '')
  expect((await readPlace(path, 0))?.items).toEqual([{ recipient, reservedId: '' }])
  expect((await scan()).segment.table.count).toBe(1)
  await writeFile(path, Buffer.alloc(2 * MAX_LINE_BYTES, 'x'))
  expect([await readPlace(path, 0), await readPlace(path, 3 * MAX_LINE_BYTES)]).toEqual([
    undefined,
    undefined,
  ])
})

test.each([
  ['ledger-1795478400000-0123abcd.log', 1_795_478_400_000],
  ['ledger-1795478400000-0123abcd.log~', undefined],
  ['ledger-1795478400000-0123ABCD.log', undefined],
  ['xledger-1795478400000-0123abcd.log', undefined],
  ['ledger-179547840000-0123abcd.log', undefined],
  ['ledger.lock', undefined],
])('knows its own files by name: %s', (name, time) => {
  expect(segmentTime(name)).toBe(time)
})
