import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  assess,
  decide,
  formatAddress,
  type ConfiguredScanner,
  type Policy,
  type ScanResult,
} from '@ecluse/core'
import {
  EICAR,
  GTUBE,
  SCANNER_FAULTS,
  startFakeClamd,
  startFakeRspamd,
  startFakeSpamd,
  testMessage,
  type FakeScanner,
  type ScannerFault,
} from '@ecluse/fixtures'
import { SCANNER_KINDS, scanAll } from './index.ts'
import { request } from '../test/sample.ts'

const NEVER = new AbortController().signal
const HEADER = 'From: <bob@example.com>\r\nSubject: faults\r\n\r\n'
const SMALL = testMessage(`${HEADER}${EICAR}\r\n${GTUBE}\r\n`)
// More than both ends of a connection buffer: the reply comes before it is sent.
const LARGE = testMessage(
  Buffer.concat([Buffer.alloc(12_000_000, `${HEADER}filler\r\n`), Buffer.from(EICAR)]),
)

const policy: Policy = { ...DEFAULT_POLICY, subjectTag: '', quarantine: [] }

const ADAPTERS = [
  { kind: 'clamd', start: () => startFakeClamd(), option: (address: string) => ({ address }) },
  { kind: 'spamd', start: () => startFakeSpamd(), option: (address: string) => ({ address }) },
  {
    kind: 'rspamd',
    start: () => startFakeRspamd(),
    option: (address: string) => ({ url: `http://${address}` }),
  },
]

/** HTTP tells how long an answer is: one that is cut off is a connection that is lost. */
function codeFor(kind: string, fault: ScannerFault): string {
  if (fault === 'silent' || fault === 'drip') return 'E_SCANNER_TIMEOUT'
  const isCutOff = fault === 'mid-reply' || fault === 'wrong-length'
  return fault === 'reset' || (isCutOff && kind === 'rspamd') ? 'E_SCANNER_LOST' : 'E_SCANNER_PROTOCOL'
}

describe.each(ADAPTERS)('$kind', ({ kind, start, option }) => {
  let fake: FakeScanner
  let configure: (timeoutMs: number) => ConfiguredScanner
  beforeAll(async () => {
    fake = await start()
    const declared = SCANNER_KINDS.find((candidate) => candidate.kind === kind)
    if (!declared) throw new TypeError(kind)
    const scanner = declared.create(kind, declared.options.parse(option(formatAddress(fake.address))))
    const { concerns } = declared
    configure = (timeoutMs) => ({ name: kind, kind, concerns, timeoutMs, onError: 'tempfail', scanner })
  })
  afterAll(async () => {
    await fake.close()
  })

  const scan = async (timeoutMs: number, message = SMALL): Promise<ScanResult> => {
    const [result] = await scanAll([configure(timeoutMs)], request(message), NEVER)
    if (!result) throw new TypeError('no result')
    return result
  }
  const expectDeferred = (result: ScanResult): void => {
    const assessment = assess([result], policy)
    expect(assessment.virusStatus).toBe(kind === 'clamd' ? 'scanner failed' : undefined)
    expect(assessment.scores).toEqual([])
    expect(decide({ address: 'a@example.org' }, { policy, local: true }, assessment).destiny).toBe('tempfail')
  }
  const expectFound = async (): Promise<void> => {
    fake.misbehave()
    const { category } = decide(
      { address: 'a@example.org' },
      { policy, local: true },
      assess([await scan(5000)], policy),
    )
    expect(category).toBe(kind === 'clamd' ? 'virus' : 'spam')
    await fake.idle()
  }

  test.each(SCANNER_FAULTS)(
    'defers on %s, frees its socket, and works again',
    async (fault: ScannerFault) => {
      fake.misbehave(fault)
      const waits = fault === 'silent' || fault === 'drip'
      const result = await scan(waits ? 50 : 5000, fault === 'early-reply' ? LARGE : SMALL)
      expect(result).toMatchObject({
        outcome: 'failed',
        error: { code: codeFor(kind, fault) },
      })
      expectDeferred(result)
      await fake.idle()
      await expectFound()
    },
  )

  test('says E_SCANNER_CONNECT when nobody listens', async () => {
    await fake.close()
    const result = await scan(5000)
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'E_SCANNER_CONNECT' } })
    expectDeferred(result)
    fake = await start()
  })
})
