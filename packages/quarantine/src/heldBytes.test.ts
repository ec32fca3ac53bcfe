import { expect, test } from '@jest/globals'
import { seeded } from '../test/random.ts'
import { HeldBytes } from './heldBytes.ts'

test('gives back what it was given, of any length and in any order', () => {
  const random = seeded(7)
  const held = new HeldBytes()
  const pieces = [0, 1, 1_048_576, 1_048_577, 3_000_000, ...Array.from({ length: 500 }, () => random(20_000))]
  const places = pieces.map((length, index) => {
    const source = Buffer.alloc(length, index % 251)
    const place = held.hold(source)
    // What it held is a copy.
    source.fill(0xff)
    return { place, length, byte: index % 251 }
  })
  for (const { place, length, byte } of places.toReversed()) {
    expect(held.read(place).equals(Buffer.alloc(length, byte))).toBe(true)
  }
})
