import { afterEach, expect, test } from '@jest/globals'
import { FAILPOINTS, failpoint, hookFailpoints, type Failpoint } from './failpoint.ts'

afterEach(() => hookFailpoints())

test('does nothing as long as nobody has set a hook', () => {
  for (const point of FAILPOINTS) expect(failpoint(point)).toBeUndefined()
})

test('tells the hook where it is, and lets its exception through', () => {
  const seen: Failpoint[] = []
  hookFailpoints((point) => {
    seen.push(point)
    if (point === 'K3-dot-seen') throw new Error('here')
  })
  failpoint('K1-content-begins')
  expect(() => failpoint('K3-dot-seen')).toThrow('here')
  hookFailpoints()
  failpoint('K4-spooled')
  expect(seen).toEqual(['K1-content-begins', 'K3-dot-seen'])
})

test('has one short name for each place', () => {
  const names = FAILPOINTS.map((point) => point.split('-', 1)[0])
  expect(new Set(names).size).toBe(names.length)
})
