import { expect, test } from '@jest/globals'
import { CLEAN, FilterError, type ConfiguredScanner, type ErrorCode, type ScanRequest } from '@ecluse/core'
import { testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { Breakers } from './breaker.ts'
import { guardedScans } from './guardedScans.ts'
import { queued } from './queue.ts'
import { Suspects } from './suspects.ts'

const NEVER = new AbortController().signal
const FAILURES = 3

function mail(text: string): ScanRequest {
  return request(testMessage(`Subject: ${text}\r\n\r\n${text}\r\n`), { client: {} })
}

/** An engine for one message at a time, whose circuit opens after some failures. Each scan ends when it is told to. */
function start(timeoutMs: number) {
  const running: ((end: ErrorCode | 'ok') => void)[] = []
  const scanner = queued(
    {
      scan: async (_, signal) =>
        await new Promise((resolve, reject) => {
          running.push((end) => (end === 'ok' ? resolve(CLEAN) : reject(new FilterError(end, 'told to'))))
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        }),
      version: async () => ({ engine: 'fake' }),
    },
    { name: 'clamav', atOnce: 1 },
  )
  const configured: ConfiguredScanner = {
    name: 'clamav',
    kind: 'fake',
    concerns: ['virus'],
    timeoutMs,
    onError: 'tempfail',
    breaker: { failures: FAILURES, retryAfterMs: 1000 },
    scanner,
  }
  const now = (): number => 0
  const breakers = new Breakers({ now, onChange: () => undefined })
  const suspects = new Suspects({ now, maxEntries: 100, ttlMs: 1000 })
  const scan = guardedScans({ breakers, suspects, maxFailures: 1, retryPauseMs: 1 })
  return {
    running,
    isOpen: () => breakers.isOpen(configured),
    failures: (message: ScanRequest) => suspects.failures(scanner, `${message.message.digest} `),
    show: async (message: ScanRequest) => (await scan([configured], message, NEVER))[0],
  }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

test('waiting in vain for an engine opens no circuit, and is held against no message', async () => {
  const { running, isOpen, failures, show } = start(400)
  const first = show(mail('first'))
  const late = Array.from({ length: FAILURES + 1 }, (_, index) => mail(`late ${index}`))
  const results = await Promise.all(late.map(show))
  for (const result of results) {
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'E_SCANNER_BUSY' } })
  }
  expect(isOpen()).toBe(false)
  // The first one had twice their time.
  running[0]?.('ok')
  expect(await first).toMatchObject({ outcome: 'done' })
  expect(late.map(failures)).toEqual(late.map(() => 0))
  const next = show(mail('next'))
  await settle()
  running[1]?.('ok')
  expect(await next).toMatchObject({ outcome: 'done' })
})

test('an engine that does not answer those that it is shown is left alone', async () => {
  const { isOpen, show } = start(20)
  for (let shown = 0; shown < FAILURES; shown++) {
    expect(await show(mail(`${shown}`))).toMatchObject({ error: { code: 'E_SCANNER_TIMEOUT' } })
  }
  expect(isOpen()).toBe(true)
})

test('a crash counts for the message although its second try waits in vain', async () => {
  const { running, failures, show } = start(400)
  const [bad, good] = [mail('bad'), mail('good')]
  const crashed = show(bad)
  const slow = show(good)
  await settle()
  running[0]?.('E_SCANNER_LOST')
  expect(await crashed).toMatchObject({ error: { code: 'E_SCANNER_LOST' } })
  running[1]?.('ok')
  expect(await slow).toMatchObject({ outcome: 'done' })
  expect(failures(bad)).toBe(1)
})
