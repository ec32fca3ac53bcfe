import { afterEach, expect, test } from '@jest/globals'
import type { DeliveryResult } from '@ecluse/core'
import type { EvilAct, EvilStage } from '@ecluse/fixtures'
import type { Reinjector } from './reinject.ts'
import { LONG, PATIENT, TEXT, brief, closeAll, envelopeOf, inMemory, start } from './reinject.testkit.ts'

const SHORT = 40

afterEach(closeAll)

async function deliver(
  reinjector: Reinjector,
  count: number,
  allOrNothing: boolean,
): Promise<DeliveryResult[]> {
  const recipients = Array.from({ length: count }, (_, i) => ({ address: `r${i}@example.net` }))
  const envelope = envelopeOf(recipients, { protocol: allOrNothing ? 'smtp' : 'lmtp' })
  const request = { id: 'M1', envelope, recipients, message: inMemory(TEXT), allOrNothing }
  return await reinjector.deliver(request, AbortSignal.timeout(LONG))
}

const FAULTS: Readonly<Record<string, EvilAct>> = {
  '4xx': '450 4.2.1 not now',
  '5xx': '550 5.7.1 never',
  drop: { do: 'drop' },
  end: { do: 'end' },
  '421': '421 4.3.2 shutting down',
  hang: { do: 'hang' },
  garbage: Buffer.from('\x16\x03\x01 HTTP/1.1 200\r\n', 'latin1'),
}
type Fault = keyof typeof FAULTS
type Place = 'connect' | 'EHLO' | 'XFORWARD' | 'MAIL' | 'RCPT first' | 'RCPT last' | 'DATA' | 'dot'

const PLACES: Readonly<Record<Place, EvilStage>> = {
  connect: 'connect',
  EHLO: 'ehlo',
  XFORWARD: 'xforward',
  MAIL: 'mail',
  'RCPT first': 'rcpt',
  'RCPT last': 'rcpt',
  DATA: 'data',
  dot: 'dot',
}
/** The time that runs out when the peer falls silent there. */
const WAITS: Readonly<Record<Place, string>> = {
  connect: 'connectMs',
  EHLO: 'connectMs',
  XFORWARD: 'commandMs',
  MAIL: 'commandMs',
  'RCPT first': 'commandMs',
  'RCPT last': 'commandMs',
  DATA: 'commandMs',
  dot: 'dotMs',
}
const CODES: Readonly<Record<Fault, string>> = { '4xx': '450', '5xx': '550' }

/**
 * What must come of it, for the recipient that the fault meets and for the others:
 * a lost, silent or mad peer fails all; a refusal of the session is a fault of transport; XFORWARD is only a
 * courtesy; a refused MAIL, DATA or dot is everybody's; a refused RCPT is its own, and withholds the others where
 * there is one reply for all.
 */
function oracle(place: Place, fault: Fault, allOrNothing: boolean): { met: string; others: string } {
  const both = (outcome: string) => ({ met: outcome, others: outcome })
  if (fault === 'hang') return both('failed:E_REINJECT_TIMEOUT')
  if (fault === 'garbage') return both('failed:E_REINJECT_PROTOCOL')
  if (place === 'connect' || place === 'EHLO') return both('failed:E_REINJECT_CONNECT')
  if (fault === 'drop' || fault === 'end' || fault === '421') return both('failed:E_REINJECT_LOST')
  if (place === 'XFORWARD') return both('relayed')
  if (place === 'MAIL') return both(`refused:mail:${CODES[fault]}`)
  if (place === 'DATA') return both(`refused:data:${CODES[fault]}`)
  if (place === 'dot') return both(`refused:dot:${CODES[fault]}`)
  return { met: `refused:rcpt:${CODES[fault]}`, others: allOrNothing ? 'withheld' : 'relayed' }
}

interface Row {
  readonly pipelining: boolean
  readonly place: Place
  readonly fault: Fault
  readonly count: number
  readonly allOrNothing: boolean
}

/** Without PIPELINING the number of recipients makes no difference. */
const COUNTS: readonly (readonly [pipelining: boolean, count: number])[] = [
  [true, 1],
  [true, 3],
  [true, 50],
  [false, 3],
]

const ROWS = Object.keys(PLACES).flatMap((place) =>
  Object.keys(FAULTS).flatMap((fault) =>
    COUNTS.flatMap(([pipelining, count]) =>
      [false, true].map((allOrNothing): Row => ({
        pipelining,
        place: place as Place,
        fault,
        count,
        allOrNothing,
      })),
    ),
  ),
)

test.each(ROWS)(
  '$fault at $place, $count recipients, all or nothing $allOrNothing, pipelining $pipelining',
  async ({ pipelining, place, fault, count, allOrNothing }) => {
    const extensions = [...(pipelining ? ['PIPELINING'] : []), '8BITMIME', 'XFORWARD ADDR']
    const met = place === 'RCPT last' ? count - 1 : 0
    const act = FAULTS[fault] as EvilAct
    const { mta, reinjector } = await start(
      { extensions, act: ({ stage, index }) => (stage === PLACES[place] && index === met ? act : undefined) },
      { timeouts: fault === 'hang' ? { ...PATIENT, [WAITS[place]]: SHORT } : PATIENT },
    )
    const results = await deliver(reinjector, count, allOrNothing)
    const expected = oracle(place, fault, allOrNothing)
    expect(brief(results)).toEqual(
      Array.from({ length: count }, (_, i) => (i === met ? expected.met : expected.others)),
    )
    expect(results.map(({ recipient }) => recipient.address)).toEqual(
      Array.from({ length: count }, (_, i) => `r${i}@example.net`),
    )
    const complete = mta.transactions.filter((transaction) => transaction.complete).length
    const relayed = results.some(({ outcome }) => outcome === 'relayed')
    expect(complete).toBeGreaterThanOrEqual(relayed ? 1 : 0)
    expect(complete).toBeLessThanOrEqual(relayed || place === 'dot' ? 1 : 0)
  },
)

test.each<[string, EvilStage, EvilAct]>([
  ['354 at MAIL', 'mail', '354 go ahead'],
  ['354 at RCPT', 'rcpt', '354 go ahead'],
  ['334 at XFORWARD', 'xforward', '334 '],
  ['250 at DATA', 'data', '250 2.0.0 Ok'],
  ['355 at DATA', 'data', '355 go ahead'],
  ['354 after the dot', 'dot', '354 again'],
  ['two replies for one dot before it is sent', 'data', '354 go\r\n250 2.0.0 Ok: queued as FORGED'],
  ['codes that change within a reply', 'dot', '250-a\r\n550 b'],
  ['NUL in a reply', 'dot', '250 o\0k'],
  ['a line break in a text', 'dot', '250-ok\r\nX-Evil: 1'],
  ['a reply of 1 MB in many lines', 'dot', '250-xxxxxxxxxxxxxxx\r\n'.repeat(50_000) + '250 ok'],
  ['a reply of 1 MB in one line', 'dot', `250 ${'x'.repeat(1_000_000)}`],
  ['a reply that never ends', 'dot', Buffer.from('250-\r\n'.repeat(20_000))],
  ['an EHLO reply of 1 MB', 'ehlo', '250-xxxxxxxxxxxxxxx\r\n'.repeat(50_000) + '250 ok'],
  ['an EHLO reply before EHLO', 'connect', '220 hi\r\n250 PIPELINING'],
])('%s: failed, never relayed, never refused', async (_, stage, act) => {
  const { reinjector } = await start({ act: (event) => (event.stage === stage ? act : undefined) })
  const [result] = await deliver(reinjector, 1, false)
  expect(brief(result ? [result] : [])).toEqual(['failed:E_REINJECT_PROTOCOL'])
})

test('gives the text of an evil peer as printable ASCII of at most 1000 characters', async () => {
  const reply = `550-5.1.1 \x1b[31m${'x'.repeat(3000)}\xff\r\n550 5.1.1 \x07 \u2028end`
  const { reinjector } = await start({ act: ({ stage }) => (stage === 'rcpt' ? reply : undefined) })
  const [result] = await deliver(reinjector, 1, false)
  expect(result).toMatchObject({ outcome: 'refused', stage: 'rcpt' })
  expect(result && 'line' in result && result.line).toMatch(/^550 5\.1\.1 \?\[31mx{1,1000}$/)
  expect(result && 'line' in result && result.line.length).toBe(1000)
})

test('takes replies that come byte by byte', async () => {
  const { reinjector } = await start({
    act: ({ stage }) => (stage === 'dot' ? { slow: '250-2.0.0 Ok\r\n250 2.0.0 queued as 4SL0W' } : undefined),
  })
  const [result] = await deliver(reinjector, 1, false)
  expect(result).toMatchObject({
    outcome: 'relayed',
    line: '250 2.0.0 Ok queued as 4SL0W',
    queuedAs: '4SL0W',
  })
})

test('keeps a definite refusal when the connection is lost later', async () => {
  const { reinjector } = await start({
    act: ({ stage, index }) => {
      if (stage === 'rcpt' && index === 1) return '550 5.1.1 unknown'
      return stage === 'data' ? { do: 'end' } : undefined
    },
  })
  const results = await deliver(reinjector, 3, false)
  expect(brief(results)).toEqual(['failed:E_REINJECT_LOST', 'refused:rcpt:550', 'failed:E_REINJECT_LOST'])
})

test('sends nothing to a peer that asks for content without a recipient', async () => {
  const { mta, reinjector } = await start({
    act: ({ stage }) => {
      if (stage === 'rcpt') return '550 5.1.1 unknown'
      return stage === 'data' ? '354 send it' : undefined
    },
  })
  expect(brief(await deliver(reinjector, 1, false))).toEqual(['refused:rcpt:550'])
  expect(await deliver(reinjector, 1, false)).toHaveLength(1)
  expect(mta.sessions).toHaveLength(2)
  expect(mta.transactions.map(({ data }) => data.length)).toEqual([0, 0])
})

test('fails when nobody listens', async () => {
  const { mta, reinjector } = await start({})
  await mta.close()
  expect(brief(await deliver(reinjector, 2, true))).toEqual([
    'failed:E_REINJECT_CONNECT',
    'failed:E_REINJECT_CONNECT',
  ])
  await expect(reinjector.probe(AbortSignal.timeout(LONG))).rejects.toMatchObject({
    code: 'E_REINJECT_CONNECT',
  })
})

test.each<[EvilAct, string]>([
  ['554 5.7.1 go away', 'E_REINJECT_CONNECT'],
  [{ do: 'drop' }, 'E_REINJECT_CONNECT'],
  [{ do: 'end' }, 'E_REINJECT_CONNECT'],
  [Buffer.from('SSH-2.0-x\r\n'), 'E_REINJECT_PROTOCOL'],
  [{ do: 'hang' }, 'E_REINJECT_TIMEOUT'],
])('a probe that is answered %j fails with %s', async (act, code) => {
  const { reinjector } = await start(
    { act: () => act },
    { timeouts: { ...PATIENT, connectMs: code === 'E_REINJECT_TIMEOUT' ? SHORT : LONG } },
  )
  await expect(reinjector.probe(AbortSignal.timeout(LONG))).rejects.toMatchObject({ code })
})
