import { expect, test } from '@jest/globals'
import { inTurns } from './turns.ts'

test('others have their turn while long work goes on', async () => {
  const waited = new Promise<void>((resolve) => setImmediate(resolve))
  const seen = { done: false }
  void waited.then(() => (seen.done = true))
  function* untilSeen(): Generator<void, string, void> {
    while (!seen.done) yield
    return 'the work'
  }
  expect(await inTurns(untilSeen())).toBe('the work')
})

test('what the work throws is thrown', async () => {
  function* failing(): Generator<void, void, void> {
    yield
    throw new RangeError('of the work')
  }
  await expect(inTurns(failing())).rejects.toThrow('of the work')
})
