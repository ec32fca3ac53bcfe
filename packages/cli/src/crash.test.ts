import { expect, test } from '@jest/globals'
import { createLog } from '@ecluse/daemon'
import { watchCrashes } from './crash.ts'

function start(write?: (line: string) => void) {
  const lines: Record<string, unknown>[] = []
  const exits: number[] = []
  let listener: (error: unknown, origin: string) => void = () => undefined
  const log = createLog('info', 'json', {
    write: write ?? ((line) => void lines.push(JSON.parse(line) as Record<string, unknown>)),
  })
  const watch = watchCrashes(log, 30_000, {
    on: (_, given) => {
      listener = given
    },
    exit: (code) => void exits.push(code),
  })
  return { watch, lines, exits, crash: (error: unknown) => listener(error, 'uncaughtException') }
}

test('the first one is told with its stack, counted, and stops the process in order', async () => {
  const { watch, lines, exits, crash } = start()
  let count = 0
  watch.counted(() => count++)
  crash(new TypeError('a bug'))
  await watch.happened
  expect(lines).toMatchObject([
    {
      level: 'error',
      origin: 'uncaughtException',
      err: { message: 'a bug', stack: expect.stringContaining('TypeError') },
      msg: 'internal error that nobody caught, stopping',
    },
  ])
  expect([count, exits]).toEqual([1, []])
})

test('a second one ends the process at once', () => {
  const { lines, exits, crash } = start()
  crash('one')
  crash('two')
  expect(lines.map(({ msg }) => msg)).toEqual([
    'internal error that nobody caught, stopping',
    'internal error that nobody caught, ending at once',
  ])
  expect(exits).toEqual([1])
})

test('one before somebody counts is counted', () => {
  const { watch, crash } = start()
  crash('early')
  let count = 0
  watch.counted(() => count++)
  expect(count).toBe(1)
})

test('a log that fails ends the process', () => {
  const { exits, crash } = start(() => {
    throw new Error('EPIPE')
  })
  crash('one')
  expect(exits).toEqual([1])
})
