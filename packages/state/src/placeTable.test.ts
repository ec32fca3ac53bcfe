import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { keyOf } from '../test/sample.ts'
import { PlaceTable } from './placeTable.ts'

// Few different beginnings, so that keys meet: all in one slot, at the end of the table, with the same 32 bits.
const meetingKey = fc
  .tuple(fc.constantFrom('00000000', 'ffffffff', 'fffffffe', '000000ff', '12345678'), fc.nat({ max: 3 }))
  .map(([start, rest]) => start + keyOf(rest).slice(8))
const anyKey = fc.oneof(meetingKey, fc.nat({ max: 50 }).map(keyOf))

test('gives the places of each key as a map does, and those of keys with the same beginning', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyKey, fc.nat({ max: 0xfffffffe })), { maxLength: 900 }), (added) => {
      const table = new PlaceTable()
      const model = new Map<string, number[]>()
      for (const [key, place] of added) {
        table.add(key, place)
        const start = key.slice(0, 8)
        model.set(start, [...(model.get(start) ?? []), place])
      }
      expect(table.count).toBe(added.length)
      for (const [start, places] of model) {
        expect(table.find(start + keyOf('any').slice(8))).toEqual(places.sort((a, b) => a - b))
      }
      expect(table.find(keyOf('never added'))).toEqual([])
    }),
  )
})

test('keeps 100,000 apart', () => {
  const table = new PlaceTable()
  const keys = Array.from({ length: 100_000 }, (_, index) => keyOf(index))
  keys.forEach((key, index) => table.add(key, index))
  expect(keys.every((key, index) => table.find(key).includes(index))).toBe(true)
  // 32 bits tell nearly all of them apart.
  expect(keys.filter((key) => table.find(key).length > 1).length).toBeLessThan(20)
})
