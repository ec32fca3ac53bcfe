import { expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { scannerOf, until } from './daemon.testkit.ts'
import { EngineVersions } from './engineVersions.ts'

const CLEAN = { findings: [] }

/** Each question waits until it is answered. */
function asked() {
  const answers: ((state: string | Error) => void)[] = []
  const configured = scannerOf(async () => CLEAN)
  const scanner = {
    ...configured.scanner,
    loaded: async (signal: AbortSignal) => {
      const state = await new Promise<string | Error>((resolve) => {
        answers.push(resolve)
        signal.addEventListener('abort', () => resolve(new Error('aborted')))
      })
      if (typeof state !== 'string') throw state
      return { state, isCertain: true }
    },
  }
  return { answers, configured: { ...configured, scanner } }
}

test('an engine is unknown until it was asked, and when it does not answer', async () => {
  const versions = new EngineVersions(60_000)
  const { answers, configured } = asked()
  expect(versions.known(configured)).toBeUndefined()
  const first = versions.answered(configured, { engine: 'e' })
  answers[0]?.('one')
  await first
  expect(versions.known(configured)).toEqual({ state: 'one', isCertain: true })
  const second = versions.confirm(configured)
  answers[1]?.(new FilterError('E_SCANNER_CONNECT', 'down'))
  expect([await second, versions.known(configured)]).toEqual([undefined, undefined])
})

test('a question that was put before does not count, one that is put later serves all who wait', async () => {
  const versions = new EngineVersions(60_000)
  const { answers, configured } = asked()
  const early = versions.confirm(configured)
  const late = [1, 2, 3].map(async () => await versions.confirm(configured))
  answers[0]?.('one')
  expect((await early)?.state).toBe('one')
  await until(() => answers.length > 1)
  answers[1]?.('two')
  expect((await Promise.all(late)).map((of) => of?.state)).toEqual(['two', 'two', 'two'])
  expect(answers).toHaveLength(2)
})

test('an engine that cannot tell what it has loaded is known by what it says of itself', async () => {
  const versions = new EngineVersions(60_000)
  const configured = scannerOf(async () => CLEAN)
  await versions.answered(configured, { engine: 'SpamAssassin 4' })
  const before = await versions.confirm(configured)
  await versions.answered(configured, { engine: 'SpamAssassin 5' })
  expect(versions.known(configured)?.state).not.toBe(before?.state)
  await versions.answered(configured, undefined)
  expect(await versions.confirm(configured)).toBeUndefined()
})

test.each([
  ['its time is over', (): EngineVersions => new EngineVersions(1)],
  ['the daemon ends', (): EngineVersions => new EngineVersions(60_000)],
])('a question without an answer ends when %s', async (why, open) => {
  const versions = open()
  const { configured } = asked()
  const question = versions.confirm(configured)
  if (why === 'the daemon ends') versions.close()
  expect(await question).toBeUndefined()
})
