import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { FRAME_BYTES, sealed, unsealed } from './redisFrame.ts'

const bytes = fc.uint8Array({ maxLength: 200 }).map((part) => Buffer.from(part))
const key = fc.string({ maxLength: 60 })
const secret = fc.option(fc.string(), { nil: undefined })

test('gives what was sealed for the same key and secret', () => {
  fc.assert(
    fc.property(secret, key, bytes, (kept, of, value) => {
      expect(unsealed(kept, of, sealed(kept, of, value))).toEqual(value)
    }),
  )
})

test('knows what was sealed for another key', () => {
  fc.assert(
    fc.property(secret, key, key, (kept, of, other) => {
      fc.pre(of !== other)
      expect(unsealed(kept, other, sealed(kept, of, Buffer.from('clean')))).toBe('foreign')
    }),
  )
})

test('believes nothing that is cut, longer, or changed in one bit', () => {
  fc.assert(
    fc.property(bytes, fc.nat(), fc.nat({ max: 7 }), (value, place, bit) => {
      const frame = sealed('secret', 'key', value)
      const at = place % frame.length
      const changed = Buffer.from(frame)
      changed[at] = (changed[at] ?? 0) ^ (1 << bit)
      for (const bad of [changed, frame.subarray(0, at), Buffer.concat([frame, Buffer.from('x')])]) {
        expect(['odd', 'foreign']).toContain(unsealed('secret', 'key', bad))
      }
    }),
  )
})

test('believes nothing of who has another secret', () => {
  const value = Buffer.from('clean')
  for (const other of [undefined, '', 'Secret']) {
    expect(unsealed('secret', 'key', sealed(other, 'key', value))).toBe('odd')
  }
})

test('is mark, name of the key, HMAC and value', () => {
  const frame = sealed('secret', 'key', Buffer.from('clean'))
  expect(frame.toString('hex')).toBe(
    '4531' +
      '2c70e12b7a0646f92279f427c7b38e73' +
      'f23cad88ca1f12db069ef4abbe85610725d85824e20c72171eccfd6b7b3d98b7' +
      '636c65616e',
  )
  expect(FRAME_BYTES).toBe(frame.length - 'clean'.length)
})
