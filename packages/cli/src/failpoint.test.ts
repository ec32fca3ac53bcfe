import { afterEach, expect, test } from '@jest/globals'
import { failpoint, hookFailpoints } from '@ecluse/core'
import { armFailpoint, readFailpoint } from './failpoint.ts'

afterEach(() => hookFailpoints())

/** Arms it in a process that only takes notes. */
function arm(text: string): { readonly done: string[]; signal: () => void } {
  const done: string[] = []
  const kit = { done, signal: (): void => undefined }
  armFailpoint(
    { env: { ECLUSE_FAILPOINT: text, ECLUSE_TEST: '1' }, complain: (line) => done.push(line) },
    {
      pid: 7,
      kill: (pid, signal) => done.push(`kill ${pid} ${signal}`),
      on: (_event, listener) => {
        kit.signal = listener
      },
    },
  )
  return kit
}

test('reads point, action, and which time', () => {
  expect(readFailpoint('K16b:SIGTERM')).toEqual({ point: 'K16b-recorded', action: 'SIGTERM', nth: 1 })
  expect(readFailpoint('K2:throw:12')).toEqual({ point: 'K2-content-midway', action: 'throw', nth: 12 })
  expect(readFailpoint('K1:SIGKILL:0')).toMatchObject({ nth: 0 })
})

test.each([
  '',
  'K1',
  'K5:throw',
  'K1:SIGHUP',
  'K1:throw:x',
  'K1:throw:-1',
  'K1:throw:1:1',
  '\u001b[2J:throw',
])('refuses %j', (text) => {
  expect(() => arm(text)).toThrow(
    expect.objectContaining({ code: 'E_USAGE', hint: expect.stringContaining('POINT one of K1, K2') }),
  )
})

test('does its action once, at the given time', () => {
  const { done } = arm('K4:SIGKILL:2')
  for (let time = 0; time < 4; time++) failpoint('K4-spooled')
  failpoint('K3-dot-seen')
  expect(done).toEqual(['failpoint K4-spooled: SIGKILL', 'kill 7 SIGKILL'])
})

test('waits for SIGUSR2 where the time is 0, and is armed anew by each', () => {
  const kit = arm('K4:throw:0')
  failpoint('K4-spooled')
  for (let time = 0; time < 2; time++) {
    kit.signal()
    expect(() => failpoint('K4-spooled')).toThrow('failpoint K4-spooled')
    failpoint('K4-spooled')
  }
  const each = ['failpoint K4-spooled: armed', 'failpoint K4-spooled: throw']
  expect(kit.done).toEqual([...each, ...each])
})

test('is not armed by a leftover in the environment of a service', () => {
  const complain = (): void => undefined
  expect(() => armFailpoint({ env: { ECLUSE_FAILPOINT: 'K4:throw' }, complain })).toThrow(
    expect.objectContaining({ code: 'E_USAGE' }),
  )
  armFailpoint({ env: { ECLUSE_TEST: '1' }, complain })
  failpoint('K4-spooled')
})
