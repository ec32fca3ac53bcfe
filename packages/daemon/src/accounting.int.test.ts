import { afterEach, expect, test } from '@jest/globals'
import { DEFAULT_POLICY } from '@ecluse/core'
import type { LmtpClient } from '@ecluse/fixtures'
import { EICAR, GTUBE } from '@ecluse/fixtures'
import {
  HAM,
  rulesWith,
  releaseAll,
  scannerOf,
  scannerOfKind,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestMail,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const OUTSIDE = 'NAME=mx.example.com ADDR=192.0.2.7 PROTO=ESMTP HELO=mx.example.com IDENT=4QX1 SOURCE=REMOTE'
const virus = `Subject: virus\r\n\r\n${EICAR}\r\n`
const spam = `Subject: spam\r\n\r\n${GTUBE}\r\n`
const spammy = 'Subject: spammy\r\n\r\nECLUSE-TEST-SCORE=7 .\r\n'

/** Every counter that is not 0, without the buckets and sums of the histograms. */
async function counters({ metrics }: TestDaemon): Promise<Record<string, number>> {
  const all = await metrics()
  const shown = [...all].filter(
    ([name, value]) => value !== 0 && !/_bucket|_sum|_bytes$|_up\{|_timestamp_seconds/.test(name),
  )
  return Object.fromEntries(shown)
}

/** What Postfix at 10025 took, recipient by recipient. */
function takenBySink({ mta }: TestDaemon): number {
  return mta.transactions.reduce(
    (sum, { complete, rcpt }) =>
      sum + (complete ? rcpt.filter((line) => !line.includes('nobody')).length : 0),
    0,
  )
}

test('a known mix: every counter, one line for each message, totals as at the sink', async () => {
  const kit = await startTestDaemon({
    mta: {
      act: ({ stage, line }) => {
        if (stage === 'rcpt' && line.includes('nobody')) return '550 5.1.1 unknown'
        return stage === 'mail' && line.includes('later') ? '450 4.2.0 later' : undefined
      },
    },
  })
  const local = 'a@example.org'
  const mix: readonly TestMail[] = [
    { to: [local], xforward: OUTSIDE },
    { to: [local, 'b@elsewhere.example'], xforward: OUTSIDE },
    { to: [local], protocol: 'smtp' },
    { to: ['b@elsewhere.example'], protocol: 'smtp' },
    { to: ['b@elsewhere.example'], xforward: OUTSIDE },
    { to: [local, 'nobody@example.org'], content: spammy, xforward: OUTSIDE },
    { to: [local, local], content: virus, xforward: OUTSIDE },
    { to: [local], content: spam, xforward: OUTSIDE },
    { from: 'later@example.com', to: [local], xforward: OUTSIDE },
  ]
  const clients = { lmtp: await kit.greet('lmtp'), smtp: await kit.greet('smtp') }
  for (const mail of mix) await sendMail(clients[mail.protocol ?? 'lmtp'], mail)
  expect(await counters(kit)).toEqual({
    'ecluse_messages_total{category="clean",direction="inbound"}': 3,
    'ecluse_messages_total{category="clean",direction="internal"}': 1,
    'ecluse_messages_total{category="clean",direction="outbound"}': 1,
    'ecluse_messages_total{category="clean",direction="open-relay"}': 1,
    'ecluse_messages_total{category="spammy",direction="inbound"}': 1,
    'ecluse_messages_total{category="virus",direction="inbound"}': 1,
    'ecluse_messages_total{category="spam",direction="inbound"}': 1,
    'ecluse_recipients_total{category="clean",destiny="pass",outcome="relayed"}': 6,
    'ecluse_recipients_total{category="clean",destiny="pass",outcome="tempfailed"}': 1,
    'ecluse_recipients_total{category="spammy",destiny="pass",outcome="relayed"}': 1,
    'ecluse_recipients_total{category="spammy",destiny="pass",outcome="rejected"}': 1,
    'ecluse_recipients_total{category="virus",destiny="discard",outcome="discarded"}': 2,
    'ecluse_recipients_total{category="spam",destiny="discard",outcome="discarded"}': 1,
    // `spam` is for scanners with a threshold of their own: this one only gives points.
    'ecluse_scans_total{scanner="test",verdict="clean"}': 6,
    'ecluse_scans_total{scanner="test",verdict="spam"}': 2,
    'ecluse_scans_total{scanner="test",verdict="virus"}': 1,
    'ecluse_scan_seconds_count{scanner="test"}': 9,
    'ecluse_reinjections_total{result="ok"}': 7,
    'ecluse_reinjections_total{result="tempfail"}': 1,
    'ecluse_reinjections_total{result="reject"}': 1,
    'ecluse_quarantined_total{category="virus"}': 1,
    'ecluse_quarantined_total{category="spam"}': 1,
    ecluse_message_bytes_count: 9,
    'ecluse_message_seconds_count{stage="receive"}': 9,
    'ecluse_message_seconds_count{stage="scan"}': 9,
    'ecluse_message_seconds_count{stage="decide"}': 9,
    'ecluse_message_seconds_count{stage="quarantine"}': 2,
    'ecluse_message_seconds_count{stage="reinject"}': 7,
    'ecluse_message_seconds_count{stage="total"}': 9,
  })
  expect(kit.messages()).toHaveLength(mix.length)
  expect(kit.messages().map(({ category }) => category)).toEqual([
    'clean',
    'clean',
    'clean',
    'clean',
    'clean',
    'spammy',
    'virus',
    'spam',
    'clean',
  ])
  const relayed = kit.messages().flatMap(({ recipients }) => recipients.filter(({ queuedAs }) => queuedAs))
  expect(relayed).toHaveLength(7)
  expect(takenBySink(kit)).toBe(7)
})

test('a thousand messages with nothing in common: not one series more', async () => {
  // A name of its own for each virus, rule and cause.
  let scans = 0
  const scanner = scannerOf(async () => {
    scans += 1
    const symbols = [{ name: `RULE_${scans}`, score: 1 }]
    const score = { kind: 'score', points: 1, symbols } as const
    return { findings: scans % 2 ? [{ kind: 'virus', name: `Virus.${scans}` }, score] : [score] }
  })
  const kit = await startTestDaemon({
    scanners: [scanner, scannerOfKind('test')],
    // Each copy kept is several waits for the disk, and adds nothing here.
    rules: rulesWith({ policy: { ...DEFAULT_POLICY, quarantine: [] } }),
    mta: {
      act: ({ stage, transaction }) =>
        stage === 'dot' ? `250 2.0.0 Ok: queued as Q${transaction}` : undefined,
    },
  })
  const clients = await Promise.all([kit.greet(), kit.greet(), kit.greet(), kit.greet()])
  const send = async (client: LmtpClient, i: number): Promise<void> => {
    await sendMail(client, {
      from: `sender${i}@d${i}.example`,
      to: [`r${i}@example.org`, `x${i}@d${i}.example`],
      content: `Message-ID: <${i}@d${i}.example>\r\nSubject: ${i}\r\n\r\n${i}\r\n`,
      xforward: `NAME=h${i}.example ADDR=192.0.2.${i % 256} PORT=${i + 1024} HELO=h${i} IDENT=Q${i}`,
    })
  }
  for (let i = 0; i < 4; i++) await send(clients[0], i)
  const before = [...(await kit.metrics()).keys()]
  await Promise.all(
    clients.map(async (client, c) => {
      for (let i = 0; i < 250; i++) await send(client, 1000 * (c + 1) + i)
    }),
  )
  expect([...(await kit.metrics()).keys()]).toEqual(before)
  expect(scans).toBe(1004)
  const messages = kit.messages()
  expect(messages).toHaveLength(1004)
  expect(new Set(messages.map(({ id }) => id)).size).toBe(1004)
  const queued = messages.flatMap(({ recipients }) =>
    recipients.filter(({ queuedAs }) => queuedAs !== undefined),
  )
  expect(queued).toHaveLength(takenBySink(kit))
  expect(queued).toHaveLength(1004)
}, 60_000)

test('text from the network stays in its field: one line, one event', async () => {
  const kit = await startTestDaemon()
  const client = await kit.greet()
  const odd = '"\u001b[31m\u2028{\\"event\\":\\"message\\"}"@example.org'
  const utf8 = Buffer.from(odd.replace('\u001b', ''), 'utf8').toString('latin1')
  await client.ask(`MAIL FROM:<${utf8}> SMTPUTF8`)
  expect(await client.ask(`RCPT TO:<${utf8}>`)).toMatch(/^250 /)
  await client.ask('DATA')
  client.send(`${HAM}.\r\n`)
  await client.reply()
  await until(() => kit.messages().length > 0)
  expect(kit.messages()).toMatchObject([{ mailFrom: odd.replace('\u001b', ''), recipients: [{}] }])
})
