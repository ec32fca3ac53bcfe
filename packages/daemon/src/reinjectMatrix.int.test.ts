import { afterEach, describe, expect, test } from '@jest/globals'
import type { EvilAct, EvilEvent, EvilMtaOptions, EvilStage } from '@ecluse/fixtures'
import type { MailProtocol } from '@ecluse/core'
import {
  HAM,
  masked,
  PATIENT,
  releaseAll,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

/** Where 10025 fails. `first` and `last`: at the RCPT of that recipient. */
const STAGES = ['connect', 'ehlo', 'xforward', 'mail', 'rcpt first', 'rcpt last', 'data', 'dot'] as const
type Stage = (typeof STAGES)[number]
const FAULTS: Readonly<Record<string, EvilAct>> = {
  '4xx': '450 4.2.1 Not now',
  '5xx': '550 5.1.1 Never',
  drop: { do: 'drop' },
  '421': '421 4.3.2 Going down',
  hang: { do: 'hang' },
  garbage: Buffer.from('\0\xff 250 2.0.0 Ok\r\n', 'latin1'),
}
type Fault = '4xx' | '5xx' | 'drop' | '421' | 'hang' | 'garbage'
const REFUSALS: ReadonlyMap<Fault, string> = new Map([
  ['4xx', '450'],
  ['5xx', '550'],
])
/** What a refusal there is about. */
const CONCERNS: Readonly<Record<Stage, 'session' | 'client' | 'message' | 'recipient'>> = {
  connect: 'session',
  ehlo: 'session',
  xforward: 'client',
  mail: 'message',
  'rcpt first': 'recipient',
  'rcpt last': 'recipient',
  data: 'message',
  dot: 'message',
}
const COUNTS = [1, 3, 50]
const PROTOCOLS: readonly MailProtocol[] = ['lmtp', 'smtp']

/** What the next hop really took: recipients of transactions whose dot it answered with 2xx, as `sender>address`. */
class Ledger {
  readonly taken: string[] = []
  fault: ((event: EvilEvent) => EvilAct | undefined) | undefined
  readonly #open = new Map<number, { sender: string; accepted: string[] }>()

  readonly options: EvilMtaOptions = {
    act: (event) => {
      const act = this.fault?.(event)
      const ok = act === undefined || (typeof act === 'string' && act.startsWith('2'))
      this.#note(event, ok)
      return act
    },
  }

  #note({ stage, session, line }: EvilEvent, ok: boolean): void {
    const address = /<(.*)>/.exec(line)?.[1] ?? ''
    if (stage === 'mail') this.#open.set(session, { sender: address, accepted: [] })
    const current = this.#open.get(session)
    if (stage === 'rcpt' && ok) current?.accepted.push(address)
    if (stage !== 'dot') return
    if (ok && current) this.taken.push(...current.accepted.map((of) => `${current.sender}>${of}`))
    this.#open.delete(session)
  }
}

function isStage(stage: Stage, count: number, event: EvilEvent): boolean {
  if (stage === 'rcpt first') return event.stage === 'rcpt' && event.index === 0
  if (stage === 'rcpt last') return event.stage === 'rcpt' && event.index === count - 1
  return event.stage === (stage satisfies EvilStage)
}

/**
 * In words: what is said about a recipient, or about all by MAIL, DATA and the dot, is passed on to them; a refusal
 * before there is a transaction, and whatever is no reply to it, is a fault of transport and 4xx for all; a refused
 * XFORWARD does not hold up mail. Over SMTP one refused recipient of several holds back all, for now.
 */
function expected(
  stage: Stage,
  fault: Fault,
  { count, protocol }: { count: number; protocol: MailProtocol },
): string[] {
  const all = (code: string): string[] => Array<string>(protocol === 'lmtp' ? count : 1).fill(code)
  const code = REFUSALS.get(fault)
  if (code === undefined || CONCERNS[stage] === 'session') return all('451')
  if (CONCERNS[stage] === 'client') return all('250')
  if (CONCERNS[stage] === 'message' || count === 1) return all(code)
  // Of several replies the first 4xx that tells a cause is the one for all; a refusal holds the others back with 451.
  if (protocol === 'smtp') return [fault === '4xx' && stage.startsWith('rcpt') ? code : '451']
  return all('250').with(stage === 'rcpt first' ? 0 : count - 1, code)
}

const addresses = (count: number): string[] => Array.from({ length: count }, (_, i) => `r${i}@example.org`)

async function row(
  { greet, mta }: TestDaemon,
  ledger: Ledger,
  { stage, fault, count, protocol }: { stage: Stage; fault: Fault; count: number; protocol: MailProtocol },
): Promise<void> {
  const sender = `${protocol}${count}@example.com`
  const to = addresses(count)
  const client = await greet(protocol)
  const { rcpt, data, dot } = await sendMail(client, { from: sender, to, protocol })
  expect(rcpt.map((reply) => reply.slice(0, 3))).toEqual(to.map(() => '250'))
  expect(data).toBe('354 End data with <CR><LF>.<CR><LF>')
  expect(dot.map((reply) => reply.slice(0, 3))).toEqual(expected(stage, fault, { count, protocol }))

  // A 2xx for what was taken, and for nothing else.
  const answered = protocol === 'lmtp' ? dot : to.map(() => dot[0] ?? '')
  const relayed = to.filter((_, i) => answered[i]?.startsWith('2')).map((address) => `${sender}>${address}`)
  const own = ledger.taken.filter((taken) => taken.startsWith(`${sender}>`))
  expect(own).toEqual(relayed)
  // Content cannot be taken back: over SMTP none is sent once a recipient is refused.
  const sent = mta.transactions.filter(({ mail }) => mail.includes(`<${sender}>`))
  const refusedRcpt = protocol === 'smtp' && stage.startsWith('rcpt')
  expect(sent.filter((transaction) => refusedRcpt && transaction.data.length > 0)).toEqual([])
  await expectNormal(client, ledger, protocol)
}

/** On the same connection: that its first reply belongs to its first command says that no reply was too many. */
async function expectNormal(
  client: Awaited<ReturnType<TestDaemon['greet']>>,
  ledger: Ledger,
  protocol: MailProtocol,
): Promise<void> {
  const { fault } = ledger
  ledger.fault = undefined
  const next = await sendMail(client, { from: 'next@example.com', to: ['r0@example.org'], protocol })
  expect(next.mail).toBe('250 2.1.0 Sender <next@example.com> OK')
  expect(masked(next.dot.join('\n'))).toMatch(
    /^250 2\.0\.0 from MTA\(smtp:\[127\.0\.0\.1\]:PORT\): 250 2\.0\.0 Ok: queued as 4EV1L\d+$/,
  )
  expect(ledger.taken.pop()).toBe('next@example.com>r0@example.org')
  ledger.fault = fault
  client.destroy()
}

// One transaction for each connection: the pool would otherwise not connect anew for each row.
const FRESH = { ...PATIENT, messagesPerConnection: 1 }

describe.each(STAGES)('10025 at %s', (stage) => {
  test.each(['4xx', '5xx', 'drop', '421', 'garbage'] as const)('%s', async (fault) => {
    const ledger = new Ledger()
    const kit = await startTestDaemon({ mta: ledger.options, reinject: { timeouts: FRESH } })
    for (const protocol of PROTOCOLS) {
      for (const count of COUNTS) {
        ledger.fault = (event) => (isStage(stage, count, event) ? FAULTS[fault] : undefined)
        await row(kit, ledger, { stage, fault, count, protocol })
      }
    }
    const rows = PROTOCOLS.length * COUNTS.length
    expect(kit.messages()).toHaveLength(2 * rows)
  })

  test('hang', async () => {
    const ledger = new Ledger()
    let patienceMs = 200
    const timeouts = {
      ...FRESH,
      get connectMs() {
        return patienceMs
      },
      get commandMs() {
        return patienceMs
      },
      get dotMs() {
        return patienceMs
      },
    }
    const kit = await startTestDaemon({ mta: ledger.options, reinject: { timeouts } })
    // All rows wait at the same time.
    const rows = PROTOCOLS.flatMap((protocol) => COUNTS.map((count) => ({ protocol, count })))
    ledger.fault = (event) => {
      const index = event.stage === 'rcpt' ? Number(/<r(\d+)@/.exec(event.line)?.[1]) : event.index
      const count = Number(/p(\d+)@/.exec(ledgerSender(kit, event))?.[1] ?? 0)
      return isStage(stage, count, { ...event, index }) ? FAULTS['hang'] : undefined
    }
    const clients = await Promise.all(rows.map(({ protocol }) => kit.greet(protocol)))
    const replies = await Promise.all(
      rows.map(({ protocol, count }, i) =>
        sendMail(clients[i] as (typeof clients)[0], {
          from: `${protocol}${count}@example.com`,
          to: addresses(count),
          protocol,
        }),
      ),
    )
    for (const [i, { protocol, count }] of rows.entries()) {
      expect(replies[i]?.dot.map((reply) => reply.slice(0, 3))).toEqual(
        expected(stage, 'hang', { count, protocol }),
      )
    }
    expect(ledger.taken).toEqual([])
    // Who comes while connections are still being opened waits for those, and these are doomed.
    await until(() => kit.mta.open === 0)
    patienceMs = PATIENT.commandMs
    for (const [i, { protocol }] of rows.entries()) {
      await expectNormal(clients[i] as (typeof clients)[0], ledger, protocol)
    }
    expect(kit.messages()).toHaveLength(2 * rows.length)
  })
})

/** Who sends in the session of the event. */
function ledgerSender({ mta }: TestDaemon, { session, stage, line }: EvilEvent): string {
  return stage === 'mail' ? line : (mta.sessions[session - 1]?.transactions.at(-1)?.mail ?? '')
}

describe('whole replies', () => {
  const to = ['r0@example.org']
  test.each<[Stage, EvilAct, string]>([
    ['connect', '5xx', '451 4.4.1 Cannot relay now, id=ID'],
    ['ehlo', '4xx', '451 4.4.1 Cannot relay now, id=ID'],
    ['mail', '421', '451 4.4.2 Connection lost while relaying, id=ID'],
    ['data', 'drop', '451 4.4.2 Connection lost while relaying, id=ID'],
    ['dot', 'garbage', '451 4.5.0 Error while relaying, id=ID'],
    ['dot', '250 OK', '250 2.6.0 from MTA(smtp:[127.0.0.1]:PORT): 250 OK'],
    [
      'mail',
      '550 No',
      '550 5.1.0 id=ID - Rejected by next-hop MTA on relaying, from MTA(smtp:[127.0.0.1]:PORT): 550 No',
    ],
    [
      'rcpt first',
      '550 5.1.1 <r0@example.org>: unknown',
      '550 5.1.1 id=ID - Rejected by next-hop MTA on relaying, from MTA(smtp:[127.0.0.1]:PORT): 550 5.1.1 <r0@example.org>: unknown',
    ],
    [
      'data',
      '451 4.3.0 Later',
      '451 4.3.0 id=ID - Temporary MTA failure on relaying, from MTA(smtp:[127.0.0.1]:PORT): 451 4.3.0 Later',
    ],
    [
      'dot',
      '552 Too big',
      '552 5.6.0 id=ID - Rejected by next-hop MTA on relaying, from MTA(smtp:[127.0.0.1]:PORT): 552 Too big',
    ],
  ])('at %s', async (stage, fault, reply) => {
    const ledger = new Ledger()
    const kit = await startTestDaemon({ mta: ledger.options })
    const act = typeof fault === 'string' ? (FAULTS[fault] ?? fault) : fault
    ledger.fault = (event) => (isStage(stage, 1, event) ? act : undefined)
    const { dot } = await sendMail(await kit.greet(), { to })
    expect(dot.map(masked)).toEqual([reply])
  })

  test('452 after three of five: the others in a second transaction', async () => {
    const ledger = new Ledger()
    const kit = await startTestDaemon({ mta: ledger.options })
    ledger.fault = ({ stage, index }) => (stage === 'rcpt' && index >= 3 ? '452 4.5.3 Too many' : undefined)
    const { dot } = await sendMail(await kit.greet(), { to: addresses(5), content: HAM })
    expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250', '250', '250'])
    expect(kit.mta.transactions.map(({ rcpt }) => rcpt.length)).toEqual([5, 2])
    expect(ledger.taken).toEqual(addresses(5).map((address) => `marie@example.com>${address}`))
  })
})
