import { describe, expect, test } from '@jest/globals'
import {
  CLEAN,
  FilterError,
  type ConfiguredScanner,
  type ErrorCode,
  type ScanRequest,
  type ScanResult,
  type Scanner,
} from '@ecluse/core'
import { testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { Breakers } from './breaker.ts'
import { guardedScans } from './guardedScans.ts'
import { Suspects } from './suspects.ts'

const NEVER = new AbortController().signal
const GOOD = mail('good', 'A1')
const BAD = mail('bad', 'B1')

function mail(text: string, queueId?: string): ScanRequest {
  return request(testMessage(`Subject: ${text}\r\n\r\n${text}\r\n`), {
    client: queueId === undefined ? {} : { queueId },
  })
}

/** What an engine does: ends so, answers (`ok`), or never comes to an end. */
type Deed = ErrorCode | 'ok' | 'hang'

function start(changes: Partial<ConfiguredScanner> = {}, { maxFailures = 3 } = {}) {
  const deeds: Deed[] = []
  const asked: ScanRequest[] = []
  const scanner: ConfiguredScanner = {
    name: 'clamav',
    kind: 'fake',
    concerns: ['virus'],
    timeoutMs: 60_000,
    onError: 'tempfail',
    scanner: {
      scan: async (scanned) => {
        asked.push(scanned)
        const deed = deeds.shift() ?? 'ok'
        if (deed === 'ok') return CLEAN
        if (deed === 'hang') return await new Promise(() => undefined)
        throw new FilterError(deed, 'as it was told')
      },
      version: async () => ({ engine: 'fake' }),
    },
    ...changes,
  }
  const now = (): number => 0
  const scan = guardedScans({
    breakers: new Breakers({ now, onChange: () => undefined }),
    suspects: new Suspects({ now, maxEntries: 100, ttlMs: 1 }),
    maxFailures,
    retryPauseMs: 1,
  })
  const show = async (message: ScanRequest, ...next: Deed[]): Promise<ScanResult> => {
    deeds.push(...next)
    const [result] = await scan([scanner], message, NEVER)
    if (!result) throw new TypeError('no result')
    return result
  }
  return { show, asked, scan, scanner, deeds }
}

const outcomeOf = (result: ScanResult): string =>
  result.outcome === 'failed' ? result.error.code : result.outcome

describe('a second try', () => {
  test.each<[string, Deed[], string, number]>([
    ['helps when nobody could connect', ['E_SCANNER_CONNECT', 'ok'], 'done', 2],
    ['helps when the connection was lost', ['E_SCANNER_LOST', 'ok'], 'done', 2],
    ['is the last one', ['E_SCANNER_LOST', 'E_SCANNER_LOST', 'ok'], 'E_SCANNER_LOST', 2],
    ['that cannot connect hides no loss', ['E_SCANNER_LOST', 'E_SCANNER_CONNECT'], 'E_SCANNER_LOST', 2],
    ['is told of where it says more', ['E_SCANNER_CONNECT', 'E_SCANNER_PROTOCOL'], 'E_SCANNER_PROTOCOL', 2],
    ['is not made after a timeout', ['E_SCANNER_TIMEOUT', 'ok'], 'E_SCANNER_TIMEOUT', 1],
    ['is not made after an answer without sense', ['E_SCANNER_PROTOCOL', 'ok'], 'E_SCANNER_PROTOCOL', 1],
    ['is not made of what is too large', ['E_SCANNER_LIMIT', 'ok'], 'E_SCANNER_LIMIT', 1],
    ['is not needed', ['ok'], 'done', 1],
  ])('%s', async (_, deeds, expected, times) => {
    const { show, asked } = start()
    expect(outcomeOf(await show(GOOD, ...deeds))).toBe(expected)
    expect(asked).toHaveLength(times)
  })

  test('has what is left of the time', async () => {
    const { show } = start({ timeoutMs: 10 })
    expect(outcomeOf(await show(GOOD, 'E_SCANNER_LOST', 'hang'))).toBe('E_SCANNER_TIMEOUT')
  })

  test('is not made for a message that is given up', async () => {
    const { scan, scanner, asked, deeds } = start()
    const controller = new AbortController()
    deeds.push('E_SCANNER_CONNECT')
    const results = scan([scanner], GOOD, controller.signal)
    controller.abort()
    await expect(results).resolves.toMatchObject([{ error: { code: 'E_ABORTED' } }])
    expect(asked).toHaveLength(1)
  })
})

describe('an open circuit', () => {
  const breaker = { failures: 2, retryAfterMs: 1000 }

  test('fails at once, with the rule of the scanner, and asks nobody', async () => {
    const { show, asked } = start({ breaker, onError: 'unchecked' })
    await show(GOOD, 'E_SCANNER_TIMEOUT')
    await show(GOOD, 'E_SCANNER_TIMEOUT')
    const result = await show(GOOD)
    expect(result).toMatchObject({ outcome: 'failed', onError: 'unchecked', elapsedMs: 0 })
    expect(outcomeOf(result)).toBe('E_SCANNER_CIRCUIT_OPEN')
    expect(asked).toHaveLength(2)
  })

  test('lets a backup answer', async () => {
    const { show, scan, scanner } = start({ breaker })
    await show(GOOD, 'E_SCANNER_TIMEOUT')
    await show(GOOD, 'E_SCANNER_TIMEOUT')
    const { scanner: engine } = start()
    const results = await scan([scanner, { ...engine, name: 'second', backupFor: ['clamav'] }], GOOD, NEVER)
    expect(results).toMatchObject([{ coveredBy: 'second' }, { scanner: 'second', outcome: 'done' }])
  })

  test('does not matter for what the scanner is not shown', async () => {
    const { show } = start({ breaker, maxSizeBytes: BAD.message.sizeBytes })
    await show(BAD, 'E_SCANNER_TIMEOUT')
    await show(BAD, 'E_SCANNER_TIMEOUT')
    expect(outcomeOf(await show(GOOD))).toBe('skipped')
  })

  test('opens after failures in a row, each second try included in its message', async () => {
    const { show, asked } = start({ breaker })
    await show(GOOD, 'E_SCANNER_LOST', 'E_SCANNER_LOST')
    await show(GOOD, 'E_SCANNER_LOST', 'ok')
    await show(GOOD, 'E_SCANNER_CONNECT', 'E_SCANNER_CONNECT')
    expect(outcomeOf(await show(GOOD))).toBe('done')
    expect(asked).toHaveLength(7)
  })
})

describe('a message that makes the scanner fail', () => {
  /** It fails, and another one does not: as often as said. */
  async function failAgainAndAgain(
    { show }: ReturnType<typeof start>,
    times: number,
    message = BAD,
  ): Promise<void> {
    for (let i = 0; i < times; i++) {
      await show(message, 'E_SCANNER_TIMEOUT')
      await show(GOOD)
    }
  }

  test('is given up after so many times: unchecked, and not asked for', async () => {
    const kit = start()
    await failAgainAndAgain(kit, 3)
    const before = kit.asked.length
    const result = await kit.show(BAD)
    expect(result).toMatchObject({ outcome: 'failed', onError: 'unchecked' })
    expect(outcomeOf(result)).toBe('E_SCANNER_GIVEN_UP')
    expect(kit.asked).toHaveLength(before)
    expect(outcomeOf(await kit.show(GOOD))).toBe('done')
  })

  test('is asked for until then', async () => {
    const kit = start()
    await failAgainAndAgain(kit, 2)
    expect(outcomeOf(await kit.show(BAD))).toBe('done')
  })

  test.each([
    ['other bytes', mail('worse', 'B1')],
    ['another place in the queue', mail('bad', 'B2')],
    ['none', mail('bad')],
  ])('is not the same with %s', async (_, other) => {
    const kit = start()
    await failAgainAndAgain(kit, 3)
    expect(outcomeOf(await kit.show(other))).toBe('done')
  })

  test('is known by its bytes where nobody tells its place in the queue', async () => {
    const kit = start()
    await failAgainAndAgain(kit, 3, mail('bad'))
    expect(outcomeOf(await kit.show(mail('bad')))).toBe('E_SCANNER_GIVEN_UP')
  })

  test('is not given up where it was never the only one', async () => {
    const { show } = start()
    for (let i = 0; i < 10; i++) {
      await show(BAD, 'E_SCANNER_TIMEOUT')
      await show(GOOD, 'E_SCANNER_TIMEOUT')
    }
    expect(outcomeOf(await show(BAD))).toBe('done')
  })

  test.each(['pass', 'unchecked'] as const)('does not come again with onError: %s', async (onError) => {
    const kit = start({ onError })
    await failAgainAndAgain(kit, 5)
    expect(outcomeOf(await kit.show(BAD))).toBe('done')
  })

  test('is asked for without end with 0', async () => {
    const kit = start({}, { maxFailures: 0 })
    await failAgainAndAgain(kit, 5)
    expect(outcomeOf(await kit.show(BAD))).toBe('done')
  })
})

describe('messages that may have made the scanner fail', () => {
  const SUSPECTS = [mail('one', 'C1'), mail('two', 'C2'), mail('three', 'C3')]

  async function startWithSuspects() {
    const kit = start()
    for (const suspect of SUSPECTS) await kit.show(suspect, 'E_SCANNER_LOST', 'E_SCANNER_LOST')
    await kit.show(GOOD)
    kit.asked.length = 0
    return kit
  }

  test('are shown to it one after the other, the others at once', async () => {
    const { scan, scanner, asked, deeds } = await startWithSuspects()
    const controller = new AbortController()
    deeds.push('hang')
    const first = scan([scanner], SUSPECTS[0] ?? BAD, controller.signal)
    await new Promise(setImmediate)
    const rest = SUSPECTS.slice(1).map((suspect) => scan([scanner], suspect, NEVER))
    await scan([scanner], GOOD, NEVER)
    expect(asked).toEqual([SUSPECTS[0], GOOD])
    controller.abort()
    await first
    await Promise.all(rest)
    expect(asked.slice(2)).toEqual(SUSPECTS.slice(1))
  })

  test('do not wait longer than they have time', async () => {
    const { scan, scanner, deeds, asked } = await startWithSuspects()
    const controller = new AbortController()
    deeds.push('hang')
    const all = SUSPECTS.map((suspect) => scan([scanner], suspect, controller.signal))
    await new Promise(setImmediate)
    controller.abort()
    for (const results of all) {
      await expect(results).resolves.toMatchObject([{ outcome: 'failed', error: { code: 'E_ABORTED' } }])
    }
    expect(asked).toHaveLength(1)
    await expect(scan([scanner], SUSPECTS[1] ?? BAD, NEVER)).resolves.toMatchObject([{ outcome: 'done' }])
  })
})

/** An engine that dies of one message, and takes along what it has at hand; whoever asks then cannot connect. */
function mortalEngine() {
  let isUp = true
  const atHand = new Set<() => void>()
  const scan: Scanner['scan'] = async (scanned) => {
    if (!isUp) throw new FilterError('E_SCANNER_CONNECT', 'nobody there')
    await new Promise<void>((resolve, reject) => {
      const lose = (): void => reject(new FilterError('E_SCANNER_LOST', 'it died'))
      atHand.add(lose)
      setImmediate(() => {
        if (isUp && scanned.message.digest === BAD.message.digest) {
          isUp = false
          for (const loseIt of atHand) loseIt()
        }
        atHand.delete(lose)
        resolve()
      })
    })
    return CLEAN
  }
  const restart = (): void => {
    isUp = true
  }
  return { scan, restart }
}

describe('an engine that dies of a message among others', () => {
  const innocent = Array.from({ length: 12 }, (_, i) => mail(`innocent ${i}`, `D${i}`))
  const orders = { first: [BAD, ...innocent], last: [...innocent, BAD] }

  test.each<[keyof typeof orders, ConfiguredScanner['breaker']]>([
    ['first', undefined],
    ['last', undefined],
    ['first', { failures: 5, retryAfterMs: 0 }],
    ['last', { failures: 5, retryAfterMs: 0 }],
    ['last', { failures: 50, retryAfterMs: 0 }],
  ])('the guilty one, %s in the queue, is given up, and no other: %j', async (order, breaker) => {
    const { scan, scanner } = start(breaker ? { breaker } : {})
    const engine = mortalEngine()
    const mortal = { ...scanner, scanner: { ...scanner.scanner, scan: engine.scan } }
    let queue = orders[order]
    const ends = new Map<ScanRequest, string>()
    for (let round = 0; round < 4; round++) {
      const results = await Promise.all(
        queue.map((message) => scan([mortal], message, new AbortController().signal)),
      )
      results.forEach(([result], index) => {
        if (result) ends.set(queue[index] ?? BAD, outcomeOf(result))
      })
      engine.restart()
      await scan([mortal], GOOD, NEVER)
      queue = queue.filter((message) => /E_SCANNER_(?!GIVEN)/.test(ends.get(message) ?? ''))
    }
    expect(ends.get(BAD)).toBe('E_SCANNER_GIVEN_UP')
    for (const message of innocent) expect(ends.get(message)).toBe('done')
  })
})
