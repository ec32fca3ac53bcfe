import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Attempt, Ledger, LedgerResult } from '../src/ledger.ts'
import { ANNA, BOB, keyOf, NEVER, recall, relayed, remember, TTL_MS } from './sample.ts'

/** Where the suite gets its ledgers from; between two tests nothing is remembered. */
export interface LedgerSource {
  /** Milliseconds since 1970, as the ledgers see it. */
  now: number
  setUp(): Promise<void>
  /** Prepared. */
  start(): Promise<Ledger>
  /** As after the end of the process. */
  restart(): Promise<Ledger>
  tearDown(): Promise<void>
}

const KEY = keyOf('message')
const REFUSED: LedgerResult = {
  reply: { code: 550, enhanced: '5.1.1', text: 'id=x - Rejected by next-hop MTA on relaying' },
  outcome: 'refused',
}
const DEFERRED: LedgerResult = {
  reply: { code: 451, enhanced: '4.4.1', text: 'Cannot relay now, id=x' },
  outcome: 'refused',
}

/** What every ledger does, wherever it remembers. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function ledgerSuite(kit: LedgerSource): void {
  let ledger: Ledger

  beforeEach(async () => {
    await kit.setUp()
    ledger = await kit.start()
  })

  afterEach(async () => {
    await kit.tearDown()
  })

  const begin = async (recipients = [ANNA, BOB], signal = NEVER): Promise<Attempt> =>
    await ledger.begin(KEY, recipients, signal)

  /** Whether it is fulfilled or rejected once everything that is at hand has been done. */
  async function isSettled(promise: Promise<unknown>): Promise<boolean> {
    let settled = false
    const settle = (): void => {
      settled = true
    }
    promise.then(settle, settle)
    // A disk operation of its own, behind all that are under way.
    await ledger.check()
    await ledger.check()
    return settled
  }

  test.each([false, true])('gives a retry the stored replies (after a restart: %s)', async (restart) => {
    const results = { [ANNA]: relayed('B1'), [BOB]: REFUSED }
    await remember(ledger, KEY, results)
    if (restart) ledger = await kit.restart()
    expect(await recall(ledger, KEY)).toEqual(results)
    expect(await recall(ledger, keyOf('other message'))).toEqual({})
  })

  test('leaves the rest of a partial delivery to the retry', async () => {
    await remember(ledger, KEY, { [ANNA]: relayed('B1'), [BOB]: DEFERRED })
    expect(await recall(ledger, KEY)).toEqual({ [ANNA]: relayed('B1') })
    expect(await remember(ledger, KEY, { [BOB]: relayed('B2') })).toEqual(new Map())
    expect(await recall(ledger, KEY)).toEqual({ [ANNA]: relayed('B1'), [BOB]: relayed('B2') })
    expect(await recall(ledger, KEY, [BOB, '1 carl@example.org'])).toEqual({ [BOB]: relayed('B2') })
  })

  test('tells a second occurrence of an address from the first', async () => {
    const twice = ['1 a@x', '2 a@x']
    await remember(ledger, KEY, { '1 a@x': relayed('B1') })
    expect(await recall(ledger, KEY, twice)).toEqual({ '1 a@x': relayed('B1') })
  })

  test('keeps what it was given, byte for byte', async () => {
    const strange = '1 "a b\\" \udce9"@é.example'
    await remember(ledger, KEY, { [strange]: relayed('"\\') })
    ledger = await kit.restart()
    expect(await recall(ledger, KEY, [strange])).toEqual({ [strange]: relayed('"\\') })
  })

  test('keeps 1,000 recipients of one message', async () => {
    const results = Object.fromEntries(
      Array.from({ length: 1000 }, (_, index) => [`1 ${'x'.repeat(200)}${index}@example.org`, relayed()]),
    )
    await remember(ledger, KEY, results)
    ledger = await kit.restart()
    expect(await recall(ledger, KEY, Object.keys(results))).toEqual(results)
  })

  test('lets a second attempt wait for the first, and see what it has done', async () => {
    const first = await begin()
    const second = begin([BOB])
    expect(await isSettled(second)).toBe(false)
    await first.record(new Map([[BOB, relayed('B1')]]))
    expect(await isSettled(second)).toBe(false)
    first.end()
    const { joined, done, end } = await second.then((attempt) => ({
      joined: attempt.joined,
      done: attempt.done,
      end: () => attempt.end(),
    }))
    expect([joined, done]).toEqual([true, new Map([[BOB, relayed('B1')]])])
    end()
  })

  test('lets a second attempt wait for what is still being written', async () => {
    const first = await begin()
    const written = first.record(new Map([[ANNA, relayed('B1')]]))
    first.end()
    expect(await recall(ledger, KEY)).toEqual({ [ANNA]: relayed('B1') })
    await written
  })

  test('serves those who wait in the order they came', async () => {
    const first = await begin()
    const ended: number[] = []
    const others = [1, 2, 3].map(async (number) => {
      const attempt = await begin()
      await attempt.reserve(`id${number}`, [ANNA])
      ended.push(number)
      attempt.end()
    })
    first.end()
    await Promise.all(others)
    expect(ended).toEqual([1, 2, 3])
  })

  test('does not let attempts without a common recipient wait, nor those of other messages', async () => {
    const attempts = [
      await begin([ANNA]),
      await begin([BOB]),
      await ledger.begin(keyOf('other'), [ANNA], NEVER),
    ]
    expect(attempts.map(({ joined }) => joined)).toEqual([false, false, false])
    const both = begin([ANNA, BOB])
    // It waits for both, and whoever comes behind it for it.
    const behind = begin([BOB])
    attempts[0]?.end()
    expect(await isSettled(both)).toBe(false)
    attempts[1]?.end()
    const attempt = await both
    expect(await isSettled(behind)).toBe(false)
    attempt.end()
    for (const each of [await behind, ...attempts]) each.end()
  })

  test('gives up waiting when the signal aborts, and lets the next one pass', async () => {
    const first = await begin()
    const controller = new AbortController()
    const second = begin([ANNA], controller.signal)
    const third = begin([ANNA])
    controller.abort(new Error('deadline'))
    await expect(second).rejects.toMatchObject({ code: 'E_ABORTED', cause: new Error('deadline') })
    expect(await isSettled(third)).toBe(false)
    first.end()
    const attempt = await third
    expect(attempt.joined).toBe(true)
    attempt.end()
  })

  test('leaves no listener at the signal', async () => {
    const { signal } = new AbortController()
    await remember(ledger, KEY, { [ANNA]: relayed() })
    const first = await begin([ANNA], signal)
    const second = begin([ANNA], signal)
    first.end()
    ;(await second).end()
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('does not begin when the signal has aborted', async () => {
    await expect(begin([ANNA], AbortSignal.abort())).rejects.toMatchObject({ code: 'E_ABORTED' })
    expect((await begin()).joined).toBe(false)
  })

  test.each([false, true])(
    'gives a retry the id that was reserved for its recipients (restart: %s)',
    async (restart) => {
      const first = await begin()
      await first.reserve('first', [ANNA])
      first.end()
      if (restart) ledger = await kit.restart()
      const retry = await begin()
      expect(retry.done.size).toBe(0)
      expect(retry.reservedId([ANNA])).toBe('first')
      expect(retry.reservedId([BOB])).toBeUndefined()
      expect(retry.reservedId([ANNA, BOB])).toBeUndefined()
      expect(retry.reservedId([])).toBeUndefined()
      await retry.reserve('second', [BOB])
      expect([retry.reservedId([BOB]), retry.reservedId([ANNA, BOB])]).toEqual(['second', undefined])
      await retry.reserve('third', [ANNA, BOB])
      expect(retry.reservedId([ANNA, BOB])).toBe('third')
      retry.end()
    },
  )

  test.each([
    ['record', async (attempt: Attempt) => await attempt.record(new Map([['1 x', relayed()]]))],
    ['reserve', async (attempt: Attempt) => await attempt.reserve('id', ['1 x'])],
    ['ask', async (attempt: Attempt) => attempt.reservedId(['1 x'])],
  ])('does not %s for a recipient of another attempt', async (_, action) => {
    const attempt = await begin()
    await expect(action(attempt)).rejects.toThrow(TypeError)
    attempt.end()
  })

  test('does not record after the end', async () => {
    const attempt = await begin()
    attempt.end()
    attempt.end()
    await expect(attempt.record(new Map([[ANNA, relayed()]]))).rejects.toThrow(TypeError)
  })

  test('survives a clock that jumps', async () => {
    await remember(ledger, keyOf(1), { [ANNA]: relayed('B1') })
    kit.now -= 10 * TTL_MS
    await remember(ledger, keyOf(2), { [ANNA]: relayed('B2') })
    expect((await recall(ledger, keyOf(1)))[ANNA]?.queuedAs).toBe('B1')
    expect((await recall(ledger, keyOf(2)))[ANNA]?.queuedAs).toBe('B2')
    kit.now += 30 * TTL_MS
    expect(await recall(ledger, keyOf(1))).toEqual({})
    await remember(ledger, keyOf(3), { [ANNA]: relayed('B3') })
    expect((await recall(ledger, keyOf(3)))[ANNA]?.queuedAs).toBe('B3')
  })
}
