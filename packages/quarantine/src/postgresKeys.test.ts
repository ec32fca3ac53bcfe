import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { addressKeys, domainKey, keyOf } from './postgresKeys.ts'

const unit = fc.oneof(
  fc.constantFrom('\0', 'a', '\x7f', '\x80', 'é', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '😀'),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
)
const anyText = fc.array(unit, { maxLength: 8 }).map((units) => units.join(''))

describe('keys', () => {
  test.each([
    ['', ''],
    ['aé', '61c3a9'],
    ['\0', '00'],
    ['\udc80', 'edb280'],
    ['😀', 'eda0bdedb880'],
    ['\u20ac', 'e282ac'],
    ['\u20ac\ud800', 'e282aceda080'],
  ])('of %j are %s', (text, hex) => {
    expect(keyOf(text).toString('hex')).toBe(hex)
  })

  test('are in each other where the texts are', () => {
    fc.assert(
      fc.property(anyText, anyText, anyText, (before, text, after) => {
        expect(keyOf(before + text + after).includes(keyOf(text))).toBe(true)
        expect(keyOf(before).includes(keyOf(text))).toBe(before.includes(text))
        expect(keyOf(before).equals(keyOf(text))).toBe(before === text)
      }),
    )
  })

  test('of domains begin with those that they are below', () => {
    fc.assert(
      fc.property(anyText, anyText, (text, end) => {
        const begins = domainKey(text).subarray(0, domainKey(end).length).equals(domainKey(end))
        expect(begins).toBe(text.endsWith(end))
      }),
    )
  })

  test('never have the byte that the end of a range is made with', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const { address, domain } = addressKeys(text)
        expect(address.includes(0xff) || domain.includes(0xff)).toBe(false)
      }),
    )
  })
})
