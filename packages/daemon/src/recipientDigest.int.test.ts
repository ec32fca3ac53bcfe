import { Readable } from 'node:stream'
import { afterEach, expect, test } from '@jest/globals'
import { assess, decide, type Envelope, type Message, type Rules, type ScanResult } from '@ecluse/core'
import { loadNoticeTemplates } from '@ecluse/mail'
import { createFileStore, quarantineRecord } from '@ecluse/quarantine'
import {
  releaseAll,
  rulesWith,
  startTestDaemon,
  tempFolder,
  until,
  type TestDaemon,
} from './daemon.testkit.ts'
import { collectDigests, entriesSince, lastDigestTime, nextDigestTime } from './recipientDigest.ts'

afterEach(releaseAll)

const rules = rulesWith({
  policies: [
    { name: 'silent', when: { recipients: ['silent@example.org'] }, policy: { notices: ['admin'] } },
  ],
})
const HOUR_MS = 3_600_000
/** The day that ends at midnight, whatever the time is. */
const TIME = '00:00'
const to = lastDigestTime(new Date(), TIME)
const from = lastDigestTime(new Date(to.getTime() - 1), TIME)

/** Keeps a message, as the daemon does. */
async function keep(
  folder: string,
  of: { id: string; storedAt: Date; recipients: string[]; subject?: string },
  by: Rules = rules,
): Promise<void> {
  const { id, storedAt, recipients, subject = id } = of
  const header = Buffer.from(`Subject: ${subject}\r\n\r\n`)
  const message: Message = {
    id,
    sizeBytes: header.length,
    digest: '0'.repeat(64),
    bytes: header,
    header,
    open: () => Readable.from([header]),
  }
  const envelope: Envelope = {
    protocol: 'lmtp',
    mailFrom: 'shop@example.net',
    recipients: recipients.map((address) => ({ address })),
    smtpUtf8: false,
    client: {},
    peer: { helo: 'x' },
    listener: 'x',
  }
  // Of the assessment only what was found counts.
  const scan = {
    outcome: 'done',
    scanner: 'one',
    concerns: ['spam'],
    elapsedMs: 1,
    cached: false,
    verdict: { findings: [{ kind: 'score', points: 20, symbols: [] }] },
  } as unknown as ScanResult
  const mailRules = by.forMail(envelope, [])
  const decisions = envelope.recipients.map((recipient) => {
    const policy = mailRules.policyFor(recipient.address)
    return decide(recipient, { policy, local: by.isLocal(recipient.address) }, assess([scan], policy))
  })
  const context = {
    id,
    hostname: 'h',
    alertHeader: 'X-Alert',
    envelope,
    date: storedAt,
    recipientDelimiter: '+',
  }
  const store = createFileStore(folder)
  await store.put(quarantineRecord(context, decisions), message, AbortSignal.timeout(60_000))
  await store.close()
}

async function kept(): Promise<string> {
  const folder = await tempFolder()
  const at = (ms: number): Date => new Date(ms)
  await keep(folder, { id: 'aaaaaaaaaaa1', storedAt: at(from.getTime()), recipients: ['a@example.org'] })
  await keep(folder, {
    id: 'aaaaaaaaaaa2',
    storedAt: at(from.getTime() + HOUR_MS),
    recipients: [
      'a@example.org',
      'b@example.org',
      'c@example.net',
      'silent@example.org',
      'x%example.net@example.org',
    ],
  })
  await keep(folder, { id: 'aaaaaaaaaaa3', storedAt: to, recipients: ['a@example.org'] })
  await keep(folder, { id: 'aaaaaaaaaaa4', storedAt: at(to.getTime() + 1), recipients: ['a@example.org'] })
  return folder
}

test('lists what is between two times, for local recipients that want it, newest first', async () => {
  const store = createFileStore(await kept())
  const digests = await collectDigests(entriesSince(store, from), rules, { from, to })
  expect(
    digests.map(({ to: address, messages, more }) => [address, messages.map(({ id }) => id), more]),
  ).toEqual([
    ['a@example.org', ['aaaaaaaaaaa3', 'aaaaaaaaaaa2'], 0],
    ['b@example.org', ['aaaaaaaaaaa2'], 0],
  ])
})

test('gives a link to what the recipient may release, and to nothing else', async () => {
  const store = createFileStore(await kept())
  const at = new Date()
  await store.markReleased('aaaaaaaaaaa2', { at, by: 'root', to: ['b@example.org'], as: 'plain' })
  const linkOf = (id: string, recipient: string): string => `${id} ${recipient}`
  const digests = await collectDigests(entriesSince(store, from), rules, { from, to, linkOf })
  expect(digests.map(({ messages }) => messages.map(({ release }) => release))).toEqual([
    ['aaaaaaaaaaa3 a@example.org', 'aaaaaaaaaaa2 a@example.org'],
    [undefined],
  ])
})

test.each([
  ['2026-11-24T07:00:00', '07:00', '2026-11-24T07:00:00', '2026-11-25T07:00:00'],
  ['2026-11-24T06:59:59', '07:00', '2026-11-23T07:00:00', '2026-11-24T07:00:00'],
  ['2026-12-31T23:59:59', '00:00', '2026-12-31T00:00:00', '2027-01-01T00:00:00'],
])('at %s with digestTime %s the last list was due at %s, the next is at %s', (now, time, last, next) => {
  expect(lastDigestTime(new Date(now), time)).toEqual(new Date(last))
  expect(nextDigestTime(new Date(now), time)).toEqual(new Date(next))
})

async function start(quarantineDirectory: string, directory: string): Promise<TestDaemon> {
  const templates = await loadNoticeTemplates('en')
  return await startTestDaemon({
    rules,
    quarantine: createFileStore(quarantineDirectory),
    ledger: { directory, ttlMs: 48 * HOUR_MS },
    notices: {
      senders: false,
      recipients: { time: TIME },
      adminRate: 1,
      bounceBudget: 1,
      from: 'p@example.org',
      templates,
    },
  })
}

test('a list that was due while nothing ran is sent at the start, and a restart does not send it again', async () => {
  const [quarantine, ledger] = [await kept(), await tempFolder()]
  const first = await start(quarantine, ledger)
  const count = async (kit: TestDaemon, result: string): Promise<number | undefined> =>
    (await kit.metrics()).get(`ecluse_notices_total{kind="recipients",result="${result}"}`)
  await until(async () => (await count(first, 'sent')) === 2)
  expect(
    first.mta.transactions.map(({ mail, rcpt }) => [
      mail.replace(/ .*FROM/, ' FROM').split(' SIZE')[0],
      ...rcpt,
    ]),
  ).toEqual([
    [expect.stringMatching(/^MAIL FROM:<>/), 'RCPT TO:<a@example.org> NOTIFY=NEVER'],
    [expect.stringMatching(/^MAIL FROM:<>/), 'RCPT TO:<b@example.org> NOTIFY=NEVER'],
  ])
  expect(first.mta.transactions[0]?.data.toString()).toMatch(/Id: {7}aaaaaaaaaaa3[^]*Id: {7}aaaaaaaaaaa2/)
  await first.daemon.close()
  const second = await start(quarantine, ledger)
  await until(async () => (await count(second, 'repeated')) === 2)
  expect(second.mta.transactions).toEqual([])
})
