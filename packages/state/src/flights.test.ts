import { expect, test } from '@jest/globals'
import { Flights } from './flights.ts'

const NEVER = new AbortController().signal
const LONG_MS = 100_000

test('who waits gets what the first one found', async () => {
  const flights = new Flights<number>()
  const flight = flights.begin('k')
  expect(flights.get('other')).toBeUndefined()
  const waiting = Promise.all([1, 2, 3].map(async () => await flights.get('k')?.wait(LONG_MS, NEVER)))
  flight.end({ value: 7 })
  expect(await waiting).toEqual([{ value: 7 }, { value: 7 }, { value: 7 }])
  expect(flights.get('k')).toBeUndefined()
})

test.each(['failed', 'again'] as const)('all hear that it %s', async (end) => {
  const flights = new Flights<number>()
  const flight = flights.begin('k')
  const waiting = [flight.wait(LONG_MS, NEVER), flight.wait(LONG_MS, NEVER)]
  flight.end(end)
  flight.end({ value: 7 })
  expect(await Promise.all(waiting)).toEqual([end, end])
})

test('who comes when the value is being made safe looks again', async () => {
  const flights = new Flights<number>()
  const flight = flights.begin('k')
  const early = flight.wait(LONG_MS, NEVER)
  flight.settle()
  const late = flights.get('k')?.wait(LONG_MS, NEVER)
  flight.end({ value: 7 })
  expect([await early, await late]).toEqual([{ value: 7 }, 'again'])
  expect(await flight.wait(LONG_MS, NEVER)).toBe('again')
})

test('who has waited long enough goes, and the others wait on', async () => {
  const flight = new Flights<number>().begin('k')
  const patient = flight.wait(LONG_MS, NEVER)
  expect(await flight.wait(1, NEVER)).toBe('late')
  flight.end({ value: 7 })
  expect(await patient).toEqual({ value: 7 })
})

test('who is aborted goes, and the others wait on', async () => {
  const flight = new Flights<number>().begin('k')
  const controller = new AbortController()
  const aborted = flight.wait(LONG_MS, controller.signal)
  const patient = flight.wait(LONG_MS, NEVER)
  controller.abort()
  expect(await aborted).toBe('aborted')
  expect(await flight.wait(LONG_MS, controller.signal)).toBe('aborted')
  flight.end({ value: 7 })
  expect(await patient).toEqual({ value: 7 })
})

test('one that was begun in place of another is not ended with it', async () => {
  const flights = new Flights<number>()
  const first = flights.begin('k')
  const second = flights.begin('k')
  first.end('failed')
  expect(flights.get('k')).toBe(second)
})
