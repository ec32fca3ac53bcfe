import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  describeWith,
  mailDate,
  startMailSystem,
  startSpamd,
  submit,
  type MailSystem,
  type Service,
  type SinkMessage,
} from '@ecluse/fixtures'

const ADMIN = 'postmaster@example.org'
let system: MailSystem
let spamd: Service & { readonly port: number }

const mail = (from: string, body: string, more = ''): string =>
  `Date: ${mailDate()}\r\nFrom: ${from}\r\nTo: bob@example.com\r\nSubject: Lunch\r\n` +
  `Message-ID: <${from}>\r\n${more}\r\n${body}\r\n`
const SPAM = 'ECLUSE-TEST-SCORE=20 .'
const fromOutside = ['XCLIENT ADDR=192.0.2.7 NAME=client.example HELO=client.example', 'EHLO client.example']

/** What came with the null sender. */
const notices = (messages: readonly SinkMessage[]): readonly SinkMessage[] =>
  messages.filter(({ mailFrom }) => mailFrom === '')

/** The points that spamd, without the network, gives a message. */
async function pointsOf(message: Buffer): Promise<number> {
  const socket = connect(spamd.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.end(
    Buffer.concat([Buffer.from(`CHECK SPAMC/1.5\r\nContent-length: ${message.length}\r\n\r\n`), message]),
  )
  const [, points] = /^Spam: \w+ ; (-?[\d.]+) \//m.exec(await text(socket)) ?? []
  return Number(points)
}

const describePostfix = describeWith({ describe, beforeAll }, 'postfix', 'spamd')

describePostfix('mail about mail, through Postfix', () => {
  beforeAll(async () => {
    spamd = await startSpamd()
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners: [{ kind: test }]
policies:
  - { name: ours, when: { originating: true }, policy: { destiny: { spam: bounce } } }
  - { name: kept, when: { recipients: [kept@example.com] }, policy: { destiny: { spam: discard } } }
notices: { admin: ${ADMIN}, senders: true }`,
    })
  }, 120_000)

  afterAll(async () => {
    await system?.close()
    await spamd?.close()
  })

  test('a virus from outside: the administrator gets one notice, which is no spam, and nobody outside anything', async () => {
    const submission = {
      mailFrom: 'marie@example.net',
      recipients: ['paul@example.org'],
      before: fromOutside,
    }
    const { delivered, line } = await system.pass({ ...submission, data: mail('marie@example.net', EICAR) })
    expect(line.recipients[0]?.reply).toMatch(/^250 2\.7\.0 Ok, discarded/)
    expect(delivered).toMatchObject([{ mailFrom: '', recipients: [{ address: ADMIN }] }])
    const notice = delivered[0]?.data ?? Buffer.alloc(0)
    expect(notice.toString()).toContain('From:        <marie@example.net>')
    expect(await pointsOf(notice)).toBeLessThan(2)
    expect(system.postfix.log()).not.toMatch(/non-delivery notification/)
  })

  test('a retry makes no second notice', async () => {
    const before = system.sink.messages.length
    const { lmtpPort } = system.ecluse()
    const attempt = {
      port: lmtpPort,
      protocol: 'lmtp',
      mailFrom: 'marie@example.net',
      recipients: ['paul@example.org'],
      before: ['XFORWARD ADDR=192.0.2.7 IDENT=RETRIED1'],
      data: mail('retried@example.net', EICAR),
    } as const
    const first = await submit(attempt)
    await system.sink.waitFor(before + 1)
    expect(await submit(attempt)).toEqual(first)
    // Notices go one after the other: one more, about another message, comes behind all of these.
    await submit({
      ...attempt,
      before: ['XFORWARD ADDR=192.0.2.7 IDENT=OTHER1'],
      data: mail('x@example.net', EICAR),
    })
    await system.sink.waitFor(before + 2)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    expect(notices(system.sink.messages.slice(before))).toHaveLength(2)
  })

  test('our own sender gets one DSN for what is bounced, and it is no spam', async () => {
    const { delivered, line } = await system.pass({
      mailFrom: 'anne@example.org',
      recipients: [['bob@example.com', 'NOTIFY=FAILURE ORCPT=rfc822;Bob@example.com']],
      parameters: 'RET=FULL ENVID=QQ1',
      data: mail('anne@example.org', SPAM),
    })
    expect(line.recipients[0]).toMatchObject({
      destiny: 'bounce',
      reply: expect.stringContaining('DSN was sent'),
    })
    expect(delivered).toMatchObject([{ mailFrom: '', recipients: [{ address: 'anne@example.org' }] }])
    const report = delivered[0]?.data.toString() ?? ''
    expect(report).toMatch(/^Original-Envelope-Id: QQ1\r$/m)
    expect(report).toMatch(/^Original-Recipient: rfc822; Bob@example\.com\r$/m)
    expect(report).toMatch(/^Content-Type: message\/rfc822\r$/m)
    expect(await pointsOf(delivered[0]?.data ?? Buffer.alloc(0))).toBeLessThan(2)
  })

  test('our own sender hears of what was kept', async () => {
    const { delivered } = await system.pass({
      mailFrom: 'anne@example.org',
      recipients: ['kept@example.com'],
      data: mail('anne@example.org', SPAM),
    })
    expect(delivered).toMatchObject([{ mailFrom: '', recipients: [{ address: 'anne@example.org' }] }])
    expect(delivered[0]?.data.toString()).toContain('<kept@example.com>')
    expect(await pointsOf(delivered[0]?.data ?? Buffer.alloc(0))).toBeLessThan(2)
  })

  test.each([
    ['a forged local sender', { mailFrom: 'anne@example.org', before: fromOutside }, ''],
    ['a sender outside', { mailFrom: 'marie@example.net', before: fromOutside }, ''],
    ['a sender outside, from our network', { mailFrom: 'marie@example.net' }, ''],
    ['the null sender', { mailFrom: '' }, ''],
    ['a list', { mailFrom: 'anne@example.org' }, 'List-Id: <l.example.org>\r\n'],
    ['bulk mail', { mailFrom: 'anne@example.org' }, 'Precedence: bulk\r\n'],
    [
      'NOTIFY=NEVER',
      { mailFrom: 'anne@example.org', recipients: [['paul@example.org', 'NOTIFY=NEVER']] as const },
      '',
    ],
  ])('nobody is told, and the mail is kept: %s', async (_, changes, more) => {
    const submission = {
      recipients: ['paul@example.org'],
      data: mail('x@example.org', SPAM, more),
      ...changes,
    }
    const { line } = await system.pass(submission, 0)
    expect(line).toMatchObject({ quarantineId: expect.any(String), recipients: [{ destiny: 'discard' }] })
    expect(line.recipients[0]?.reply).toMatch(/^250 2\.(?:7\.0 Ok, discarded|5\.0 Ok <.*>, DSN suppressed)/)
  })

  test('in the end nobody outside has got a notice', () => {
    const told = notices(system.sink.messages).flatMap(({ recipients }) =>
      recipients.map(({ address }) => address),
    )
    expect(new Set(told)).toEqual(new Set([ADMIN, 'anne@example.org']))
    expect(system.postfix.log()).not.toMatch(/status=bounced|non-delivery notification/)
  })
})
