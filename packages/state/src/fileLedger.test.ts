import { lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { ANNA, BOB, keyOf, LedgerKit, NEVER, recall, relayed, remember, TTL_MS } from '../test/sample.ts'
import { ledgerSuite } from '../test/ledgerSuite.ts'
import type { Attempt, Ledger, LedgerResult } from './ledger.ts'

const KEY = keyOf('message')
const DEFERRED: LedgerResult = {
  reply: { code: 451, enhanced: '4.4.1', text: 'Cannot relay now, id=x' },
  outcome: 'refused',
}
const kit = new LedgerKit()
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

describe('as every ledger', () => {
  ledgerSuite(new LedgerKit())
})

test('knows nothing of a first attempt', async () => {
  const attempt = await begin()
  expect([attempt.done.size, attempt.joined, attempt.reservedId([ANNA])]).toEqual([0, false, undefined])
  attempt.end()
  expect(ledger.entries).toBe(0)
})

test('writes nothing where nothing was done for good', async () => {
  await remember(ledger, KEY, { [ANNA]: DEFERRED, [BOB]: { ...DEFERRED, outcome: 'blocked' } })
  await remember(ledger, KEY, {})
  expect(ledger.entries).toBe(0)
})

test('does not write again what is reserved already', async () => {
  const first = await begin()
  await first.reserve('id', [ANNA, BOB])
  await first.reserve('id', [BOB])
  first.end()
  expect(ledger.entries).toBe(1)
})

test('forgets when the time is over, not before, and removes the files', async () => {
  await remember(ledger, KEY, { [ANNA]: relayed() })
  kit.now += TTL_MS - 1
  expect(await recall(ledger, KEY)).toEqual({ [ANNA]: relayed() })
  kit.now += 1
  expect(await recall(ledger, KEY)).toEqual({})
  await ledger.check()
  await ledger.check()
  expect(ledger.entries).toBe(0)
  expect(await segments()).toHaveLength(1)
  expect((await lstat(join(kit.directory, (await segments())[0] ?? ''))).size).toBe(0)
})

test('forgets file by file', async () => {
  for (let step = 0; step < 40; step++) {
    await remember(ledger, keyOf(step), { [ANNA]: relayed(`B${step}`) })
    kit.now += TTL_MS / 20
  }
  await ledger.check()
  expect(ledger.entries).toBeLessThan(24)
  expect((await segments()).length).toBeLessThan(24)
  const known = await Promise.all(
    Array.from({ length: 40 }, async (_, step) => (await recall(ledger, keyOf(step)))[ANNA]?.queuedAs),
  )
  expect(known.filter((each) => each !== undefined)).toEqual(
    Array.from({ length: 19 }, (_, index) => `B${index + 21}`),
  )
})

test('does not read again what expired while it was not running', async () => {
  await remember(ledger, KEY, { [ANNA]: relayed() })
  await kit.closeAll()
  kit.now += TTL_MS
  const later = kit.create()
  expect(await later.prepare()).toEqual({ entries: 0, damaged: 0 })
  expect(await recall(later, KEY)).toEqual({})
  expect(await segments()).toHaveLength(1)
})

test('goes on in the same file after a restart', async () => {
  for (let run = 0; run < 5; run++) {
    await remember(ledger, keyOf(run), { [ANNA]: relayed() })
    ledger = await kit.restart()
  }
  expect(ledger.entries).toBe(5)
  expect(await segments()).toHaveLength(1)
})

test('lets nobody else read it', async () => {
  await remember(ledger, KEY, { [ANNA]: relayed() })
  const modes = await Promise.all(
    ['', ...(await segments())].map(async (name) => (await lstat(join(kit.directory, name))).mode & 0o777),
  )
  expect(modes).toEqual([0o700, 0o600])
})

test('leaves alone what is not its own, in name or kind', async () => {
  await kit.closeAll()
  const names = ['notes.txt', 'ledger-1.log', 'ledger-1795478400000-0123456z.log']
  for (const name of names) await writeFile(join(kit.directory, name), 'not ours\n')
  await mkdir(join(kit.directory, 'ledger-9999999999999-01234567.log'))
  ledger = kit.create()
  expect(await ledger.prepare()).toEqual({ entries: 0, damaged: 0 })
  await remember(ledger, KEY, { [ANNA]: relayed() })
  expect(await readdir(kit.directory)).toEqual(expect.arrayContaining(names))
})

test('is not open before prepare and after close', async () => {
  const other = kit.create({ directory: join(kit.directory, 'other') })
  const failure = { code: 'E_LEDGER', message: expect.stringContaining('not open') }
  await expect(other.begin(KEY, [ANNA], NEVER)).rejects.toMatchObject(failure)
  await expect(other.check()).rejects.toMatchObject(failure)
  const attempt = await begin()
  const waits = begin()
  const written = attempt.record(new Map([[ANNA, relayed()]]))
  await ledger.close()
  await written
  attempt.end()
  await expect(waits).rejects.toMatchObject(failure)
  await expect(begin()).rejects.toMatchObject(failure)
})

test('records nothing after close', async () => {
  const attempt = await begin()
  await ledger.close()
  const error: unknown = await attempt.record(new Map([[ANNA, relayed()]])).catch((err: unknown) => err)
  attempt.end()
  expect(error).toBeInstanceOf(FilterError)
  expect(error).toMatchObject({ code: 'E_LEDGER', message: expect.stringContaining('closed') })
})

async function segments(): Promise<string[]> {
  return (await readdir(kit.directory)).filter((name) => name.endsWith('.log')).sort()
}
