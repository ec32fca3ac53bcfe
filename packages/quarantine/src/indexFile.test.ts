import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { CATEGORIES } from '@ecluse/core'
import { seeded } from '../test/random.ts'
import { indexLine, readIndex, readIndexLine, itemOfLine } from './indexFile.ts'
import { RECIPIENT_STATES, type QuarantineItem } from './record.ts'

const ITEM: QuarantineItem = {
  id: 'Abc-123_xyZ9',
  category: 'spam',
  storedAt: new Date('2026-11-24T08:00:00.123Z'),
  mailFrom: 'é\udcff@example.net',
  recipients: [{ address: 'anna@example.org', state: 'kept' }, { address: 'bob@example.org' }],
  subject: 'Fête\n{',
  sizeBytes: 42,
  score: 16.75,
  reasons: ['spam'],
}
const ABOUT = { events: 2, fileBytes: 999 }

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-index-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true })
})

/** The bytes of its line, without the end. */
function bytesOf(item: QuarantineItem): Buffer {
  return indexLine(item, ABOUT).bytes?.subarray(0, -1) ?? Buffer.alloc(0)
}

test('writes one line of ASCII that people can read', () => {
  expect(indexLine(ITEM, ABOUT).bytes?.toString('latin1')).toBe(
    '329f4d5e Abc-123_xyZ9 spam 2 1795507200123 999 16.75 0 {"mailFrom":"\\u00e9\\udcff@example.net",' +
      '"recipients":[{"address":"anna@example.org","state":"kept"},{"address":"bob@example.org"}],' +
      '"sizeBytes":42,"reasons":["spam"],"subject":"F\\u00eate\\n{"}\n',
  )
})

test('gives back every item exactly', () => {
  const random = seeded(11)
  const text = (): string => String.fromCharCode(...Array.from({ length: random(20) }, () => random(0x10000)))
  const idOf = (index: number): string => `_-${String(index).padStart(10, '0')}`
  for (let index = 0; index < 1000; index++) {
    const item: QuarantineItem = {
      id: idOf(index),
      category: CATEGORIES[random(CATEGORIES.length)] ?? 'clean',
      storedAt: new Date(random(2 ** 43)),
      mailFrom: text(),
      recipients: Array.from({ length: random(4) }, () => {
        const state = RECIPIENT_STATES[random(4)]
        return { address: text(), ...(state !== undefined && { state }) }
      }),
      ...(random(2) === 0 && { subject: text() }),
      sizeBytes: random(2 ** 31),
      ...(random(2) === 0 && { score: (random(2 ** 20) - 2 ** 19) / 2 ** random(30) }),
      reasons: Array.from({ length: random(3) }, text),
    }
    const read = readIndexLine(bytesOf(item))
    expect(read && itemOfLine(read)).toEqual(item)
    expect(read?.row).toMatchObject({ events: 2, fileBytes: 999, id: item.id })
  }
})

test('reads no line that was cut off anywhere, or of which one byte is another', () => {
  const whole = bytesOf(ITEM)
  for (let at = 0; at < whole.length; at++) {
    expect(readIndexLine(whole.subarray(0, at))).toBeUndefined()
    expect(readIndexLine(whole.subarray(at + 1))).toBeUndefined()
    const other = Buffer.from(whole)
    other[at] = (other[at] ?? 0) ^ 1
    expect(readIndexLine(other)).toBeUndefined()
  }
})

test('has no line for what would be too long', () => {
  const recipients = Array.from({ length: 3000 }, (_, index) => ({ address: `${index}${'x'.repeat(200)}@x` }))
  const { line, bytes } = indexLine({ ...ITEM, recipients }, ABOUT)
  expect(bytes).toBeUndefined()
  expect(itemOfLine(line).recipients).toHaveLength(3000)
})

test('passes over a line of any length, and shows those around it', async () => {
  const path = join(directory, 'x')
  await writeFile(path, 'first\n')
  for (let count = 0; count < 20; count++) await appendFile(path, Buffer.alloc(100_000, 'x'))
  await appendFile(path, '\nsecond\n\nlast without end')
  const shown: string[] = []
  await readIndex(path, (line) => shown.push(line.toString()))
  expect(shown).toEqual(['first', 'second', ''])
})

test('shows every line where they cross the pieces that are read', async () => {
  const path = join(directory, 'x')
  const lines = Array.from({ length: 2000 }, (_, index) => `${index} ${'y'.repeat((index * 37) % 900)}`)
  await writeFile(path, `${lines.join('\n')}\n`)
  const shown: string[] = []
  await readIndex(path, (line) => shown.push(line.toString()))
  expect(shown).toEqual(lines)
})

test('is empty where there is none', async () => {
  const shown: string[] = []
  await readIndex(join(directory, 'none'), (line) => shown.push(line.toString()))
  expect(shown).toEqual([])
})
