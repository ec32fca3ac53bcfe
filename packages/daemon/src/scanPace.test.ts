import { expect, test } from '@jest/globals'
import { scannerOf } from './daemon.testkit.ts'
import { ScanPace } from './scanPace.ts'

const configured = scannerOf(async () => ({ findings: [] }), { timeoutMs: 60_000 })
const KIB = 1024

test.each<[string, [sizeBytes: number, ms: number][], number, number]>([
  ['nothing is known', [], 1, 5000],
  [
    'the slowest counts',
    [
      [KIB, 2],
      [KIB, 30],
      [KIB, 4],
    ],
    KIB,
    65,
  ],
  ['a larger message takes longer', [[640 * KIB, 10]], 6400 * KIB, 135],
  ['small ones take the same', [[KIB, 10]], 64 * KIB, 45],
  ['never more than half of the timeout', [[KIB, 59_000]], KIB, 30_000],
  [
    'what is long ago does not count',
    [[KIB, 1000], ...Array.from({ length: 16 }, () => [KIB, 1] as [number, number])],
    KIB,
    36,
  ],
])('%s', (_, samples, sizeBytes, patienceMs) => {
  const pace = new ScanPace()
  for (const [size, ms] of samples) pace.note(configured, { sizeBytes: size, ms })
  expect(pace.patienceMs(configured, sizeBytes)).toBe(patienceMs)
})
