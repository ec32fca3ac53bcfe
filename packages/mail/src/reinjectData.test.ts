import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Transform } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { expect, test } from '@jest/globals'
import { DotStuffer } from './reinjectData.ts'

/** nodemailer's own, which its package does not export. */
async function dataStream(): Promise<new () => Transform> {
  const entry = createRequire(import.meta.url).resolve('nodemailer/lib/smtp-connection')
  const path = join(dirname(entry), '../../esm/smtp-connection/data-stream.js')
  const module = (await import(pathToFileURL(path).href)) as { default: new () => Transform }
  return module.default
}

function stuff(chunks: readonly Buffer[]): string {
  const stuffer = new DotStuffer()
  const pieces = chunks.map((chunk) => stuffer.push(chunk))
  return Buffer.concat([...pieces, stuffer.end()]).toString('latin1')
}

/** Same numbers on every run: a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

test.each([
  ['', '\r\n.\r\n'],
  ['a', 'a\r\n.\r\n'],
  ['a\r\n', 'a\r\n.\r\n'],
  ['a\r', 'a\r\n.\r\n'],
  ['a\n', 'a\r\n.\r\n'],
  ['.', '..\r\n.\r\n'],
  ['.\r\n', '..\r\n.\r\n'],
  ['a\r\n.\r\nb', 'a\r\n..\r\nb\r\n.\r\n'],
  ['a\n.\nb', 'a\r\n..\r\nb\r\n.\r\n'],
  ['a\r.\rb', 'a\r\n..\r\nb\r\n.\r\n'],
  ['a\n.\r\nMAIL', 'a\r\n..\r\nMAIL\r\n.\r\n'],
  ['a\r\n.\nb\r\n', 'a\r\n..\r\nb\r\n.\r\n'],
  ['a\r\r\n.', 'a\r\n\r\n..\r\n.\r\n'],
  ['\0.\r\n\xff', '\0.\r\n\xff\r\n.\r\n'],
])('sends %j as %j, however it is split', (message, expected) => {
  const bytes = Buffer.from(message, 'latin1')
  for (let at = 0; at <= bytes.length; at++) {
    expect(stuff([bytes.subarray(0, at), bytes.subarray(at)])).toBe(expected)
  }
  expect(stuff([...bytes].map((byte) => Buffer.of(byte)))).toBe(expected)
})

test('hands on a chunk that needs no change as it is', () => {
  const chunk = Buffer.from('Subject: x\r\n\r\nbody. \r\n')
  expect(new DotStuffer().push(chunk)).toBe(chunk)
})

test('finds what is missing at each place of a long line, wherever in memory it lies', () => {
  const memory = Buffer.alloc(40)
  for (const [bad, good] of [
    ['\n', '\r\n'],
    ['\r', '\r\n'],
    ['\r\n.', '\r\n..'],
    ['\n.', '\r\n..'],
    ['\r.', '\r\n..'],
  ] as const) {
    for (let offset = 0; offset < 4; offset++) {
      for (let at = 0; at < 20; at++) {
        const [before, after] = ['.'.padStart(at, 'x').slice(0, at), '~'.repeat(20 - at)]
        const size = memory.write(`${before}${bad}${after}`, offset, 'latin1')
        const dot = at === 1 ? '.' : ''
        expect(stuff([memory.subarray(offset, offset + size)])).toBe(
          `${dot}${before}${good}${after}\r\n.\r\n`,
        )
      }
    }
  }
})

test('gives the bytes that nodemailer gives, without bare CR or LF or an early dot', async () => {
  const DataStream = await dataStream()
  const below = random(7)
  const alphabet = Buffer.from('\r\n..a\0 \xe9\r\n', 'latin1')
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(Array.from({ length: below(60) }, () => alphabet[below(alphabet.length)] ?? 0))
    const chunks: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      const size = 1 + below(12)
      chunks.push(bytes.subarray(at, at + size))
      at += size
    }
    const theirs = new DataStream()
    for (const chunk of chunks) theirs.write(chunk)
    theirs.end()
    const ours = stuff(chunks)
    expect(ours).toBe((await buffer(theirs)).toString('latin1'))
    expect(ours).not.toMatch(/\r(?!\n)|(?<!\r)\n/)
    expect(ours.slice(0, -3)).not.toMatch(/(?:^|\r\n)\.\r\n/)
  }
})
