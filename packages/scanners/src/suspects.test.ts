import { beforeEach, describe, expect, test } from '@jest/globals'
import { CLEAN, FilterError, type ErrorCode, type Scanner } from '@ecluse/core'
import { Suspects } from './suspects.ts'

const scanner: Scanner = { scan: async () => CLEAN, version: async () => ({ engine: 'fake' }) }
const NEVER = new AbortController().signal
const DAY_MS = 86_400_000

let time: number
let suspects: Suspects
beforeEach(() => {
  time = 0
  suspects = new Suspects({ now: () => time, maxEntries: 3, ttlMs: 5 * DAY_MS })
})

function note(message: string, code?: ErrorCode, { opened = false, isTrial = false } = {}): void {
  const error = code && new FilterError(code, 'it failed')
  suspects.note(scanner, message, {
    ...(error && { error }),
    refused: code === 'E_SCANNER_CONNECT',
    opened,
    isTrial,
  })
}
const timeout = (message: string): void => note(message, 'E_SCANNER_TIMEOUT')
const lost = (message: string): void => note(message, 'E_SCANNER_LOST')
const refused = (message: string): void => note(message, 'E_SCANNER_CONNECT')
const answered = (message = 'somebody'): void => note(message)
const failures = (message = 'bad'): number => suspects.failures(scanner, message)

describe('a failure counts', () => {
  test.each(['E_SCANNER_TIMEOUT', 'E_SCANNER_LOST', 'E_SCANNER_PROTOCOL'] as const)(
    'once the engine has answered for another message: %s',
    (code) => {
      note('bad', code)
      expect(failures()).toBe(0)
      answered()
      expect(failures()).toBe(1)
    },
  )

  test('each time', () => {
    for (let i = 0; i < 3; i++) {
      timeout('bad')
      answered()
    }
    expect(failures()).toBe(3)
  })

  test('as a crash, although the circuit opened because nobody could connect after it', () => {
    lost('bad')
    refused('a')
    note('b', 'E_SCANNER_CONNECT', { opened: true })
    answered()
    expect(failures()).toBe(1)
  })

  test('also when it was the very one that opened the circuit of a scanner that others cannot reach', () => {
    refused('a')
    note('bad', 'E_SCANNER_LOST', { opened: true })
    answered()
    expect(failures()).toBe(1)
  })
})

describe('a failure does not count', () => {
  test.each(['E_SCANNER_CONNECT', 'E_SCANNER_LIMIT', 'E_ABORTED'] as const)('when it is %s', (code) => {
    note('bad', code)
    answered()
    expect(failures()).toBe(0)
  })

  test('while the engine answers nobody, however often it is tried', () => {
    for (let i = 0; i < 10; i++) for (const message of ['bad', 'good', 'other']) timeout(message)
    expect(failures()).toBe(0)
    answered()
    expect(['bad', 'good', 'other'].map(failures)).toEqual([1, 1, 1])
  })

  test.each(['E_SCANNER_TIMEOUT', 'E_SCANNER_LOST', 'E_SCANNER_PROTOCOL'] as const)(
    'when so many failed that the circuit opened: %s',
    (code) => {
      note('bad', code)
      timeout('a')
      note('b', 'E_SCANNER_TIMEOUT', { opened: true })
      answered()
      expect(['bad', 'a', 'b'].map(failures)).toEqual([0, 0, 0])
    },
  )

  test('as no answer in time, when others could not connect', () => {
    timeout('bad')
    note('a', 'E_SCANNER_CONNECT', { opened: true })
    answered()
    expect(failures()).toBe(0)
  })

  test('while the circuit is open and this one tried', () => {
    note('bad', 'E_SCANNER_TIMEOUT', { isTrial: true })
    answered()
    expect(failures()).toBe(0)
  })

  test('with another engine', () => {
    timeout('bad')
    answered()
    expect(suspects.failures({ ...scanner }, 'bad')).toBe(0)
  })
})

describe('what is remembered', () => {
  test('an answer clears the message', () => {
    timeout('bad')
    answered()
    expect(failures()).toBe(1)
    answered('bad')
    expect(failures()).toBe(0)
  })

  test('an earlier failure stays when a later one does not count', () => {
    timeout('bad')
    answered()
    timeout('bad')
    note('a', 'E_SCANNER_TIMEOUT', { opened: true })
    answered()
    expect(failures()).toBe(1)
  })

  test('as long as it may come again after its last failure', () => {
    timeout('bad')
    answered()
    time += 4 * DAY_MS
    timeout('bad')
    answered()
    time += 5 * DAY_MS - 1
    expect(failures()).toBe(2)
    time += 1
    expect(failures()).toBe(0)
  })

  test('no more than so many: the one that failed longest ago goes', () => {
    for (const message of ['a', 'b', 'c', 'a', 'd']) {
      timeout(message)
      answered()
    }
    expect(['a', 'b', 'c', 'd'].map(failures)).toEqual([2, 0, 1, 1])
  })
})

describe('turns', () => {
  test('are taken one after the other, in the order of asking', async () => {
    const order: string[] = []
    const first = await suspects.turn(scanner, NEVER)
    const others = ['second', 'third'].map(async (name) => {
      const leave = await suspects.turn(scanner, NEVER)
      order.push(name)
      leave()
    })
    order.push('first')
    first()
    await Promise.all(others)
    expect(order).toEqual(['first', 'second', 'third'])
    const again = await suspects.turn(scanner, NEVER)
    again()
  })

  test('of another engine do not matter', async () => {
    await suspects.turn(scanner, NEVER)
    await expect(suspects.turn({ ...scanner }, NEVER)).resolves.toBeInstanceOf(Function)
  })

  test('whoever gives up is passed over', async () => {
    const first = await suspects.turn(scanner, NEVER)
    const controller = new AbortController()
    const second = suspects.turn(scanner, controller.signal)
    const third = suspects.turn(scanner, NEVER)
    controller.abort(new Error('too late'))
    await expect(second).rejects.toThrow('too late')
    first()
    const leave = await third
    leave()
  })

  test('are not waited for when it is too late already', async () => {
    await expect(suspects.turn(scanner, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late')
    const leave = await suspects.turn(scanner, NEVER)
    leave()
  })
})
