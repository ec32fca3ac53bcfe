/* What each message leaves behind in the process, whatever stage it ended in: nothing. */
import { getEventListeners } from 'node:events'
import { readdirSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { EICAR, SCANNER_FAULTS, startFakeClamd, startFakeSpamd, type EvilStage } from '@ecluse/fixtures'
import {
  HAM,
  releaseAll,
  scannerOf,
  scannerOfKind,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

const RealController = AbortController
let controllers: AbortController[] = []

/** Every controller of the process under test is known: whoever listens must leave, also where one is used again. */
beforeEach(() => {
  controllers = []
  globalThis.AbortController = class extends RealController {
    constructor() {
      super()
      controllers.push(this)
    }
  }
})
afterEach(async () => {
  await releaseAll()
  globalThis.AbortController = RealController
})

const listening = (): number =>
  controllers.filter(({ signal }) => getEventListeners(signal, 'abort').length > 0).length
const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
const openFiles = (): number => readdirSync('/proc/self/fd').length

const LARGE = `${HAM}${`${'x'.repeat(70)}\r\n`.repeat(4000)}`
const SHORT_MS = 150

async function hang(): Promise<never> {
  return await new Promise(() => undefined)
}

/** Sends the message some times, waits until the last one leaves nothing beyond those before, and says what is counted. */
async function leftAfter(
  kit: TestDaemon,
  content: string,
  /** Waits until a fake in this process has seen its connections end: its files count too. */
  idle = async (): Promise<void> => undefined,
): Promise<unknown> {
  const client = await kit.greet()
  // One connection to 10025 may be kept, and need not be there yet: this process has both of its ends.
  const ownFiles = (): number => openFiles() - 2 * kit.mta.open
  const before = { timers: 0, files: 0 }
  // More than one: on a busy machine the first may have run out of its time before it came to all that is kept.
  for (let count = 0; count < 3; count++) {
    await sendMail(client, { to: ['r@example.org'], content })
    await until(async () => (await kit.metrics()).get('ecluse_in_flight_messages') === 0)
    await idle()
    before.timers = Math.max(before.timers, timers())
    before.files = Math.max(before.files, ownFiles())
  }
  await sendMail(client, { to: ['a@example.org', 'b@example.org'], content })
  await until(() => listening() === 0)
  await until(() => timers() <= before.timers)
  await idle()
  await until(() => kit.mta.open <= 1)
  await until(() => ownFiles() <= before.files)
  const metrics = await kit.metrics()
  return {
    signals: controllers.length > 0,
    spoolBytes: metrics.get('ecluse_spool_bytes'),
    inFlight: metrics.get('ecluse_in_flight_messages'),
    spool: readdirSync(kit.spoolFolder),
  }
}

/** With signals that were looked at. */
const NOTHING = { signals: true, spoolBytes: 0, inFlight: 0, spool: [] }

const SHORT = { concurrency: 10, deadlineMs: SHORT_MS }
// The first session is the one that asks whether it answers at all.
const silentAt = (stage: EvilStage): TestDaemonOptions => ({
  limits: SHORT,
  scanners: [],
  mta: { act: (event) => (event.stage === stage && event.session > 1 ? { do: 'hang' } : undefined) },
})

const CASES: readonly [string, TestDaemonOptions, string][] = [
  ['relayed', {}, HAM],
  ['relayed from a file', { memoryBytes: 1000 }, LARGE],
  ['kept in quarantine', {}, `Subject: v\r\n\r\n${EICAR}\r\n`],
  ['kept in quarantine from a file', { memoryBytes: 1000 }, `${LARGE}${EICAR}\r\n`],
  ['a scanner that throws', { scanners: [scannerOf(() => Promise.reject(new TypeError('bug')))] }, HAM],
  ['a scanner that hangs', { scanners: [scannerOf(hang)], limits: SHORT }, HAM],
  ['a scanner past its own time', { scanners: [scannerOf(hang, { timeoutMs: SHORT_MS })] }, HAM],
  ['refused', { mta: { act: ({ stage }) => (stage === 'rcpt' ? '550 5.1.1 no' : undefined) } }, HAM],
  ...(['connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot'] as const).map(
    (stage): [string, TestDaemonOptions, string] => [`10025 silent at ${stage}`, silentAt(stage), HAM],
  ),
  ['10025 silent at dot, from a file', { ...silentAt('dot'), memoryBytes: 1000 }, LARGE],
  ['no room', { limits: { concurrency: 10, deadlineMs: 60_000, spoolBytes: 1 }, memoryBytes: 1000 }, LARGE],
]

describe('nothing is left of a message', () => {
  test.each(CASES)('%s', async (_, options, content) => {
    expect(await leftAfter(await startTestDaemon(options), content)).toEqual(NOTHING)
  })

  const faults = SCANNER_FAULTS.flatMap((fault) => [
    ['clamd', fault, startFakeClamd] as const,
    ['spamd', fault, startFakeSpamd] as const,
  ])
  test.each(faults)('%s: %s, from memory and from a file', async (kind, fault, startFake) => {
    const fake = await startFake()
    const kit = await startTestDaemon({
      scanners: [scannerOfKind(kind, { options: { address: fake.address } })],
      limits: SHORT,
      memoryBytes: 1000,
    })
    fake.misbehave(fault)
    expect(await leftAfter(kit, LARGE, () => fake.idle())).toEqual(NOTHING)
    expect(await leftAfter(kit, HAM, () => fake.idle())).toEqual(NOTHING)
    await fake.close()
  })
})
