import { Readable } from 'node:stream'
import { afterEach, expect, test } from '@jest/globals'
import type { Client, DeliveryResult, Envelope, Recipient } from '@ecluse/core'
import type { ReinjectRequest, Reinjector } from './reinject.ts'
import {
  LONG,
  TEXT,
  brief,
  closeAll,
  envelopeOf,
  fromStream,
  inMemory,
  start,
  until,
} from './reinject.testkit.ts'

afterEach(closeAll)

interface Mail extends Partial<Omit<ReinjectRequest, 'recipients' | 'envelope'>> {
  readonly to?: readonly (string | Recipient)[]
  readonly envelope?: Partial<Envelope>
  readonly client?: Client
  readonly text?: string
}

function request({
  to = ['b@example.net'],
  envelope,
  client = {},
  text = TEXT,
  ...rest
}: Mail): ReinjectRequest {
  const recipients = to.map((recipient) =>
    typeof recipient === 'string' ? { address: recipient } : recipient,
  )
  return {
    id: 'M1',
    recipients,
    message: inMemory(text),
    allOrNothing: false,
    envelope: envelopeOf(recipients, { client, ...envelope }),
    ...rest,
  }
}

async function deliver(
  reinjector: Reinjector,
  mail: Mail = {},
  signal?: AbortSignal,
): Promise<DeliveryResult[]> {
  return await reinjector.deliver(request(mail), signal ?? AbortSignal.timeout(LONG))
}

test('goes out as one batch, and the reply after the dot comes back with its queue id', async () => {
  const { mta, reinjector } = await start()
  const results = await deliver(reinjector, { envelope: { body: '8BITMIME', ret: 'FULL', envid: 'E1' } })
  const port = 'port' in mta.address && mta.address.port
  expect(results).toEqual([
    {
      recipient: { address: 'b@example.net' },
      outcome: 'relayed',
      mta: `smtp:[127.0.0.1]:${port}`,
      line: '250 2.0.0 Ok: queued as 4EV1L1',
      queuedAs: '4EV1L1',
    },
  ])
  expect(mta.sessions[0]?.commands).toEqual([
    'EHLO filter.example',
    'XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]',
    `MAIL FROM:<a@example.org> SIZE=${TEXT.length} BODY=8BITMIME RET=FULL ENVID=E1`,
    'RCPT TO:<b@example.net>',
    'DATA',
  ])
  expect(mta.transactions[0]?.data.toString('latin1')).toBe(`${TEXT}.\r\n`)
})

test.each([
  [['PIPELINING', 'XFORWARD NAME'], false, 6],
  [['PIPELINING', 'XFORWARD NAME'], true, 5],
  [['XFORWARD NAME'], false, 2],
])(
  'to a peer that offers %j, all or nothing %p, sends %d commands unanswered',
  async (extensions, allOrNothing, sent) => {
    // What a peer that stops answering has seen is what was sent without waiting.
    const { mta, reinjector } = await start({
      extensions,
      act: ({ stage }) => (stage === 'dot' || stage === 'connect' || stage === 'ehlo' ? undefined : ''),
    })
    const giveUp = new AbortController()
    const results = deliver(reinjector, { to: ['a@x', 'b@x'], allOrNothing }, giveUp.signal)
    await until(() => (mta.sessions[0]?.commands.length ?? 0) >= sent)
    giveUp.abort()
    expect(brief(await results)).toEqual(['failed:E_ABORTED', 'failed:E_ABORTED'])
    expect(mta.sessions[0]?.commands).toHaveLength(sent)
  },
)

test('keeps the same address twice as two recipients, each with its own parameters and result', async () => {
  const { mta, reinjector } = await start({
    protocol: 'lmtp',
    act: ({ stage, index }) => (stage === 'dot' && index === 1 ? '452 4.2.2 mailbox full' : undefined),
  })
  const to: Recipient[] = [
    { address: 'b@x', notify: ['NEVER'], orcpt: 'rfc822;one@x' },
    { address: 'b@x', notify: ['SUCCESS', 'FAILURE'], orcpt: 'rfc822;two@x' },
    { address: 'B@x' },
  ]
  const results = await deliver(reinjector, { to })
  expect(mta.transactions[0]?.rcpt).toEqual([
    'RCPT TO:<b@x> NOTIFY=NEVER ORCPT=rfc822;one@x',
    'RCPT TO:<b@x> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;two@x',
    'RCPT TO:<B@x>',
  ])
  expect(brief(results)).toEqual(['relayed', 'refused:dot:452', 'relayed'])
  for (const [index, result] of results.entries()) expect(result.recipient).toBe(to[index])
})

test('gives the replies of an LMTP peer to those that it accepted', async () => {
  const { mta, reinjector } = await start({
    protocol: 'lmtp',
    act: ({ stage, index }) => {
      if (stage === 'rcpt' && index === 1) return '550 5.1.1 unknown'
      return stage === 'dot' ? `250 2.0.0 reply ${index}` : undefined
    },
  })
  const results = await deliver(reinjector, { to: ['a@x', 'b@x', 'c@x'] })
  expect(mta.sessions[0]?.commands[0]).toBe('LHLO filter.example')
  expect(results.map((result) => 'line' in result && result.line)).toEqual([
    '250 2.0.0 reply 0',
    '550 5.1.1 unknown',
    '250 2.0.0 reply 1',
  ])
})

test('keeps the replies that an LMTP peer gave before the connection was lost', async () => {
  const { reinjector } = await start({
    protocol: 'lmtp',
    act: ({ stage, index }) => (stage === 'dot' && index === 1 ? { do: 'end' } : undefined),
  })
  const results = await deliver(reinjector, { to: ['a@x', 'b@x', 'c@x'] })
  expect(brief(results)).toEqual(['relayed', 'failed:E_REINJECT_LOST', 'failed:E_REINJECT_LOST'])
})

test('does not let a message inherit the client of the one before it', async () => {
  const { mta, reinjector } = await start()
  await deliver(reinjector, { client: { name: 'one.example', address: '192.0.2.1', queueId: 'ONE' } })
  await deliver(reinjector, { client: { helo: 'two' } })
  expect(mta.sessions).toHaveLength(1)
  expect(mta.transactions[1]?.xforward).toEqual([
    'XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=two IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]',
  ])
})

test('leaves a peer that refused XFORWARD after the message', async () => {
  const { mta, reinjector } = await start({
    act: ({ stage }) => (stage === 'xforward' ? '501 5.5.4 bad' : undefined),
  })
  expect(brief(await deliver(reinjector))).toEqual(['relayed'])
  expect(brief(await deliver(reinjector))).toEqual(['relayed'])
  expect(mta.sessions).toHaveLength(2)
})

test.each([
  ['452 4.5.3 too many recipients', 2],
  ['452 4.3.1 insufficient storage', 2],
])('gives recipients beyond "%s" a further transaction', async (reply, most) => {
  const { mta, reinjector } = await start({
    act: ({ stage, index }) => (stage === 'rcpt' && index >= most ? reply : undefined),
  })
  const results = await deliver(reinjector, { to: ['a@x', 'b@x', 'c@x', 'd@x', 'e@x'] })
  expect(brief(results)).toEqual(Array.from({ length: 5 }, () => 'relayed'))
  expect(mta.transactions.map(({ rcpt }) => rcpt.slice(0, most))).toEqual([
    ['RCPT TO:<a@x>', 'RCPT TO:<b@x>'],
    ['RCPT TO:<c@x>', 'RCPT TO:<d@x>'],
    ['RCPT TO:<e@x>'],
  ])
  expect(results.map(({ recipient }) => recipient.address)).toEqual(['a@x', 'b@x', 'c@x', 'd@x', 'e@x'])
})

test('takes 452 for a refusal when no recipient was accepted, and where all or none must be', async () => {
  const none = await start({ act: ({ stage }) => (stage === 'rcpt' ? '452 4.5.3 too many' : undefined) })
  expect(brief(await deliver(none.reinjector, { to: ['a@x', 'b@x'] }))).toEqual([
    'refused:rcpt:452',
    'refused:rcpt:452',
  ])
  expect(none.mta.transactions).toHaveLength(1)
  const second = await start({
    act: ({ stage, index }) => (stage === 'rcpt' && index > 0 ? '452 4.5.3 too many' : undefined),
  })
  const results = await deliver(second.reinjector, { to: ['a@x', 'b@x'], allOrNothing: true })
  expect(brief(results)).toEqual(['withheld', 'refused:rcpt:452'])
  expect(second.mta.sessions[0]?.commands).not.toContain('DATA')
})

test('keeps delivered recipients when a further transaction fails', async () => {
  const { reinjector } = await start({
    act: ({ stage, index, transaction }) => {
      if (stage === 'rcpt' && index > 0) return '452 4.5.3 too many'
      return stage === 'mail' && transaction === 2 ? '421 4.3.2 bye' : undefined
    },
  })
  expect(brief(await deliver(reinjector, { to: ['a@x', 'b@x'] }))).toEqual([
    'relayed',
    'failed:E_REINJECT_LOST',
  ])
})

test.each([false, true])(
  'ends what was refused with RSET and keeps the connection (all or nothing %p)',
  async (allOrNothing) => {
    const { mta, reinjector } = await start(
      {
        act: ({ stage, line, transaction }) =>
          transaction === 1 && stage === 'rcpt' && (line.includes('bad') || !allOrNothing)
            ? '550 5.1.1 no'
            : undefined,
      },
      { connections: 1 },
    )
    await deliver(reinjector, { to: ['good@x', 'bad@x'], allOrNothing })
    expect(brief(await deliver(reinjector))).toEqual(['relayed'])
    expect(mta.sessions).toHaveLength(1)
    expect(mta.sessions[0]?.commands.filter((command) => command === 'RSET')).toHaveLength(1)
  },
)

test('leaves a peer that refuses RSET', async () => {
  const { mta, reinjector } = await start({
    act: ({ stage, session }) => {
      if (stage === 'rset') return '500 5.5.2 what?'
      return stage === 'mail' && session === 1 ? '550 5.7.1 no' : undefined
    },
  })
  expect(brief(await deliver(reinjector))).toEqual(['refused:mail:550'])
  expect(brief(await deliver(reinjector))).toEqual(['relayed'])
  expect(mta.sessions).toHaveLength(2)
})

test.each<[string, Mail]>([
  ['sender', { envelope: { mailFrom: '\u00fc@x' } }],
  ['recipient', { to: ['a@x', '\u7528@x'] }],
  ['header', { text: 'Subject: caf\xc3\xa9\r\n\r\n' }],
  ['header that is not in memory', { message: fromStream(Readable.from([Buffer.from(TEXT)]), TEXT.length) }],
])('fails when SMTPUTF8 is needed for a %s and not offered', async (_, mail) => {
  const { mta, reinjector } = await start({ extensions: ['PIPELINING'] })
  const utf8 = { ...mail, envelope: { ...mail.envelope, smtpUtf8: true } }
  expect(new Set(brief(await deliver(reinjector, utf8)))).toEqual(new Set(['failed:E_REINJECT_PROTOCOL']))
  expect(mta.transactions).toHaveLength(0)
  // Neither does it wear out the connection, nor stop a message that only could have needed it.
  expect(brief(await deliver(reinjector, { envelope: { smtpUtf8: true } }))).toEqual(['relayed'])
  expect(mta.sessions).toHaveLength(1)
})
