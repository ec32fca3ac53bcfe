import { join } from 'node:path'
import { afterEach, describe, expect, test } from '@jest/globals'
import { DEFAULT_POLICY, ON_ERROR, type ConfiguredScanner, type OnError, type Policy } from '@ecluse/core'
import {
  EICAR,
  GTUBE,
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
  rulesWith,
  releaseAll,
  scannerOfKind,
  sendMail,
  startTestDaemon,
  tempFolder,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

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

/** `refused`: nobody listens. */
const FAULTS = ['refused', 'silent', 'reset', 'mid-reply', 'garbage'] as const satisfies readonly (
  | ScannerFault
  | 'refused'
)[]
type Fault = (typeof FAULTS)[number]

/** `EICAR alone`: nobody but the failing scanner could have found it. */
const MESSAGES = ['ham', 'EICAR', 'EICAR alone', 'GTUBE'] as const
type MessageName = (typeof MESSAGES)[number]

function contentOf(name: MessageName): string {
  const text = { ham: 'At noon?', EICAR, 'EICAR alone': EICAR, GTUBE }[name]
  return `From: marie@example.com\r\nSubject: ${name}\r\n\r\n${text}\r\n`
}

/** Viruses are delivered with their mark, so that one without it would be seen. */
const policy: Policy = {
  ...DEFAULT_POLICY,
  destiny: { ...DEFAULT_POLICY.destiny, virus: 'pass' },
  quarantine: [],
}

interface Row {
  readonly adapter: Adapter
  readonly onError: OnError
  readonly message: MessageName
}

interface Expected {
  /** How the LMTP reply begins. */
  readonly reply: string
  readonly category: string
  /** Marks of the delivered copy, Received apart; absent: nothing is delivered. */
  readonly marks?: readonly string[]
}

const SCANNED = 'X-Virus-Scanned: ecluse at filter.example.org'
const INFECTED = [
  SCANNED,
  'X-Virus-Status: Infected (Eicar-Test-Signature)',
  'X-Ecluse-Alert: INFECTED, message contains virus: Eicar-Test-Signature',
]
const DEFERRED = '451 4.7.1 Content filter cannot check this message now, id=ID'
const RELAYED = '250 2.0.0 from MTA('

/**
 * In words: a virus that another scanner found counts, whatever failed; else `tempfail` defers; else spam is spam; else
 * the message is clean, but a virus scanner that failed leaves its mark, and `unchecked` makes that the category.
 */
function expected({ adapter, onError, message }: Row): Expected {
  if (message === 'EICAR') return { reply: RELAYED, category: 'virus', marks: INFECTED }
  if (onError === 'tempfail') return { reply: DEFERRED, category: 'unchecked' }
  const status = adapter === 'clamd' ? 'Unchecked (scanner failed)' : 'Clean'
  const marks = [SCANNED, `X-Virus-Status: ${status}`]
  if (message === 'GTUBE') return { reply: '250 2.7.0 Ok, discarded, id=ID - spam', category: 'spam' }
  return { reply: RELAYED, category: onError === 'pass' ? 'clean' : 'unchecked', marks }
}

/** The fields above ours, unfolded. */
function marksOf(data: Buffer): string[] {
  const header = data.toString('latin1').replaceAll('\r\n ', ' ')
  return header.slice(0, header.indexOf('Received: from postfix')).split('\r\n').slice(0, -1)
}

async function expectRow(kit: TestDaemon, client: LmtpClient, row: Row): Promise<void> {
  const { reply, category, marks } = expected(row)
  const before = kit.mta.transactions.length
  const { dot } = await sendMail(client, { to: ['r@example.org'], content: contentOf(row.message) })
  expect(masked(dot.join())).toMatch(new RegExp(`^${reply.replace(/[()]/g, '\\$&')}`))
  const delivered = kit.mta.transactions.slice(before)
  expect(delivered.map(({ data }) => marksOf(data))).toEqual(marks ? [marks] : [])
  const line = kit.messages().at(-1)
  expect(line).toMatchObject({ category, recipients: [{ category, reply: dot[0] }] })
}

/** Ham, EICAR where it can be known, and a log that says the scanner is well. */
async function expectHealthy(kit: TestDaemon, client: LmtpClient, adapter: Adapter): Promise<void> {
  const before = kit.mta.transactions.length
  const { dot } = await sendMail(client, { to: ['r@example.org'], content: HAM })
  expect(dot[0]).toMatch(/^250 2\.0\.0 from MTA\(/)
  expect(kit.mta.transactions.slice(before).map(({ data }) => marksOf(data).slice(0, 2))).toEqual([
    [SCANNED, 'X-Virus-Status: Clean'],
  ])
  expect(kit.messages().at(-1)).toMatchObject({
    category: 'clean',
    scanners: [{ name: adapter, verdict: 'clean' }, { name: 'test' }],
  })
}

async function startRow(adapter: Adapter, fault: Fault, onError: OnError) {
  const { start, options } = ADAPTERS[adapter]
  const path = join(await tempFolder(), 'socket')
  const launch = async (at?: { path: string }): Promise<FakeScanner> => {
    const started = await start(at)
    onRelease(() => started.close())
    return started
  }
  const fake = fault === 'refused' ? undefined : await launch()
  fake?.misbehave(fault === 'refused' ? undefined : fault)
  const configured = scannerOfKind(adapter, { options: options(fake?.address ?? { path }), onError })
  let timeoutMs = fault === 'silent' ? 50 : configured.timeoutMs
  const failing: ConfiguredScanner = {
    ...configured,
    get timeoutMs() {
      return timeoutMs
    },
  }
  const recover = async (): Promise<void> => {
    timeoutMs = configured.timeoutMs
    if (fake) fake.misbehave()
    else await launch({ path })
  }
  return { failing, recover }
}

async function startWith(scanners: readonly ConfiguredScanner[]): Promise<TestDaemon> {
  // The daemon asks each scanner who it is before it starts: not longer than this.
  return await startTestDaemon({
    scanners,
    rules: rulesWith({ policy }),
    versionIntervalMs: 100,
    answerMs: 100,
  })
}

describe.each(Object.keys(ADAPTERS) as Adapter[])('%s', (adapter) => {
  describe.each(FAULTS)('%s', (fault) => {
    test.each(ON_ERROR)('onError: %s', async (onError) => {
      const { failing, recover } = await startRow(adapter, fault, onError)
      const kit = await startWith([failing, scannerOfKind('test')])
      const client = await kit.greet()
      for (const message of ['ham', 'EICAR', 'GTUBE'] as const) {
        await expectRow(kit, client, { adapter, onError, message })
        expect(kit.messages().at(-1)).toMatchObject({
          scanners: [{ name: adapter, verdict: fault === 'silent' ? 'timeout' : 'error' }, { name: 'test' }],
        })
      }
      await recover()
      await expectHealthy(kit, client, adapter)
      expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
    })
  })
})

describe.each(FAULTS)('%s, and no other virus scanner', (fault) => {
  test.each(ON_ERROR)('onError: %s', async (onError) => {
    const { failing } = await startRow('clamd', fault, onError)
    const kit = await startWith([failing])
    await expectRow(kit, await kit.greet(), { adapter: 'clamd', onError, message: 'EICAR alone' })
    expect(kit.messages()).toHaveLength(1)
  })
})
