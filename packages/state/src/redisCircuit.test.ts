import { expect, test } from '@jest/globals'
import { RedisCircuit } from './redisCircuit.ts'

test('opens after failures in a row, lets one try after a while, and closes when it is answered', () => {
  let now = 0
  const circuit = new RedisCircuit({ failures: 2, retryAfterMs: 100 }, () => now)
  const ask = (outcome: 'succeeded' | 'failed'): void => {
    circuit.begin()
    circuit[outcome]()
  }
  ask('failed')
  ask('succeeded')
  ask('failed')
  expect([circuit.isOpen, circuit.admits]).toEqual([false, true])
  ask('failed')
  expect([circuit.isOpen, circuit.admits]).toEqual([true, false])
  now = 100
  expect(circuit.admits).toBe(true)
  circuit.begin()
  expect(circuit.admits).toBe(false)
  circuit.failed()
  now = 199
  expect(circuit.admits).toBe(false)
  now = 200
  ask('succeeded')
  expect([circuit.isOpen, circuit.admits]).toEqual([false, true])
})
