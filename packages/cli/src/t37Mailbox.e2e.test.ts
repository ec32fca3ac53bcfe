import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { EICAR, describeWith, mailDate, runEcluse, startMailSystem, type MailSystem } from '@ecluse/fixtures'

const MAILBOX = 'quarantine@example.org'
const recipients = ['anna@example.org', 'bob@example.org', 'carl@example.com']

const mail = (subject: string, body: string): string =>
  `Date: ${mailDate()}\r\nMessage-ID: <1@example.net>\r\nFrom: marie@example.net\r\nSubject: ${subject}\r\n\r\n..dots\r\nGr\xfc\xdfe\r\n${body}\r\n`

describeWith({ describe, beforeAll }, 'postfix')('a quarantine that is a mailbox, through Postfix', () => {
  let system: MailSystem

  beforeAll(async () => {
    system = await startMailSystem({
      yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]',
      quarantine: `store: mailbox, mailbox: ${MAILBOX}`,
    })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  test('gets a virus for three recipients as one mail, whole, past the filter', async () => {
    const before = system.ecluse().messages().length
    const data = mail('kept', EICAR)
    const { delivered, line } = await system.pass({
      mailFrom: 'marie@example.net',
      parameters: 'BODY=8BITMIME',
      recipients,
      data,
    })
    expect(line.recipients.map(({ destiny, reply }) => [destiny, reply.slice(0, 9)])).toEqual(
      recipients.map(() => ['discard', '250 2.7.0']),
    )
    expect(delivered).toMatchObject([{ mailFrom: '', recipients: [{ address: MAILBOX }] }])
    const text = delivered[0]?.data.toString('latin1') ?? ''
    expect(text).toContain(`\r\nX-Quarantine-ID: <${line.quarantineId}>\r\n`)
    expect(text).toMatch(/^X-Envelope-From: <marie@example\.net>\r$/m)
    expect(text).toMatch(/^X-Ecluse-Alert: INFECTED/m)
    expect(text.slice(-data.length)).toBe(data)
    expect(system.ecluse().messages()).toHaveLength(before + 1)
  })

  test('a virus for the mailbox itself is kept in it, once, and goes in no circle', async () => {
    const { delivered, line } = await system.pass({
      mailFrom: 'marie@example.net',
      recipients: [MAILBOX],
      data: mail('to the mailbox', EICAR),
    })
    expect(line.recipients).toMatchObject([{ address: MAILBOX, destiny: 'discard' }])
    expect(delivered).toHaveLength(1)
  })

  test('while Postfix takes nothing, the message waits in its queue, and then is kept once', async () => {
    const before = system.sink.messages.length
    await system.relay.shut()
    const queueId = await system.send({
      mailFrom: 'marie@example.net',
      recipients,
      data: mail('deferred', EICAR),
    })
    const line = await system.ecluse().waitForMessage((each) => each.queueId === queueId)
    expect(line.recipients[0]?.reply).toMatch(/^451 /)
    expect(line.quarantineId).toBeUndefined()
    await system.postfix.waitForQueue((queue) => queue[0]?.queue_name === 'deferred')
    await system.relay.open()
    await system.postfix.flush()
    await system.sink.waitFor(before + 1)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    const kept = system.sink.messages.slice(before)
    expect(kept).toMatchObject([{ mailFrom: '', recipients: [{ address: MAILBOX }] }])
  })

  test.each([['list'], ['show', 'Abc-123_xyZ9'], ['release', 'Abc-123_xyZ9'], ['stats']])(
    'quarantine %s says where the mail is',
    async (...args) => {
      const done = await runEcluse(['quarantine', ...args, '--config', system.ecluse().configFile])
      expect(done).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(
          /^ecluse: what is kept is mail in quarantine@example\.org: nothing is listed [^\n]*X-Quarantine-ID[^\n]*\n$/,
        ),
      })
    },
  )
})
