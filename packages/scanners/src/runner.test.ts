import { describe, expect, test } from '@jest/globals'
import { CLEAN, FilterError, type ConfiguredScanner, type Scanner } from '@ecluse/core'
import { testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { scanAll } from './runner.ts'

const hello = request(testMessage('Subject: x\r\n\r\nhello\r\n'))
const NEVER = new AbortController().signal

type Scan = Scanner['scan']
const configured = (
  name: string,
  scan: Scan,
  changes: Partial<ConfiguredScanner> = {},
): ConfiguredScanner => ({
  name,
  kind: 'fake',
  concerns: ['virus'],
  timeoutMs: 60_000,
  onError: 'pass',
  scanner: { scan, version: () => Promise.resolve({ engine: name }) },
  ...changes,
})
/** Heeds nothing. */
const deaf: Scan = () => new Promise(() => undefined)
const clean: Scan = () => Promise.resolve(CLEAN)
const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

test('runs all at once and answers in their order', async () => {
  let release = (): void => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const slow: Scan = async () => {
    await released
    return CLEAN
  }
  const last: Scan = () => {
    release()
    return Promise.resolve(CLEAN)
  }
  const results = await scanAll([configured('first', slow), configured('last', last)], hello, NEVER)
  expect(results).toMatchObject([
    { scanner: 'first', outcome: 'done', verdict: CLEAN, cached: false, concerns: ['virus'] },
    { scanner: 'last', outcome: 'done' },
  ])
})

test('without scanners there is nothing to tell', async () => {
  await expect(scanAll([], hello, NEVER)).resolves.toEqual([])
})

test('does not show what is larger than the limit', async () => {
  const { sizeBytes } = hello.message
  const never: Scan = () => Promise.reject(new TypeError('asked'))
  await expect(
    scanAll(
      [
        configured('under', never, { maxSizeBytes: sizeBytes - 1 }),
        configured('equal', clean, { maxSizeBytes: sizeBytes }),
      ],
      hello,
      NEVER,
    ),
  ).resolves.toMatchObject([{ outcome: 'skipped', reason: 'too large' }, { outcome: 'done' }])
})

test('stops waiting at the deadline, and tells the scanner', async () => {
  const before = timers()
  let told: AbortSignal | undefined
  const scan: Scan = (_, signal) => {
    told = signal
    return new Promise(() => undefined)
  }
  const results = await scanAll([configured('deaf', scan, { timeoutMs: 5 })], hello, NEVER)
  expect(results).toMatchObject([
    { outcome: 'failed', onError: 'pass', error: { code: 'E_SCANNER_TIMEOUT' } },
  ])
  expect(told?.aborted).toBe(true)
  // Jest's own may end meanwhile.
  expect(timers()).toBeLessThanOrEqual(before)
})

test('a scan after one that was stopped is not stopped by it', async () => {
  const heeding: Scan = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))
  await scanAll([configured('heeding', heeding, { timeoutMs: 5 })], hello, NEVER)
  // The scan itself ends after its result.
  await new Promise(setImmediate)
  const told: boolean[] = []
  const scan: Scan = (_, signal) => {
    told.push(signal.aborted)
    return Promise.resolve(CLEAN)
  }
  await scanAll([configured('next', scan), configured('other', scan)], hello, NEVER)
  expect(told).toEqual([false, false])
})

test('scans that run at the same time are stopped one by one', async () => {
  await scanAll([configured('a', clean), configured('b', clean)], hello, NEVER)
  const told: AbortSignal[] = []
  const scan: Scan = (_, signal) => {
    told.push(signal)
    return new Promise((resolve) => setImmediate(resolve, CLEAN))
  }
  const stuck: Scan = (_, signal) => {
    told.push(signal)
    return new Promise(() => undefined)
  }
  const results = scanAll(
    [configured('stuck', stuck, { timeoutMs: 1 }), configured('fine', scan)],
    hello,
    NEVER,
  )
  await expect(results).resolves.toMatchObject([{ outcome: 'failed' }, { outcome: 'done' }])
  expect(told.map(({ aborted }) => aborted)).toEqual([true, false])
})

test.each([
  ['an abort', new Error('shutdown')],
  ['the deadline of the message', new DOMException('too late', 'TimeoutError')],
])('says E_ABORTED on %s, whatever the scanner does', async (_, reason) => {
  const before = timers()
  const controller = new AbortController()
  const heeding: Scan = (__, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('mine'))))
  const results = scanAll(
    [configured('deaf', deaf), configured('heeding', heeding)],
    hello,
    controller.signal,
  )
  controller.abort(reason)
  await expect(results).resolves.toMatchObject([
    { outcome: 'failed', error: { code: 'E_ABORTED' } },
    { outcome: 'failed', error: { code: 'E_ABORTED' } },
  ])
  // Jest's own may end meanwhile.
  expect(timers()).toBeLessThanOrEqual(before)
})

test('asks nobody when the signal has aborted before', async () => {
  const asked: Scan = () => Promise.reject(new FilterError('E_SCANNER_CONNECT', 'asked'))
  await expect(scanAll([configured('idle', asked)], hello, AbortSignal.abort())).resolves.toMatchObject([
    { error: { code: 'E_ABORTED' } },
  ])
})

test('a failure of one is a result, and does not disturb the others', async () => {
  const limit = new FilterError('E_SCANNER_LIMIT', 'full')
  const results = await scanAll(
    [
      configured('limit', () => Promise.reject(limit)),
      configured('bug', () => {
        throw new RangeError('at once')
      }),
      configured('fine', clean),
    ],
    hello,
    NEVER,
  )
  expect(results).toMatchObject([
    { outcome: 'failed', error: limit },
    { outcome: 'failed', error: { code: 'E_SCANNER_PROTOCOL', cause: { message: 'at once' } } },
    { outcome: 'done' },
  ])
})

test('keeps no listener on the signal of the caller', async () => {
  const { signal } = new AbortController()
  let listeners = 0
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...all: Parameters<typeof add>) => {
    listeners += 1
    add(...all)
  }
  signal.removeEventListener = (...all: Parameters<typeof remove>) => {
    listeners -= 1
    remove(...all)
  }
  await scanAll([configured('a', clean), configured('b', clean)], hello, signal)
  await new Promise(setImmediate)
  expect(listeners).toBe(0)
})

describe('a backup', () => {
  const broken: Scan = () => Promise.reject(new FilterError('E_SCANNER_CONNECT', 'nobody there'))
  const infected: Scan = () => Promise.resolve({ findings: [{ kind: 'virus', name: 'Eicar' }] })
  const unasked: Scan = () => Promise.reject(new TypeError('asked'))
  const second = (scan: Scan, changes: Partial<ConfiguredScanner> = {}): ConfiguredScanner =>
    configured('second', scan, { backupFor: ['first'], ...changes })

  test('is not asked when the other answered', async () => {
    const results = await scanAll([second(unasked), configured('first', infected)], hello, NEVER)
    expect(results).toMatchObject([{ scanner: 'first', outcome: 'done' }])
  })

  test('answers for the one that failed, in the order of the scanners', async () => {
    const results = await scanAll([second(infected), configured('first', broken)], hello, NEVER)
    expect(results).toMatchObject([
      { scanner: 'second', outcome: 'done', backupFor: ['first'] },
      { scanner: 'first', outcome: 'failed', onError: 'pass', coveredBy: 'second' },
    ])
  })

  test('is asked after a timeout, with all of its own time', async () => {
    const results = await scanAll(
      [configured('first', deaf, { timeoutMs: 5 }), second(clean, { timeoutMs: 60_000 })],
      hello,
      NEVER,
    )
    expect(results).toMatchObject([{ coveredBy: 'second' }, { outcome: 'done' }])
  })

  test('that fails too covers nothing', async () => {
    const results = await scanAll([configured('first', broken), second(broken)], hello, NEVER)
    expect(results).toMatchObject([{ outcome: 'failed' }, { outcome: 'failed', backupFor: ['first'] }])
    expect(results[0]).not.toHaveProperty('coveredBy')
  })

  test('that is not shown the message covers nothing', async () => {
    const results = await scanAll(
      [configured('first', broken), second(unasked, { maxSizeBytes: 1 })],
      hello,
      NEVER,
    )
    expect(results).toMatchObject([{ outcome: 'failed' }, { outcome: 'skipped' }])
    expect(results[0]).not.toHaveProperty('coveredBy')
  })

  test('of two waits until both have failed', async () => {
    const both = { backupFor: ['first', 'other'] }
    const one = await scanAll(
      [configured('first', broken), configured('other', clean), second(unasked, both)],
      hello,
      NEVER,
    )
    expect(one.map(({ outcome }) => outcome)).toEqual(['failed', 'done'])
    const none = await scanAll(
      [configured('first', broken), configured('other', broken), second(clean, both)],
      hello,
      NEVER,
    )
    expect(none).toMatchObject([{ coveredBy: 'second' }, { coveredBy: 'second' }, { outcome: 'done' }])
  })

  test('counts those alone that this message is for', async () => {
    const results = await scanAll(
      [configured('first', broken), second(clean, { backupFor: ['first', 'not wanted'] })],
      hello,
      NEVER,
    )
    expect(results).toMatchObject([{ coveredBy: 'second' }, { outcome: 'done' }])
    await expect(scanAll([second(unasked)], hello, NEVER)).resolves.toEqual([])
  })

  test('is not asked for what the other need not see', async () => {
    const results = await scanAll(
      [configured('first', unasked, { maxSizeBytes: 1 }), second(unasked)],
      hello,
      NEVER,
    )
    expect(results).toMatchObject([{ scanner: 'first', outcome: 'skipped' }])
  })

  test('is not asked any more when the time of the message is over', async () => {
    const controller = new AbortController()
    const results = scanAll([configured('first', deaf), second(unasked)], hello, controller.signal)
    controller.abort()
    await expect(results).resolves.toMatchObject([{ error: { code: 'E_ABORTED' } }])
  })

  test('is asked at the same time as another one for the same', async () => {
    const results = await scanAll(
      [configured('first', broken), second(broken), configured('third', clean, { backupFor: ['first'] })],
      hello,
      NEVER,
    )
    expect(results).toMatchObject([{ coveredBy: 'third' }, { outcome: 'failed' }, { outcome: 'done' }])
  })
})
