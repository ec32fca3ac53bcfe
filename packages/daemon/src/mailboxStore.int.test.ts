import { afterEach, expect, test } from '@jest/globals'
import { GTUBE, startEvilMta, type EvilMta, type EvilMtaOptions } from '@ecluse/fixtures'
import { createReinjector } from '@ecluse/mail'
import { createMailboxStore } from '@ecluse/quarantine'
import {
  onRelease,
  PATIENT,
  releaseAll,
  sendMail,
  startTestDaemon,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const SPAM = `From: marie@example.com\r\nSubject: Offer\r\n\r\n..dots\r\n${GTUBE}\r\n`
const to = ['a@example.org', 'b@example.org', 'c@example.com']

/** A daemon that keeps mail in a mailbox, and the next hop of that mailbox. */
async function start(act?: EvilMtaOptions['act']): Promise<{ kit: TestDaemon; kept: EvilMta }> {
  const kept = await startEvilMta(act && { act })
  onRelease(() => kept.close())
  const gate = createReinjector({
    protocol: 'smtp',
    address: kept.address,
    connections: 2,
    hostname: 'filter.example.org',
    timeouts: PATIENT,
  })
  const mailbox = 'quarantine@example.org'
  const quarantine = createMailboxStore({ mailbox, hostname: 'filter.example.org', gate })
  return { kit: await startTestDaemon({ quarantine }), kept }
}

test('what is discarded for many is one mail to the mailbox, and 250 afterwards', async () => {
  const { kit, kept } = await start()
  const { dot } = await sendMail(await kit.greet(), { to, content: SPAM })
  expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250'])
  expect(kept.transactions.map(({ mail, rcpt }) => [mail.split(' ')[1], ...rcpt])).toEqual([
    ['FROM:<>', 'RCPT TO:<quarantine@example.org>'],
  ])
  const text = kept.transactions[0]?.data.toString('latin1') ?? ''
  expect(text).toMatch(/^Return-Path: <marie@example\.com>\r\n/)
  // On the wire dots are stuffed.
  expect(text.endsWith(`${SPAM.replace('..dots', '...dots')}.\r\n`)).toBe(true)
  expect(kit.mta.transactions).toEqual([])
  expect((await kit.metrics()).get('ecluse_quarantine_bytes')).toBe(0)
})

test.each(['rcpt', 'dot'] as const)(
  'a mailbox that is refused at %s defers the message for everybody',
  async (stage) => {
    const { kit } = await start(({ stage: at }) => (at === stage ? '550 5.1.1 no' : undefined))
    const { dot } = await sendMail(await kit.greet(), { to, content: SPAM })
    expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['451', '451', '451'])
    expect(dot.join()).not.toMatch(/5\.1\.1|quarantine@/)
    expect(kit.messages()[0]).not.toHaveProperty('quarantineId')
  },
)

test('a mailbox that cannot be reached defers the message, and mail that is not kept passes', async () => {
  const { kit, kept } = await start()
  await kept.close()
  expect((await sendMail(await kit.greet(), { to, content: SPAM })).dot[0]).toMatch(/^451 /)
  expect((await sendMail(await kit.greet(), { to })).dot[0]).toMatch(/^250 /)
})
