import { createServer } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import { CLEAN, FilterError } from '@ecluse/core'
import {
  masked,
  onRelease,
  rulesWith,
  releaseAll,
  scannerOf,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const DEFERRED = '451 4.7.1 Content filter cannot check this message now, id=ID'

function fail(): never {
  throw new TypeError('a bug of ours')
}

const RULES = rulesWith({})

/** Each breaks for the message of `poison@example.com`, and for that one only. */
const BUGS: readonly [string, TestDaemonOptions][] = [
  [
    'a scanner throws',
    {
      scanners: [
        scannerOf(async ({ envelope }) => (envelope.mailFrom.startsWith('poison') ? fail() : CLEAN)),
      ],
    },
  ],
  [
    'a scanner throws before it gives a promise',
    {
      scanners: [
        scannerOf(({ envelope }) =>
          envelope.mailFrom.startsWith('poison') ? fail() : Promise.resolve(CLEAN),
        ),
      ],
    },
  ],
  [
    'a rule throws',
    {
      rules: {
        ...RULES,
        mailInSteps: (envelope, authors) =>
          envelope.mailFrom.startsWith('poison') ? fail() : RULES.mailInSteps(envelope, authors),
      },
    },
  ],
]

/** Twenty messages at once, the poisoned one among them; gives its reply. */
async function sendAmongOthers(kit: TestDaemon): Promise<string> {
  const names = Array.from({ length: 20 }, (_, i) => (i === 7 ? 'poison' : `good${i}`))
  const clients = await Promise.all(names.map(() => kit.greet()))
  const replies = await Promise.all(
    clients.map((client, i) =>
      sendMail(client, { from: `${names[i]}@example.com`, to: [`${names[i]}@example.org`] }),
    ),
  )
  const said = replies.map(({ dot }) => dot.join())
  expect(said.filter((reply) => reply.startsWith('250 2.0.0 from MTA('))).toHaveLength(19)
  return masked(said[7] ?? '')
}

describe.each(BUGS)('%s', (_, options) => {
  test('one 451, one line, one count; nobody else notices', async () => {
    const kit = await startTestDaemon(options)
    expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
    expect(await sendAmongOthers(kit)).toBe(DEFERRED)
    const errors = kit.lines.filter(({ level }) => level === 'error')
    expect(errors).toMatchObject([
      { id: expect.any(String), err: { stack: expect.stringContaining('a bug of ours') } },
    ])
    expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(1)
    expect(kit.messages()).toHaveLength(20)
    expect(kit.mta.transactions).toHaveLength(19)
    expect((await kit.metrics()).get('ecluse_in_flight_messages')).toBe(0)
  })
})

test('a log that fails behind the delivery does not send the message again', async () => {
  const kit = await startTestDaemon({ wrapLog: (log) => ({ ...log, message: fail }) })
  const { dot } = await sendMail(await kit.greet(), { to: ['r@example.org'] })
  expect(dot[0]).toMatch(/^250 2\.0\.0 from MTA\(/)
  expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(1)
})

test('the cause of a scanner failure is in the log, and in no reply', async () => {
  const secret = 'clamav: unix:/run/secret.ctl: refused'
  const scanner = scannerOf(async () => await Promise.reject(new FilterError('E_SCANNER_CONNECT', secret)))
  const kit = await startTestDaemon({ scanners: [scanner] })
  const { dot } = await sendMail(await kit.greet(), { to: ['r@example.org'] })
  expect(dot.map(masked)).toEqual([DEFERRED])
  expect(kit.lines.filter(({ msg }) => msg === 'scanner failed')).toMatchObject([
    {
      level: 'warn',
      id: kit.messages()[0]?.['id'],
      scanner: 'fake',
      code: 'E_SCANNER_CONNECT',
      err: { message: secret },
    },
  ])
  expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
})

test('a connection that is refused is told of', async () => {
  const kit = await startTestDaemon({ receiver: { trust: ['192.0.2.0/24'] } })
  expect(await (await kit.connect()).replies(2)).toEqual(['554 5.7.1 Access denied', ''])
  expect(kit.lines.filter(({ msg }) => msg === 'connection')).toMatchObject([
    { level: 'warn', event: 'untrusted', peer: '127.0.0.1' },
  ])
})

test('a bug before there is a record: 451 at the dot, counted, told with its stack, nothing leaks', async () => {
  const kit = await startTestDaemon({ rules: { ...RULES, directionOf: fail } })
  const client = await kit.greet()
  const { dot } = await sendMail(client, { to: ['r@example.org'] })
  expect(dot).toEqual(['451 4.5.0 Error in processing'])
  expect(await client.ask('NOOP')).toMatch(/^250 /)
  expect(kit.lines.filter(({ level }) => level === 'error')).toMatchObject([
    { event: 'bug', err: { stack: expect.stringContaining('a bug of ours') } },
  ])
  const metrics = await kit.metrics()
  expect(metrics.get('ecluse_internal_errors_total')).toBe(1)
  expect(metrics.get('ecluse_in_flight_messages')).toBe(0)
})

test('a port that is taken: E_LISTEN, and what was started is stopped', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve)
  })
  onRelease(() => void taken.close())
  const address = taken.address()
  if (typeof address !== 'object' || !address) throw new TypeError('expected TCP')
  const stopped: string[] = []
  const fake = scannerOf(async () => CLEAN)
  const scanners = [
    { ...fake, scanner: { ...fake.scanner, close: async () => void stopped.push('scanner') } },
  ]
  const starting = startTestDaemon({
    scanners,
    receiver: { address: { host: '127.0.0.1', port: address.port } },
  })
  await expect(starting).rejects.toMatchObject({ code: 'E_LISTEN' })
  await until(() => stopped.length === 1)
})
