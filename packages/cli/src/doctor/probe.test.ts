import { once } from 'node:events'
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { freePort, startEvilMta, type EvilMta } from '@ecluse/fixtures'
import { complaints, sampleConfig, samplePostfix } from '../../test/samplePostfix.ts'
import { readPostfixConfig } from './postfixConfig.ts'
import { frontAddress, probe } from './probe.ts'
import type { Diagnosis } from './report.ts'

let directory = ''
let maillog = ''
const closers: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-probe-'))
  maillog = join(directory, 'maillog')
  await writeFile(maillog, '')
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await rm(directory, { recursive: true })
})

/** What a Postfix and an Écluse do with the message. */
interface Behaviour {
  /** The reply to the dot. */
  readonly front?: string
  /** What the counters of the daemon have more, afterwards. */
  readonly messages?: number
  readonly handedBack?: number
  /** Lines of the log, without what stands in front of the queue id. */
  readonly log?: readonly string[]
}

const TIMES = 'delay=0.1, delays=0.05/0.01/0/0.04, dsn=2.0.0, '
const PASSED = `4X1: to=<a@example.org>, relay=127.0.0.1[127.0.0.1]:10024, ${TIMES}status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4X2)`
const DELIVERED = `4X2: to=<a@example.org>, relay=local, ${TIMES}status=sent (delivered to mailbox)`

/** Starts a front and a daemon that behave so, and probes. */
async function probed(behaviour: Behaviour): Promise<{ diagnoses: Diagnosis[]; front: EvilMta }> {
  let passed = false
  const front = await startEvilMta({
    act: ({ stage }) => {
      if (stage !== 'dot') return undefined
      passed = true
      return behaviour.front ?? '250 2.0.0 Ok: queued as 4X1'
    },
  })
  closers.push(() => front.close())
  const daemon = createServer((_, response) => {
    const more = (count = 0): number => 7 + (passed ? count : 0)
    const answer = async (): Promise<void> => {
      // The log is there when the metrics are asked for: no test waits for it.
      if (passed) await writeLog(behaviour.log ?? [])
      response.end(
        `ecluse_messages_total{category="clean",direction="inbound"} ${more(behaviour.messages)}\n` +
          `ecluse_reinjections_total{result="ok"} ${more(behaviour.handedBack)}\necluse_reinjections_total{result="error"} 1\n`,
      )
    }
    void answer()
  }).listen(0, '127.0.0.1')
  await once(daemon, 'listening')
  closers.push(async () => {
    daemon.closeAllConnections()
    await new Promise((resolve) => daemon.close(resolve))
  })
  const { port } = daemon.address() as AddressInfo
  const diagnoses = await probe({
    recipient: 'a@example.org',
    sender: '',
    submitTo: front.address,
    config: sampleConfig({ http: { address: `127.0.0.1:${port}` } }),
    postfix: samplePostfix({ main: { maillog_file: maillog } }),
    // Everything is there when it is first asked for.
    patience: { waitMs: 5000, settleMs: 0, pollMs: 1 },
  })
  return { diagnoses, front }
}

let written = false

async function writeLog(lines: readonly string[]): Promise<void> {
  if (written) return
  written = true
  await appendFile(maillog, lines.map((line) => `Nov 24 11:20:00 mail postfix/x[7]: ${line}\n`).join(''))
}

beforeEach(() => {
  written = false
})

test('a message that passes is seen in metrics and log', async () => {
  const { diagnoses, front } = await probed({ messages: 1, handedBack: 1, log: [PASSED, DELIVERED] })
  expect(complaints(diagnoses)).toEqual([])
  expect(diagnoses.map(({ check }) => check)).toEqual([
    'probe front',
    'probe filter',
    'probe back',
    'probe log',
    'probe delivery',
  ])
  expect(front.transactions).toMatchObject([
    {
      mail: expect.stringMatching(/^MAIL FROM:<>/),
      rcpt: [expect.stringMatching(/^RCPT TO:<a@example\.org>/)],
    },
  ])
  expect(front.transactions[0]?.data.toString('latin1')).toMatch(/\r\nAuto-Submitted: auto-generated\r\n/)
})

test('other mail at the same time is not hidden', async () => {
  const { diagnoses } = await probed({ messages: 3, handedBack: 3, log: [PASSED, DELIVERED] })
  expect(diagnoses[1]?.detail).toContain('3 messages were handled, others with it')
})

test.each<readonly [what: string, behaviour: Behaviour, expected: readonly string[]]>([
  ['is refused at the front', { front: '550 5.1.1 no such user' }, ['✗ probe front']],
  [
    'goes past Écluse',
    { log: [`4X1: to=<a@example.org>, relay=local, ${TIMES}status=sent (delivered)`] },
    ['✗ probe filter', '✗ probe log'],
  ],
  [
    'waits for Écluse',
    { log: [`4X1: to=<a@example.org>, relay=none, ${TIMES}status=deferred (connect to 127.0.0.1: refused)`] },
    ['✗ probe filter', '✗ probe log'],
  ],
  [
    'is kept by Écluse',
    {
      messages: 1,
      log: [
        `4X1: to=<a@example.org>, relay=127.0.0.1[127.0.0.1]:10024, ${TIMES}status=sent (250 2.7.0 Ok, discarded, id=x - SPAM)`,
      ],
    },
    ['✗ probe back', '✗ probe log'],
  ],
  [
    'is not delivered behind 10025',
    {
      messages: 1,
      handedBack: 1,
      log: [PASSED, `4X2: to=<a@example.org>, relay=none, ${TIMES}status=deferred (no route)`],
    },
    ['! probe delivery'],
  ],
])('a message that %s is told', async (_, behaviour, expected) => {
  expect(complaints((await probed(behaviour)).diagnoses)).toEqual(expected)
})

test('nothing is sent while nobody could see it pass', async () => {
  const front = await startEvilMta()
  closers.push(() => front.close())
  const diagnoses = await probe({
    recipient: 'a@example.org',
    sender: '',
    submitTo: front.address,
    config: sampleConfig({ http: { address: `127.0.0.1:${await freePort()}` } }),
  })
  expect(complaints(diagnoses)).toEqual(['✗ probe'])
  expect(front.sessions).toEqual([])
})

test.each([
  ['smtp inet n - y - - smtpd', { host: '127.0.0.1', port: 25 }],
  ['587 inet n - y - - smtpd\n25 inet n - y - 1 postscreen', { host: '127.0.0.1', port: 25 }],
  [
    'smtpd pass n - y - - smtpd\n[2001:db8::1]:2525 inet n - y - 1 postscreen',
    { host: '2001:db8::1', port: 2525 },
  ],
  ['127.0.0.1:10025 inet n - y - - smtpd', undefined],
  ['', undefined],
])('the front of %j is %j', (services, address) => {
  const postfix = readPostfixConfig({ raw: '', expanded: '', services, overrides: '' })
  expect(frontAddress(postfix, sampleConfig())).toEqual(address)
})
