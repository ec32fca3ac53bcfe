import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readAddressText } from './addressEntry.ts'
import { FilterError } from './errors.ts'
import { patternPool } from './pattern.ts'

/** The key, or that there is none. */
function keyOf(text: string): string {
  try {
    return readAddressText(text, patternPool()).key
  } catch (error) {
    if (error instanceof FilterError) return `refused: ${error.message}`
    throw error
  }
}

test('what is its own key is read as an exception to it is, which is looked at more closely', () => {
  const piece = fc.constantFrom(
    'a',
    'b0',
    '-',
    '_',
    '.',
    '@',
    '+',
    '=',
    '..',
    '.a.a.a.a.a.a.a.a.a',
    '.org',
    'x'.repeat(90),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = pieces.join('')
      expect(keyOf(text)).toBe(keyOf(`!${text}`))
    }),
    { numRuns: 2000 },
  )
})
