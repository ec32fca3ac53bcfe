import { getEventListeners } from 'node:events'
import { expect, test } from '@jest/globals'
import { Turn, Turns } from './messageTurns.ts'

const { signal } = new AbortController()

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

test('whoever waits comes in order, but the peer with the fewest running first', async () => {
  const turns = new Turns(() => 2)
  const running = [new Turn(turns, 'a', signal), new Turn(turns, 'a', signal)]
  const order: string[] = []
  const waiting = ['a1', 'a2', 'b1', 'b2'].map((name) => {
    const turn = new Turn(turns, name.charAt(0), signal)
    void turn.awaited?.then(() => order.push(name))
    return turn
  })
  running[0]?.end()
  await settle()
  running[1]?.end()
  await settle()
  expect(order).toEqual(['b1', 'a1'])
  waiting[0]?.end()
  await settle()
  waiting[2]?.end()
  await settle()
  expect(order).toEqual(['b1', 'a1', 'a2', 'b2'])
  waiting[1]?.end()
  waiting[3]?.end()
  expect(getEventListeners(signal, 'abort')).toEqual([])
  expect(new Turn(turns, 'a', signal).awaited).toBeUndefined()
})

test('one that is aborted while it waits leaves no place taken', async () => {
  const turns = new Turns(() => 1)
  const first = new Turn(turns, 'a', signal)
  const controller = new AbortController()
  const late = new Turn(turns, 'a', controller.signal)
  controller.abort(new Error('late'))
  await expect(late.awaited).rejects.toThrow('late')
  late.end()
  first.end()
  expect(turns.mayBegin('a')).toBe(true)
  const next = new Turn(turns, 'a', signal)
  expect(next.awaited).toBeUndefined()
  expect(turns.mayBegin('a')).toBe(false)
  next.end()
  const aborted = new Turn(turns, 'a', AbortSignal.abort(new Error('before')))
  expect(aborted.awaited).toBeUndefined()
  aborted.end()
})

test('one that ends while it waits leaves no place taken, and no listener', () => {
  const turns = new Turns(() => 1)
  const first = new Turn(turns, 'a', signal)
  const broken = new Turn(turns, 'a', signal)
  broken.end()
  expect(getEventListeners(signal, 'abort')).toEqual([])
  first.end()
  const next = new Turn(turns, 'a', signal)
  expect(next.awaited).toBeUndefined()
  next.end()
})

test('one that ends in the moment of its turn leaves no place taken', () => {
  const turns = new Turns(() => 1)
  const first = new Turn(turns, 'a', signal)
  const second = new Turn(turns, 'a', signal)
  first.end()
  second.end()
  const next = new Turn(turns, 'a', signal)
  expect(next.awaited).toBeUndefined()
  next.end()
})

test('a higher limit lets those in that wait', async () => {
  let limit = 1
  const turns = new Turns(() => limit)
  const [first, second, third] = ['a', 'a', 'a'].map((peer) => new Turn(turns, peer, signal))
  limit = 3
  first?.end()
  await expect(second?.awaited).resolves.toBeUndefined()
  await expect(third?.awaited).resolves.toBeUndefined()
  second?.end()
  third?.end()
})
