import { expect, test } from '@jest/globals'
import { CATEGORIES } from '@ecluse/core'
import fc from 'fast-check'
import { ANNA, BOB, keyOf, relayed, START } from '../test/sample.ts'
import {
  formatRecord,
  MAX_LINE_BYTES,
  readHead,
  readRecord,
  type LedgerItem,
  type LedgerRecord,
} from './ledgerRecord.ts'

const KEY = '00112233445566778899aabbccddeeff'
const lineOf = (items: readonly LedgerItem[]): Buffer => {
  const [line, ...more] = formatRecord({ key: KEY, at: START, items })
  expect(more).toEqual([])
  return line ?? Buffer.alloc(0)
}
const read = (line: Buffer): LedgerRecord | undefined => readRecord(line.subarray(0, -1))

test('has this form', () => {
  const rejected = {
    reply: { code: 554, enhanced: '5.7.0', text: 'Reject, id=x' },
    outcome: 'blocked',
  } as const
  const line = lineOf([
    { recipient: ANNA, result: relayed('B1') },
    { recipient: BOB, result: rejected },
    { recipient: '1 é@x', reservedId: 'Abc-123_xyZ9' },
  ])
  expect(line.toString()).toBe(
    'acff748b 00112233445566778899aabbccddeeff 1795478400000 [["1 anna@example.org","relayed",250,"2.0.0",' +
      '"from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as B1","B1"],' +
      '["1 bob@example.org","blocked",554,"5.7.0","Reject, id=x"],["1 é@x","Abc-123_xyZ9"]]\n',
  )
})

const anyText = fc.string({ unit: 'binary', maxLength: 30 })
const loneByte = fc.integer({ min: 0xdc80, max: 0xdcff }).map((code) => `1 ${String.fromCharCode(code)}@x`)
const anyItem: fc.Arbitrary<LedgerItem> = fc.oneof(
  fc.record({ recipient: fc.oneof(anyText, loneByte), reservedId: anyText }),
  fc.record({
    recipient: fc.oneof(anyText, loneByte),
    result: fc.record(
      {
        reply: fc.record({ code: fc.integer({ min: 200, max: 599 }), enhanced: anyText, text: anyText }),
        outcome: fc.constantFrom('relayed', 'refused', 'blocked'),
        queuedAs: anyText,
        category: fc.constantFrom(...CATEGORIES),
      },
      { requiredKeys: ['reply', 'outcome'] },
    ),
  }),
)
const anyRecord = fc.record({
  key: fc.integer().map(keyOf),
  at: fc.integer({ min: 0, max: 9_999_999_999_999 }),
  items: fc.array(anyItem, { minLength: 1, maxLength: 8 }),
})

test('reads what it has written, whatever the bytes', () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const lines = formatRecord(record)
      expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true)
      expect(lines.map((line) => readHead(line.subarray(0, -1)))).toEqual(
        lines.map(() => ({ key: record.key, at: record.at })),
      )
      expect(lines.flatMap((line) => read(line)?.items)).toEqual(record.items)
    }),
  )
})

test('believes no line that is cut, or has one bit changed', () => {
  const line = lineOf([{ recipient: ANNA, result: relayed() }]).subarray(0, -1)
  for (let at = 0; at < line.length; at++) {
    expect(readHead(line.subarray(0, at))).toBeUndefined()
    expect(readHead(line.subarray(at + 1))).toBeUndefined()
    for (let bit = 0; bit < 8; bit++) {
      const changed = Buffer.from(line)
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << bit), at)
      expect(readHead(changed)).toBeUndefined()
    }
  }
})

test('believes no garbage', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(readHead(Buffer.from(bytes))).toBeUndefined()
    }),
  )
})

test.each([
  ['no items', '{}'],
  ['no list', '[1]'],
  ['no recipient', '[[1,"id"]]'],
  ['no id', '[["1 a@x",5]]'],
  ['another outcome', '[["1 a@x","lost",250,"2.0.0","Ok"]]'],
  ['no code', '[["1 a@x","relayed","250","2.0.0","Ok"]]'],
  ['no text', '[["1 a@x","relayed",250,"2.0.0"]]'],
  ['another queue id', '[["1 a@x","relayed",250,"2.0.0","Ok",7]]'],
  ['no JSON', '[["1 a@x"'],
])('passes over a line whose checksum is right and that has %s', (_, json) => {
  const [line] = formatRecord({ key: KEY, at: START, items: [{ recipient: 'x', reservedId: 'y' }] })
  const text = line?.toString().slice(9).replace(/\[.*/s, json) ?? ''
  expect(readRecord(withSum(text))).toBeUndefined()
  expect(readRecord(withSum(text.replace(json, '[["1 a@x","id"]]')))).toMatchObject({ key: KEY })
})

test('makes several lines of many recipients, each short', () => {
  const items = Array.from({ length: 1000 }, (_, index) => ({
    recipient: `1 ${'x'.repeat(240)}${index}@example.org`,
    result: relayed(),
  }))
  const lines = formatRecord({ key: KEY, at: START, items })
  expect(lines.flatMap((line) => read(line)?.items)).toEqual(items)
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(20_000)
})

test('refuses an item that no line can hold, and takes one of the greatest length', () => {
  const bare = lineOf([{ recipient: '', reservedId: '' }]).length
  const line = lineOf([{ recipient: 'x'.repeat(MAX_LINE_BYTES - bare), reservedId: '' }])
  expect(line.length).toBe(MAX_LINE_BYTES)
  expect(() => lineOf([{ recipient: 'x'.repeat(MAX_LINE_BYTES - bare + 1), reservedId: '' }])).toThrow(
    TypeError,
  )
})

test('writes nothing for no items', () => {
  expect(formatRecord({ key: KEY, at: START, items: [] })).toEqual([])
})

/** The line of that text, as somebody else would write it. */
function withSum(text: string): Buffer {
  const sum = sumOf(Buffer.from(text))
  return Buffer.from(`${sum} ${text}`)
}

/** CRC-32 as ISO 3309 has it, bit by bit. */
function sumOf(bytes: Buffer): string {
  let sum = 0xffffffff
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return ((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')
}
