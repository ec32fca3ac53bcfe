import { expect, test } from '@jest/globals'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { HeaderEdit, Message } from '@ecluse/core'
import { editMessage, findHeaderEnd, MAX_HEADER_BYTES } from './header.ts'
import { FieldSpoiler } from './longHeader.ts'

const SPOILS = /^(?:X-Spam-[^\s:]*|X-Ecluse-Alert)[ \t]*:/i

function spoil(pieces: readonly string[]): string {
  const spoiler = new FieldSpoiler(SPOILS)
  const out = pieces.map((piece) => spoiler.push(Buffer.from(piece, 'latin1')))
  return Buffer.concat([...out, spoiler.end()]).toString('latin1')
}

test.each([
  ['A: 1\r\nX-Spam-Flag: NO\r\nB: 2\r\n\r\n', 'A: 1\r\n_-Spam-Flag: NO\r\nB: 2\r\n\r\n'],
  ['x-spam-a : 1\r\n\tX-Spam-B: folded\r\n', '_-spam-a : 1\r\n\tX-Spam-B: folded\r\n'],
  ['A: 1\rX-Spam-A: 1\nX-Ecluse-Alert:\r\n', 'A: 1\r_-Spam-A: 1\n_-Ecluse-Alert:\r\n'],
  ['X-Ecluse-Alerts: 1\r\nNot-X-Spam-A: 1\r\n', 'X-Ecluse-Alerts: 1\r\nNot-X-Spam-A: 1\r\n'],
  ['A: 1\r\n\r\nX-Spam-A: body\r\n', 'A: 1\r\n\r\nX-Spam-A: body\r\n'],
  ['A: 1\n\nX-Spam-A: body\r\n', 'A: 1\n\nX-Spam-A: body\r\n'],
  ['A: 1\r\n\rX-Spam-A: body\r\n', 'A: 1\r\n\rX-Spam-A: body\r\n'],
  ['A: 1\r\nno field\r\nX-Spam-A: body\r\n', 'A: 1\r\nno field\r\nX-Spam-A: body\r\n'],
  ['A: 1\r\nno field: either\r\nX-Spam-A: body\r\n', 'A: 1\r\nno field: either\r\nX-Spam-A: body\r\n'],
  ['A: 1\r\n: 2\r\nX-Spam-A: body\r\n', 'A: 1\r\n: 2\r\nX-Spam-A: body\r\n'],
  ['A: \xff\0\r\nX-Spam-A: 1', 'A: \xff\0\r\n_-Spam-A: 1'],
  ['A: 1\r\nX-Spam-A', 'A: 1\r\nX-Spam-A'],
  ['A: 1\r', 'A: 1\r'],
  ['', ''],
])('%j becomes %j, however it is cut', (text, expected) => {
  expect(spoil([text])).toBe(expected)
  expect(spoil(text.split(''))).toBe(expected)
  for (let at = 1; at < text.length; at++) expect(spoil([text.slice(0, at), text.slice(at)])).toBe(expected)
})

test('holds no more than a long name, and takes it for a field', () => {
  const name = `X-Spam-${'a'.repeat(100_000)}`
  expect(spoil(['A: 1\r\n', name, ': 1\r\nX-Spam-B: 1\r\n'])).toBe(
    `A: 1\r\n_${name.slice(1)}: 1\r\n_-Spam-B: 1\r\n`,
  )
})

const EDITS: readonly HeaderEdit[] = [
  { op: 'remove', name: 'X-Spam-*' },
  { op: 'prepend', name: 'X-Spam-Flag', value: 'YES' },
]
const OURS = 'X-Spam-Flag: YES\r\n'
const FILLER = 'A: 1\r\n'
/** As many as end right before the limit, or some bytes before it. */
const filler = (bytesLeft: number): string =>
  FILLER.repeat(Math.floor((MAX_HEADER_BYTES - bytesLeft) / FILLER.length))

function messageOf(text: string): Message {
  const bytes = Buffer.from(text, 'latin1')
  const header = bytes.subarray(0, findHeaderEnd(bytes.subarray(0, MAX_HEADER_BYTES)).length)
  const open = (offset = 0): Readable => Readable.from([bytes.subarray(offset)], { objectMode: false })
  return { id: 'AbCdEf123456', sizeBytes: bytes.length, digest: '', header, open }
}

test.each([
  ['behind the limit', 0],
  ['at the limit, within its name', 5],
  ['at the limit, within its value', 25],
  ['at the limit, within its second line', 40],
])('no field passes that only we may write: %s', async (_, bytesLeft) => {
  const forged = 'X-Spam-Status: No, score=0\r\n\tfolded-as-well=1\r\n'
  const text = `X-Spam-Flag: NO\r\n${filler(bytesLeft)}${forged}${FILLER}\r\nX-Spam-Flag: body\r\n`
  const edited = editMessage(messageOf(text), EDITS)
  const out = (await buffer(edited.open())).toString('latin1')
  expect(out.length).toBe(edited.sizeBytes)
  const spoiled = forged.replace('X', '_')
  expect(out === `${OURS}${filler(bytesLeft)}${spoiled}${FILLER}\r\nX-Spam-Flag: body\r\n`).toBe(true)
})

test('a field longer than the limit passes in one piece', async () => {
  const text = `X-Spam-Flag: NO\r\nX-Long: ${'x'.repeat(MAX_HEADER_BYTES)}\r\nX-Spam-A: 1\r\n\r\nbody`
  const out = (await buffer(editMessage(messageOf(text), EDITS).open())).toString('latin1')
  expect(out === OURS + text.slice(17).replace('X-Spam-A', '_-Spam-A')).toBe(true)
})

test('a long body behind a header without an empty line stays as it is', async () => {
  const body = `no field\r\nX-Spam-A: body\r\n${'x'.repeat(MAX_HEADER_BYTES)}`
  const edited = editMessage(messageOf(`A: 1\r\n${body}`), EDITS)
  expect((await buffer(edited.open())).toString('latin1') === `${OURS}A: 1\r\n${body}`).toBe(true)
})
