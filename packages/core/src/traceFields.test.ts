import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { addressedBy, authenticatedAs, foreignTrace, relayPath, splitHeader } from './traceFields.ts'

const split = (text: string) => splitHeader(Buffer.from(text, 'latin1'))
const keptOf = (text: string): string | undefined => {
  const parts = split(text)
  return parts && Buffer.concat([...parts.kept]).toString('latin1')
}

describe('what is left of a header without the way', () => {
  test.each([
    ['nothing to take out', 'From: a@b\r\nSubject: s\r\n\r\n', 'From: a@b\r\nSubject: s\r\n\r\n'],
    ['the first field leaves its name', 'Received: x\r\nFrom: a@b\r\n\r\n', 'Received: From: a@b\r\n\r\n'],
    ['in the midst', 'From: a@b\r\nReceived: x\r\nTo: c\r\n\r\n', 'From: a@b\r\nTo: c\r\n\r\n'],
    [
      'folded, in any case',
      'From: a\r\nRECEIVED: x\r\n\ty\r\n z\r\nTo: c\r\n\r\n',
      'From: a\r\nTo: c\r\n\r\n',
    ],
    [
      'all four, one after the other',
      'From: a\r\nReturn-Path: <b>\r\nDelivered-To: c\r\nX-Original-To: d\r\nReceived: e\r\n\r\n',
      'From: a\r\n\r\n',
    ],
    [
      'names that begin alike',
      'From: a\r\nReceived-SPF: pass\r\n\r\n',
      'From: a\r\nReceived-SPF: pass\r\n\r\n',
    ],
    ['a name within a value', 'From: a\r\nX: Received: b\r\n\r\n', 'From: a\r\nX: Received: b\r\n\r\n'],
    ['nothing but an empty line', '\r\n\r\n', '\r\n\r\n'],
  ])('%s', (_, header, kept) => {
    expect(keptOf(header)).toBe(kept)
  })

  test.each([
    ['a bare LF', 'Received: x\nFrom: a\r\n\r\n'],
    ['a bare CR', 'Received: x\rFrom: a\r\n\r\n'],
    ['NUL', 'Received: x\0\r\n\r\n'],
    ['a blank line that is folded', 'Received: x\r\n \r\nFrom: a\r\n\r\n'],
    ['blanks before the colon', 'Received : x\r\nFrom: a\r\n\r\n'],
    ['no end', 'Received: x\r\nFrom: a\r\n'],
    ['nothing', ''],
  ])('%s: it does not read one way, and nothing is left out', (_, header) => {
    expect(split(header)).toBeUndefined()
  })

  const line = fc
    .string({ unit: fc.constantFrom(...Array.from('ab: <>;()@.')), maxLength: 12 })
    .map((text) => `v${text}`)
  const value = fc.array(line, { minLength: 1, maxLength: 3 }).map((lines) => lines.join('\r\n '))
  const field = (...names: string[]) =>
    fc.tuple(fc.constantFrom(...names), value).map(([name, text]) => `${name}: ${text}\r\n`)
  const content = field('From', 'To', 'Subject', 'Received-SPF', 'X-Original', 'DKIM-Signature')
  const way = field('Received', 'Return-Path', 'Delivered-To', 'X-Original-To', 'RECEIVED')

  test('property: whatever way is written between the fields below the first, the rest is the same', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(content, fc.array(way, { maxLength: 3 })), { minLength: 1, maxLength: 6 }),
        (fields) => {
          const plain = `${fields.map(([of]) => of).join('')}\r\n`
          const travelled = `${fields.map(([of, ways]) => of + ways.join('')).join('')}\r\n`
          expect(keptOf(travelled)).toBe(plain)
          const all = fields.flatMap(([, ways]) => ways.map((text) => text.slice(0, -2)))
          expect(split(travelled)?.trace).toEqual(all)
        },
      ),
    )
  })

  test('property: other content below the same way is never the same', () => {
    fc.assert(
      fc.property(fc.array(content), fc.array(content), fc.array(way), (one, other, ways) => {
        fc.pre(one.join('') !== other.join(''))
        expect(keptOf(`${ways.join('')}${one.join('')}\r\n`)).not.toBe(
          keptOf(`${ways.join('')}${other.join('')}\r\n`),
        )
      }),
    )
  })

  test('a header of a million folds is read in one go', () => {
    const folds = `Received: x${'\r\n y'.repeat(250_000)}\r\nFrom: a\r\n\r\n`
    expect(keptOf(folds)).toBe('Received: From: a\r\n\r\n')
  })
})

const TOP =
  'Received: from client.example (name [192.0.2.1])\r\n\tby mx.example.org (Postfix) with ESMTP id 4V1\r\n\tfor <a@example.org>; Tue, 24 Nov 2026 10:00:00 +0000'

describe('what the way tells', () => {
  test('relays are the same in copies with other ids, recipients and dates', () => {
    const other = TOP.replace('4V1', '4V2').replace('a@', 'b@').replace('10:00', '11:11')
    expect(relayPath([TOP, 'Delivered-To: x'])).toBe(relayPath([other]))
    expect(relayPath([TOP])).toBe(
      'Received: from client.example (name [192.0.2.1]) by mx.example.org (Postfix) with ESMTP',
    )
    expect(relayPath([TOP.replace('192.0.2.1', '192.0.2.2')])).not.toBe(relayPath([TOP]))
    expect(relayPath([])).toBe('')
    expect(relayPath(['Received:'])).toBe('Received:')
  })

  test('addresses are those of the other fields', () => {
    expect(addressedBy(['Return-Path: <a>', TOP, 'Delivered-To: b'])).toBe(
      'Return-Path: <a>\nDelivered-To: b',
    )
  })

  test('the topmost Received is ours, all the rest is foreign', () => {
    expect(foreignTrace(['Return-Path: <a>', TOP, 'Received: x'])).toBe('Return-Path: <a>\nReceived: x')
    expect(foreignTrace(['Delivered-To: b'])).toBe('Delivered-To: b')
    expect(foreignTrace([])).toBe('')
  })

  test.each([
    [TOP, ''],
    [TOP.replace('ESMTP', 'ESMTPSA'), 'with ESMTPSA'],
    [TOP.replace('ESMTP', 'utf8smtpa'), 'with utf8smtpa'],
    [TOP.replace('\r\n\tby', '\r\n\t(Authenticated sender: bob)\r\n\tby'), '(Authenticated sender: bob)'],
  ])('a password shows in the topmost Received: %j', (field, words) => {
    expect(authenticatedAs(['Delivered-To: x', field, TOP.replace('ESMTP', 'ESMTPA')])).toBe(words)
  })
})
