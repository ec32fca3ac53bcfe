import { describe, expect, test } from '@jest/globals'
import { Pace, type Lateness, type PaceLimits, type PaceState } from './receivePace.ts'

const LIMITS: PaceLimits = { bytesPerSecond: 500, graceMs: 30_000, receiveMs: 900_000 }
const OWES: PaceState = { inLine: false, owes: true, stressed: false }

/** The second in which the client is late, and why, when it sends so many bytes in each. */
function lateAt(
  limits: Partial<PaceLimits>,
  bytesAt: (second: number) => number,
  state: Partial<PaceState> = {},
): readonly [number, Lateness] | undefined {
  const pace = new Pace({ ...LIMITS, ...limits })
  pace.startBody()
  for (let second = 1; second <= 2000; second++) {
    pace.received(bytesAt(second))
    const late = pace.look(second * 1000, { ...OWES, ...state })
    if (late) return [second, late]
  }
  return undefined
}

describe('a body', () => {
  test.each<[string, Parameters<typeof lateAt>, ReturnType<typeof lateAt>]>([
    ['at the rate has the time of a message', [{}, () => 500], [902, 'message']],
    ['of no bytes has the grace', [{}, () => 0], [32, 'body']],
    ['of a byte a second has little more', [{}, () => 1], [32, 'body']],
    ['at half the rate has twice the grace', [{}, () => 250], [62, 'body']],
    ['that stops after a fast start has the grace from there', [{}, (s) => (s < 60 ? 1e6 : 0)], [90, 'body']],
    ['of a byte a second has a tenth where places run out', [{}, () => 1, { stressed: true }], [5, 'body']],
    [
      'that keeps up is left in peace where places run out',
      [{}, () => 600, { stressed: true }],
      [902, 'message'],
    ],
    ['at no rate has the time of a message', [{ bytesPerSecond: 0 }, () => 0], [902, 'message']],
    ['that we do not read is not slow', [{}, () => 0, { owes: false }], [902, 'message']],
  ])('%s', (_, args, expected) => {
    expect(lateAt(...args)).toEqual(expected)
  })
})

describe('a command', () => {
  const inLine = { ...OWES, inLine: true }

  test('has the grace to come to its end', () => {
    const pace = new Pace(LIMITS)
    expect(pace.look(1000, inLine)).toBeUndefined()
    expect(pace.look(31_000, inLine)).toBeUndefined()
    expect(pace.look(31_001, inLine)).toBe('command')
  })

  test('is not late for the time before it', () => {
    const pace = new Pace(LIMITS)
    pace.look(1000, OWES)
    expect(pace.look(400_000, OWES)).toBeUndefined()
    expect(pace.look(800_000, inLine)).toBeUndefined()
    expect(pace.look(830_001, inLine)).toBe('command')
  })

  test('does not inherit the time of the message before it', () => {
    const pace = new Pace(LIMITS)
    pace.startBody()
    pace.look(1000, OWES)
    pace.look(25_000, OWES)
    pace.endBody()
    expect(pace.look(26_000, inLine)).toBeUndefined()
    expect(pace.look(50_000, inLine)).toBeUndefined()
  })
})
