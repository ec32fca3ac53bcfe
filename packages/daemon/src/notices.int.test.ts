import { afterEach, describe, expect, test } from '@jest/globals'
import type { RuleConfig } from '@ecluse/core'
import { EICAR, type EvilMtaOptions, type EvilTransaction } from '@ecluse/fixtures'
import { loadNoticeTemplates } from '@ecluse/mail'
import {
  releaseAll,
  rulesWith,
  sendMail,
  startTestDaemon,
  tempFolder,
  until,
  type TestDaemon,
  type TestMail,
} from './daemon.testkit.ts'
import type { NoticeOptions } from './noticeOutbox.ts'

afterEach(releaseAll)

const ADMIN = 'postmaster@example.org'
const VIRUS = `Subject: virus\r\n\r\n${EICAR}\r\n`
const SPAM =
  'From: anne@example.org\r\nMessage-ID: <1@example.org>\r\nSubject: offers\r\n\r\nECLUSE-TEST-SCORE=20\r\n'

/** Recipients with the local part of a destiny have their spam treated so, where our own clients send it. */
const policies = (['reject', 'bounce', 'discard', 'tempfail'] as const).map(
  (destiny): RuleConfig['policies'][number] => ({
    name: destiny,
    when: { originating: true, recipients: [`/^${destiny}[0-9]*@/`] },
    policy: { destiny: { spam: destiny } },
  }),
)
/** The same for everybody, but for bounce. */
const forAll = (['reject', 'pass'] as const).map((destiny): RuleConfig['policies'][number] => ({
  name: `all-${destiny}`,
  when: { recipients: [`/^(all-)?${destiny}[0-9]*@/`] },
  policy: { destiny: { spam: destiny, spammy: 'pass' } },
}))

interface Options extends Partial<NoticeOptions> {
  readonly act?: EvilMtaOptions['act']
}

async function start({ act, ...changes }: Options = {}, site: Partial<RuleConfig> = {}): Promise<TestDaemon> {
  return await startTestDaemon({
    rules: rulesWith({ policies: [...forAll, ...policies], ...site }),
    ledger: { directory: await tempFolder(), ttlMs: 3_600_000 },
    mta: { ...(act && { act }) },
    notices: {
      admin: ADMIN,
      senders: false,
      adminRate: 1000,
      bounceBudget: 1000,
      from: ADMIN,
      templates: await loadNoticeTemplates('en'),
      ...changes,
    },
  })
}

const outside = (id: string): string => `NAME=mx.example.com ADDR=198.51.100.7 IDENT=${id} SOURCE=REMOTE`
const inside = (id: string): string => `NAME=pc.example.org ADDR=127.0.0.1 IDENT=${id} SOURCE=LOCAL`

async function send(kit: TestDaemon, mail: Partial<TestMail>): Promise<readonly string[]> {
  const { protocol = 'lmtp' } = mail
  const client = await kit.greet(protocol)
  const { dot } = await sendMail(client, { to: ['paul@example.org'], content: SPAM, ...mail })
  client.destroy()
  return dot
}

/** What went out with the null sender. */
function notices(kit: TestDaemon): EvilTransaction[] {
  return kit.mta.transactions.filter(({ mail, complete }) => complete && mail.startsWith('MAIL FROM:<>'))
}
const addressees = (kit: TestDaemon): string[] => notices(kit).flatMap(({ rcpt }) => rcpt)

/** Notices go out one after the other: when the one about this message is there, all before it are. */
async function barrier(kit: TestDaemon): Promise<void> {
  await send(kit, { from: 'barrier@example.net', content: VIRUS, xforward: outside('BARRIER') })
  await until(() => notices(kit).some(({ data }) => data.includes('barrier@example.net')))
}
const TO_ADMIN = `RCPT TO:<${ADMIN}> NOTIFY=NEVER`
const TO_ANNE = 'RCPT TO:<anne@example.org> NOTIFY=NEVER'
const ours = { from: 'anne@example.org', xforward: inside('OURS') }

describe('the administrator', () => {
  test('is told of a virus once, whoever sent it, and a retry tells nothing more', async () => {
    const kit = await start()
    const mail = { from: 'marie@example.net', content: VIRUS, xforward: outside('A1') }
    const first = await send(kit, mail)
    await until(() => notices(kit).length > 0)
    expect(await send(kit, mail)).toEqual(first)
    await barrier(kit)
    expect(addressees(kit)).toEqual([TO_ADMIN, TO_ADMIN])
    const text = notices(kit)[0]?.data.toString() ?? ''
    expect(text).toContain('From:        <marie@example.net>')
    expect(text).toMatch(/^Auto-Submitted: auto-generated\r$/m)
    expect((await kit.metrics()).get('ecluse_notices_total{kind="admin",result="sent"}')).toBe(2)
  })

  test('is told once of a message that comes in several transactions', async () => {
    const kit = await start()
    for (const to of ['a@example.org', 'b@example.org']) {
      await send(kit, { to: [to], from: 'marie@example.net', content: VIRUS, xforward: outside('A1') })
    }
    await barrier(kit)
    expect(addressees(kit)).toEqual([TO_ADMIN, TO_ADMIN])
    expect((await kit.metrics()).get('ecluse_notices_total{kind="admin",result="repeated"}')).toBe(1)
  })

  test('gets one mail for what is above the rate', async () => {
    const kit = await start({ adminRate: 2 })
    for (let number = 0; number < 5; number++) {
      await send(kit, { from: `s${number}@example.net`, content: VIRUS, xforward: outside(`A${number}`) })
    }
    await until(
      async () => (await kit.metrics()).get('ecluse_notices_total{kind="admin",result="held"}') === 3,
    )
    await kit.daemon.close()
    expect(addressees(kit)).toEqual([TO_ADMIN, TO_ADMIN, TO_ADMIN])
    const digest = notices(kit)[2]?.data.toString() ?? ''
    expect(digest).toContain('found viruses in 3 message(s)')
    for (const sender of ['s2', 's3', 's4']) expect(digest).toContain(`<${sender}@example.net>`)
  })

  test('that cannot be told changes no reply, and loses no message', async () => {
    const act: Options['act'] = ({ stage, line }) =>
      stage === 'mail' && line.startsWith('MAIL FROM:<>') ? '451 4.3.0 no' : undefined
    const kit = await start({ act })
    expect(await send(kit, { content: VIRUS, xforward: outside('A1') })).toEqual([
      expect.stringMatching(/^250 2\.7\.0 Ok, discarded/),
    ])
    await until(
      async () => (await kit.metrics()).get('ecluse_notices_total{kind="admin",result="failed"}') === 1,
    )
    expect(kit.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: 'notice not sent' }))
  })
})

describe('destiny bounce', () => {
  test('tells our own sender before the message is answered, and once', async () => {
    const kit = await start()
    const mail = { ...ours, to: ['bounce@example.com', 'pass@example.com', 'bounce2@example.com'] }
    const replies = await send(kit, mail)
    const sent = (to: string): string =>
      `250 2.5.0 Ok <${to}@example.com>, DSN was sent (554 5.7.0 Bounce, id=ID - spam)`
    expect(replies.map((reply) => reply.replace(/id=[\w-]{12}/, 'id=ID'))).toEqual([
      sent('bounce'),
      expect.stringMatching(/^250 2\.0\.0 from MTA/),
      sent('bounce2'),
    ])
    expect(addressees(kit)).toEqual([TO_ANNE])
    const text = notices(kit)[0]?.data.toString() ?? ''
    expect(text.match(/^Final-Recipient: .*$/gm)).toEqual([
      'Final-Recipient: rfc822; bounce@example.com',
      'Final-Recipient: rfc822; bounce2@example.com',
    ])
    expect(text).toMatch(/^In-Reply-To: <1@example\.org>\r$/m)
    expect(await send(kit, mail)).toEqual(replies)
    expect(notices(kit)).toHaveLength(1)
    expect(kit.messages()[0]).toMatchObject({
      recipients: [{ destiny: 'bounce' }, {}, { destiny: 'bounce' }],
    })
    const metrics = await kit.metrics()
    const bounced = 'ecluse_recipients_total{category="spam",destiny="bounce",outcome="bounced"}'
    expect(metrics.get(bounced)).toBe(4)
    expect(metrics.get('ecluse_notices_total{kind="dsn",result="sent"}')).toBe(1)
  })

  test.each<[string, Partial<TestMail>, string]>([
    ['the null sender', { from: '' }, 'null sender'],
    ['a sender outside, from our network', { from: 'anne@example.net' }, 'sender not ours'],
    ['a list', { content: `List-Id: <l.example.org>\r\n${SPAM}` }, 'automatic message'],
    ['bulk', { content: `Precedence: bulk\r\n${SPAM}` }, 'automatic message'],
    ['a program', { content: `Auto-Submitted: auto-replied\r\n${SPAM}` }, 'automatic message'],
    ['much spam', { content: SPAM.replace('=20', '=30') }, 'score above the cutoff'],
  ])('tells nobody, keeps a copy and says why: %s', async (_, changes, suppressed) => {
    const kit = await start()
    const [reply] = await send(kit, { ...ours, to: ['bounce@example.com'], ...changes })
    expect(reply).toMatch(/^250 2\.5\.0 Ok <bounce@example\.com>, DSN suppressed \(554 5\.7\.0 Bounce, id=/)
    expect(kit.messages()).toMatchObject([
      { recipients: [{ destiny: 'discard', suppressed }], quarantineId: expect.any(String) },
    ])
    expect(notices(kit)).toEqual([])
    expect((await kit.metrics()).get('ecluse_notices_total{kind="dsn",result="suppressed"}')).toBe(1)
  })

  test('tells no more than the budget allows', async () => {
    const kit = await start({ bounceBudget: 1 })
    const to = ['bounce@example.com']
    const replies = [
      ...(await send(kit, { ...ours, to, xforward: inside('B1') })),
      ...(await send(kit, { ...ours, to, xforward: inside('B2') })),
    ]
    expect(replies).toEqual([
      expect.stringContaining('DSN was sent'),
      expect.stringContaining('DSN suppressed'),
    ])
    expect(notices(kit)).toHaveLength(1)
  })

  test('that cannot be told now is deferred, uses up no budget, and is told at the retry', async () => {
    let busy = true
    const kit = await start({
      bounceBudget: 1,
      act: ({ stage, line }) =>
        busy && stage === 'mail' && line.startsWith('MAIL FROM:<>') ? '451 4.3.0 busy' : undefined,
    })
    const mail = { ...ours, to: ['bounce@example.com', 'pass@example.com'] }
    expect((await send(kit, mail)).map((reply) => reply.slice(0, 3))).toEqual(['451', '250'])
    busy = false
    expect((await send(kit, mail)).map((reply) => reply.slice(0, 9))).toEqual(['250 2.5.0', '250 2.0.0'])
    expect(addressees(kit)).toEqual([TO_ANNE])
    expect(kit.mta.transactions.filter(({ complete }) => complete)).toHaveLength(2)
  })

  test('whose DSN is refused for good is left to Postfix', async () => {
    const act: Options['act'] = ({ stage, line }) =>
      stage === 'rcpt' && line.includes('<anne@') ? '550 5.1.1 unknown' : undefined
    const kit = await start({ act })
    expect(await send(kit, { ...ours, to: ['bounce@example.com'] })).toEqual([
      expect.stringMatching(/^554 5\.7\.0 Reject, id=\S+ - spam$/),
    ])
  })

  test('without notices at all keeps a copy', async () => {
    const kit = await startTestDaemon({ rules: rulesWith({ policies }) })
    expect(await send(kit, { ...ours, to: ['bounce@example.com'] })).toEqual([
      expect.stringContaining('DSN suppressed'),
    ])
    expect(kit.messages()).toMatchObject([{ quarantineId: expect.any(String) }])
  })
})

describe('our own sender', () => {
  test('is told of what was discarded, once, where the configuration says so', async () => {
    const kit = await start({ senders: true })
    const mail = { ...ours, to: ['discard@example.com', 'reject@example.com', 'bounce@example.com'] }
    const replies = await send(kit, mail)
    await until(() => notices(kit).length === 2)
    expect(await send(kit, mail)).toEqual(replies)
    await barrier(kit)
    expect(addressees(kit)).toEqual([TO_ANNE, TO_ANNE, TO_ADMIN])
    const [dsn = '', notice = ''] = notices(kit).map(({ data }) => data.toString())
    expect(dsn).toContain('multipart/report')
    expect(notice).toContain('<discard@example.com>')
    expect(notice).not.toMatch(/<reject@|<bounce@/)
  })
})

describe('over SMTP, with one reply for all', () => {
  const smtp = { protocol: 'smtp' } as const

  test('from outside: whoever passes gets it, the others are kept, nobody is told', async () => {
    const kit = await start()
    const to = ['all-reject@example.org', 'all-pass@example.org', 'paul@example.org']
    const [reply] = await send(kit, { ...smtp, to, from: 'marie@example.net', xforward: outside('S1') })
    expect(reply).toMatch(/^250 2\.0\.0 from MTA\(/)
    expect(kit.mta.transactions.map(({ rcpt }) => rcpt)).toEqual([['RCPT TO:<all-pass@example.org>']])
    expect(kit.messages()).toMatchObject([
      {
        quarantineId: expect.any(String),
        recipients: [
          { destiny: 'discard', suppressed: 'sender not ours' },
          { destiny: 'pass' },
          { destiny: 'discard' },
        ],
      },
    ])
  })

  test('of our own sender: who is refused comes into a DSN', async () => {
    const kit = await start()
    const [reply] = await send(kit, { ...ours, ...smtp, to: ['reject@example.com', 'discard@example.com'] })
    expect(reply).toMatch(/^250 2\.5\.0 Ok <reject@example\.com>, DSN was sent/)
    expect(addressees(kit)).toEqual([TO_ANNE])
  })

  test('all refused is a refusal, and Postfix tells it', async () => {
    const kit = await start()
    const [reply] = await send(kit, { ...ours, ...smtp, to: ['reject@example.com', 'reject2@example.com'] })
    expect(reply).toMatch(/^554 5\.7\.0 Reject/)
    expect(notices(kit)).toEqual([])
  })

  test('nothing is told while the message comes again; then once, and it ends', async () => {
    let busy = true
    const act: Options['act'] = ({ stage, line }) =>
      busy && stage === 'rcpt' && line.includes('<pass@') ? '450 4.2.0 busy' : undefined
    const kit = await start({ act })
    const mail = { ...ours, ...smtp, to: ['reject@example.com', 'pass@example.com', 'discard@example.com'] }
    expect(await send(kit, mail)).toEqual([expect.stringMatching(/^450 4\.2\.0 /)])
    expect(notices(kit)).toEqual([])
    busy = false
    expect(await send(kit, mail)).toEqual([expect.stringMatching(/^250 2\.0\.0 from MTA/)])
    expect(await send(kit, mail)).toEqual([expect.stringMatching(/^250 2\.0\.0 from MTA/)])
    expect(addressees(kit)).toEqual([TO_ANNE])
  })

  test('a DSN that fails behind a delivery is told at the retry, though all others are done', async () => {
    let busy = true
    const act: Options['act'] = ({ stage, line }) =>
      busy && stage === 'mail' && line.startsWith('MAIL FROM:<>') ? '451 4.3.0 busy' : undefined
    const kit = await start({ act })
    const mail = { ...ours, ...smtp, to: ['reject@example.com', 'pass@example.com'] }
    expect(await send(kit, mail)).toEqual([expect.stringMatching(/^451 /)])
    busy = false
    expect(await send(kit, mail)).toEqual([expect.stringMatching(/^250 /)])
    expect(addressees(kit)).toEqual([TO_ANNE])
    expect(kit.mta.transactions.filter(({ rcpt }) => rcpt[0]?.includes('<pass@'))).toHaveLength(1)
  })
})

test('of a thousand messages of every kind of sender, none makes a notice to the outside', async () => {
  const kit = await start({ senders: true })
  const senders = [
    '',
    'anne@example.org',
    'anne@example.net',
    'x%example.net@example.org',
    'root',
    '"a@b"@example.org',
  ]
  const heads = ['', 'List-Id: <l>\r\n', 'Precedence: bulk\r\n', 'Auto-Submitted: auto-generated\r\n']
  const bodies = [VIRUS, SPAM, SPAM.replace('=20', '=70')]
  const groups = [
    ['bounce@example.com', 'reject@example.com'],
    ['discard@example.org', 'paul@example.org', 'pass@example.com'],
    ['tempfail@example.com', 'all-reject@example.org'],
  ]
  const mails: Partial<TestMail>[] = []
  for (const from of senders)
    for (const head of heads)
      for (const body of bodies)
        for (const to of groups)
          for (const protocol of ['lmtp', 'smtp'] as const)
            for (const client of [inside, outside])
              mails.push({ from, to, protocol, content: head + body, xforward: client(`Q${mails.length}`) })
  const more = mails
    .slice(0, 1000 - mails.length)
    .map((mail, index) => ({ ...mail, xforward: inside(`M${index}`) }))
  const all = [...mails, ...more].values()
  const lane = async (): Promise<void> => {
    for (const mail of all) await send(kit, mail)
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  await barrier(kit)
  // A message of the null sender that passes is no notice: ours alone want nobody told of them.
  const told = new Set(addressees(kit).filter((line) => line.includes('NOTIFY=NEVER')))
  expect([...told].toSorted()).toEqual([TO_ANNE, TO_ADMIN])
  const passed = kit.mta.transactions.filter(({ rcpt }) =>
    rcpt.every((line) => !line.includes('NOTIFY=NEVER')),
  )
  expect(passed.filter(({ data }) => /multipart\/(?:report|alternative)/.test(data.toString()))).toEqual([])
  expect(kit.messages().length).toBeGreaterThanOrEqual(1000)
  expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
}, 300_000)
