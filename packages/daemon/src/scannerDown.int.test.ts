import { join } from 'node:path'
import { afterEach, describe, expect, test } from '@jest/globals'
import {
  CLEAN,
  FilterError,
  ON_ERROR,
  type ConfiguredScanner,
  type ErrorCode,
  type OnError,
} from '@ecluse/core'
import {
  EICAR,
  startFakeClamd,
  startFakeRspamd,
  startFakeSpamd,
  type FakeScanner,
  type LmtpClient,
  type ScannerFault,
} from '@ecluse/fixtures'
import {
  HAM,
  masked,
  onRelease,
  releaseAll,
  scannerOf,
  scannerOfKind,
  sendMail,
  startTestDaemon,
  tempFolder,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const DEFERRED = '451 4.7.1 Content filter cannot check this message now, id=ID'
const OPENED = 'scanner failed too often: circuit open, not asked'
const CLOSED = 'scanner answers again: circuit closed'
const FAILURES = 2

async function send(client: LmtpClient, content = HAM, queueId?: string): Promise<string> {
  const xforward = queueId === undefined ? {} : { xforward: `IDENT=${queueId}` }
  const { dot } = await sendMail(client, { to: ['r@example.org'], content, ...xforward })
  return masked(dot.join())
}

/** How often each of the two lines about circuits was written. */
const told = ({ lines }: TestDaemon): [opened: number, closed: number] => [
  lines.filter(({ msg }) => msg === OPENED).length,
  lines.filter(({ msg }) => msg === CLOSED).length,
]

const circuitOf = async (kit: TestDaemon, name: string): Promise<number | undefined> =>
  (await kit.metrics()).get(`ecluse_scanner_circuit_open{scanner="${name}"}`)

/** With a breaker whose wait is over when the test says so. */
function withBreaker(configured: ConfiguredScanner) {
  let retryAfterMs = Infinity
  const breaker = {
    failures: FAILURES,
    get retryAfterMs() {
      return retryAfterMs
    },
  }
  const endWait = (): void => {
    retryAfterMs = 0
  }
  return { scanner: { ...configured, breaker }, endWait }
}

const ADAPTERS = {
  clamd: { start: startFakeClamd, options: (address: FakeScanner['address']) => ({ address }) },
  spamd: { start: startFakeSpamd, options: (address: FakeScanner['address']) => ({ address }) },
  rspamd: {
    start: startFakeRspamd,
    options: (address: FakeScanner['address']) => ({
      url: 'path' in address ? `unix:${address.path}` : `http://127.0.0.1:${address.port}`,
    }),
  },
} as const
type Adapter = keyof typeof ADAPTERS

describe.each(Object.keys(ADAPTERS) as Adapter[])('%s that fails again and again', (adapter) => {
  test.each<[ScannerFault, OnError]>([
    ['reset', 'tempfail'],
    ['reset', 'pass'],
    ['garbage', 'unchecked'],
    ['silent', 'tempfail'],
  ])('%s, %s: is left alone, tried, and asked again', async (fault, onError) => {
    const fake = await ADAPTERS[adapter].start()
    onRelease(() => fake.close())
    const options = ADAPTERS[adapter].options(fake.address)
    const { scanner, endWait } = withBreaker(scannerOfKind(adapter, { options, onError, timeoutMs: 200 }))
    const kit = await startTestDaemon({ scanners: [scanner, scannerOfKind('test')] })
    const client = await kit.greet()
    const failing = onError === 'tempfail' ? /^451 4\.7\.1 / : /^250 2\.0\.0 /

    fake.misbehave(fault)
    for (let i = 0; i < FAILURES; i++) expect(await send(client)).toMatch(failing)
    expect(told(kit)).toEqual([1, 0])
    expect(await circuitOf(kit, adapter)).toBe(1)
    const { accepted } = fake
    for (let i = 0; i < 3; i++) expect(await send(client)).toMatch(failing)
    expect(fake.accepted).toBe(accepted)
    expect(kit.messages().at(-1)).toMatchObject({
      scanners: [
        { name: adapter, verdict: 'error' },
        { name: 'test', verdict: 'clean' },
      ],
    })
    expect(kit.daemon.notReady()).toEqual(
      onError === 'tempfail'
        ? [`scanner ${adapter}: E_SCANNER_CIRCUIT_OPEN: failed too often, left alone for a while`]
        : [],
    )

    endWait()
    expect(kit.daemon.notReady()).toEqual([])
    expect(await send(client)).toMatch(failing)
    expect(fake.accepted).toBeGreaterThan(accepted)
    fake.misbehave()
    expect(await send(client)).toMatch(/^250 2\.0\.0 /)
    expect(kit.messages().at(-1)).toMatchObject({ category: 'clean', scanners: [{ verdict: 'clean' }, {}] })
    expect(told(kit)).toEqual([1, 1])
    const metrics = await kit.metrics()
    expect(metrics.get(`ecluse_scanner_circuit_open{scanner="${adapter}"}`)).toBe(0)
    expect(metrics.get('ecluse_internal_errors_total')).toBe(0)
  })
})

test('a message that it does not take says nothing about the scanner', async () => {
  const { scanner } = withBreaker(
    scannerOf(async () => {
      throw new FilterError('E_SCANNER_LIMIT', 'too much')
    }),
  )
  const kit = await startTestDaemon({ scanners: [scanner] })
  const client = await kit.greet()
  for (let i = 0; i < 5; i++) expect(await send(client)).toBe(DEFERRED)
  expect(told(kit)).toEqual([0, 0])
})

test('one that could not be connected to is asked again as soon as it says who it is', async () => {
  const path = join(await tempFolder(), 'socket')
  const { scanner } = withBreaker(scannerOfKind('clamd', { options: { address: { path } } }))
  const kit = await startTestDaemon({ scanners: [scanner], versionIntervalMs: 100, answerMs: 100 })
  const client = await kit.greet()
  for (let i = 0; i < FAILURES; i++) expect(await send(client)).toBe(DEFERRED)
  expect(await circuitOf(kit, 'clamd')).toBe(1)
  const fake = await startFakeClamd({ path })
  onRelease(() => fake.close())
  await until(async () => (await circuitOf(kit, 'clamd')) === 0)
  expect(await send(client)).toMatch(/^250 2\.0\.0 /)
  expect(told(kit)).toEqual([1, 1])
})

test('a reload keeps what is known of a scanner that it keeps', async () => {
  const fake = await startFakeClamd()
  onRelease(() => fake.close())
  const options = { address: fake.address }
  const fresh = (changes: Partial<ConfiguredScanner> = {}): ConfiguredScanner =>
    withBreaker({ ...scannerOfKind('clamd', { options, ...changes }), options }).scanner
  const kit = await startTestDaemon({ scanners: [fresh()] })
  const client = await kit.greet()
  fake.misbehave('reset')
  for (let i = 0; i < FAILURES; i++) await send(client)
  fake.misbehave()

  await kit.daemon.reload(async () => ({ scanners: [fresh({ onError: 'pass' })] }))
  expect(await circuitOf(kit, 'clamd')).toBe(1)
  expect(await send(client)).toMatch(/^250 2\.0\.0 /)
  expect(kit.messages().at(-1)).toMatchObject({ scanners: [{ verdict: 'error' }] })

  await kit.daemon.reload(async () => ({ scanners: [fresh({ name: 'other' })] }))
  expect(await circuitOf(kit, 'clamd')).toBeUndefined()
  expect(await circuitOf(kit, 'other')).toBe(0)
  await send(client)
  expect(kit.messages().at(-1)).toMatchObject({ scanners: [{ name: 'other', verdict: 'clean' }] })
})

describe('a backup', () => {
  async function startTwo(onError: OnError, backupOnError = onError, changes: TestDaemonOptions = {}) {
    const [first, second] = await Promise.all([startFakeClamd(), startFakeClamd()])
    onRelease(() => first.close())
    onRelease(() => second.close())
    const { scanner } = withBreaker(
      scannerOfKind('clamd', { name: 'first', options: { address: first.address }, onError }),
    )
    const backup = scannerOfKind('clamd', {
      name: 'second',
      options: { address: second.address },
      onError: backupOnError,
      backupFor: ['first'],
    })
    const kit = await startTestDaemon({ scanners: [scanner, backup], ...changes })
    const client = await kit.greet()
    const header = (): string => kit.mta.transactions.at(-1)?.data.toString('latin1') ?? ''
    return { first, second, kit, client, header }
  }

  test('is not asked as long as the other answers', async () => {
    const { kit, client, header } = await startTwo('tempfail')
    await send(client)
    expect(kit.messages().at(-1)).toMatchObject({ scanners: [{ name: 'first', verdict: 'clean' }] })
    expect(kit.messages().at(-1)?.['scanners']).toHaveLength(1)
    expect(header()).toMatch(/^X-Virus-Scanned: ecluse at filter\.example\.org\r$/m)
  })

  test.each(ON_ERROR)('looks in place of one that fails, whatever its rule: %s', async (onError) => {
    const { first, kit, client, header } = await startTwo(onError)
    first.misbehave('garbage')
    for (let i = 0; i < FAILURES + 2; i++) {
      expect(await send(client)).toMatch(/^250 2\.0\.0 /)
      expect(header()).toMatch(
        /^X-Virus-Scanned: ecluse at filter\.example\.org \(backup second\)\r\nX-Virus-Status: Clean\r$/m,
      )
      expect(kit.messages().at(-1)).toMatchObject({
        category: 'clean',
        scanners: [
          { name: 'first', verdict: 'error' },
          { name: 'second', verdict: 'clean' },
        ],
      })
    }
    expect(await circuitOf(kit, 'first')).toBe(1)
    expect(kit.daemon.notReady()).toEqual([])
    await send(client, `Subject: x\r\n\r\n${EICAR}\r\n`)
    expect(kit.messages().at(-1)).toMatchObject({ category: 'virus' })
  })

  test.each<[OnError, OnError, string, string]>([
    ['tempfail', 'pass', DEFERRED, 'unchecked'],
    ['pass', 'tempfail', DEFERRED, 'unchecked'],
    ['pass', 'unchecked', '250 2.0.0 ', 'unchecked'],
    ['pass', 'pass', '250 2.0.0 ', 'clean'],
  ])('that fails too: %s and %s', async (onError, backupOnError, reply, category) => {
    const { first, second, kit, client, header } = await startTwo(onError, backupOnError)
    for (const fake of [first, second]) fake.misbehave('garbage')
    expect(await send(client)).toContain(reply)
    expect(kit.messages().at(-1)).toMatchObject({
      category,
      scanners: [{ verdict: 'error' }, { verdict: 'error' }],
    })
    const copies = reply === DEFERRED ? 0 : 1
    expect(header().split('X-Virus-Status: Unchecked (scanner failed)\r\n')).toHaveLength(copies + 1)
  })

  test('that does not answer hinders nobody, until it is needed', async () => {
    const { first, second, kit } = await startTwo('tempfail', 'tempfail', {
      versionIntervalMs: 100,
      answerMs: 100,
    })
    second.misbehave('garbage')
    await until(async () => (await kit.metrics()).get('ecluse_scanner_up{scanner="second"}') === 0)
    await until(() => kit.daemon.notReady().length === 0)
    first.misbehave('garbage')
    await until(() => kit.daemon.notReady().length > 0)
    expect(kit.daemon.notReady()).toEqual([expect.stringMatching(/^scanner first: E_SCANNER_/)])
    second.misbehave()
    await until(() => kit.daemon.notReady().length === 0)
  })
})

describe('a message that makes the scanner fail', () => {
  const BAD = 'From: marie@example.com\r\nSubject: bad\r\n\r\nBAD\r\n'

  async function startWithBad(code: ErrorCode, changes: Pick<ConfiguredScanner, 'breaker'> = {}) {
    let isDown = false
    let asked = 0
    const scanner = scannerOf(
      async ({ message }) => {
        asked++
        if (isDown) throw new FilterError('E_SCANNER_LOST', 'down')
        if (message.bytes?.includes('BAD')) throw new FilterError(code, 'bad')
        return CLEAN
      },
      { concerns: ['virus'] },
    )
    const kit = await startTestDaemon({
      scanners: [{ ...scanner, ...changes }],
      limits: { concurrency: 100, deadlineMs: 60_000, scanFailures: 2 },
    })
    const setDown = (down: boolean): void => {
      isDown = down
    }
    return { kit, client: await kit.greet(), setDown, asked: () => asked }
  }

  test.each(['E_SCANNER_TIMEOUT', 'E_SCANNER_LOST', 'E_SCANNER_PROTOCOL'] as const)(
    '%s: is unchecked at last, and the others are not',
    async (code) => {
      const { kit, client, asked } = await startWithBad(code)
      for (let i = 0; i < 2; i++) {
        expect(await send(client, BAD, '4Vx1y2z3')).toBe(DEFERRED)
        expect(await send(client, HAM, '4Vx1y2z4')).toMatch(/^250 2\.0\.0 /)
      }
      const before = asked()
      expect(await send(client, BAD, '4Vx1y2z3')).toMatch(/^250 2\.0\.0 /)
      expect(asked()).toBe(before)
      expect(kit.messages().at(-1)).toMatchObject({
        category: 'unchecked',
        scanners: [{ name: 'fake', verdict: 'error' }],
      })
      expect(kit.lines).toContainEqual(
        expect.objectContaining({ msg: 'scanner failed', code: 'E_SCANNER_GIVEN_UP', scanner: 'fake' }),
      )
      const copy = kit.mta.transactions.at(-1)?.data.toString('latin1')
      expect(copy).toContain('X-Virus-Status: Unchecked (scanner failed)\r\n')
      expect((await kit.metrics()).get('ecluse_scans_given_up_total{scanner="fake"}')).toBe(1)
      // The same bytes at another place in the queue are another message.
      expect(await send(client, BAD, '4Vx1y2z9')).toBe(DEFERRED)
    },
  )

  test.each<[string, number, Pick<ConfiguredScanner, 'breaker'>]>([
    ['once, without a breaker', 1, {}],
    ['again and again, with one', 4, { breaker: { failures: 3, retryAfterMs: 0 } }],
  ])('a scanner that is dead for all makes nobody unchecked: %s', async (_, outages, breaker) => {
    const { kit, client, setDown } = await startWithBad('E_SCANNER_LOST', breaker)
    const both = ['A1', 'A2'] as const
    const sendAs = async (id: string): Promise<string> => await send(client, `Subject: ${id}\r\n\r\n`, id)
    for (let outage = 0; outage < outages; outage++) {
      setDown(true)
      for (let i = 0; i < 4; i++) for (const id of both) expect(await sendAs(id)).toBe(DEFERRED)
      setDown(false)
      expect(await send(client)).toMatch(/^250 2\.0\.0 /)
    }
    for (const id of both) {
      await sendAs(id)
      expect(kit.messages().at(-1)).toMatchObject({ category: 'clean' })
    }
  })

  test('a reload keeps what is known of it, and may end it', async () => {
    const options = { address: { path: '/nowhere' } }
    const { kit, client } = await startWithBad('E_SCANNER_LOST')
    for (let i = 0; i < 2; i++) {
      await send(client, BAD, 'B1')
      await send(client)
    }
    await kit.daemon.reload(async ({ limits }) => ({ limits: { ...limits, scanFailures: 0 } }))
    expect(await send(client, BAD, 'B1')).toBe(DEFERRED)
    await kit.daemon.reload(async ({ limits }) => ({ limits: { ...limits, scanFailures: 2 } }))
    expect(await send(client, BAD, 'B1')).toMatch(/^250 2\.0\.0 /)
    expect(kit.messages().at(-1)).toMatchObject({ category: 'unchecked' })
    await kit.daemon.reload(async () => ({ scanners: [scannerOfKind('clamd', { options })] }))
    expect((await kit.metrics()).get('ecluse_scans_given_up_total{scanner="fake"}')).toBeUndefined()
  })
})
