import { expect, test } from '@jest/globals'
import type { Envelope, SmtpReply } from '@ecluse/core'
import { Dialogue, type DialogueOptions } from './receiveDialogue.ts'
import type { BodySink, ReceiveHandler, ReceiverEvent } from './receiveHandler.ts'
import { FilterStream } from './receiveStream.ts'

const OK: SmtpReply = { code: 250, enhanced: '2.0.0', text: 'Ok' }

interface Conversation {
  readonly greeting: string
  readonly envelopes: Envelope[]
  readonly events: ReceiverEvent[]
  readonly aborts: string[]
  /** Sends bytes (latin1) and gives all that comes back, lines joined with `\n`. */
  ask(bytes: string): Promise<string>
  closed(): boolean
}

/** A dialogue over no socket: what it would write is what `ask` gives back. */
function converse(
  options: Partial<DialogueOptions> = {},
  handler: Partial<ReceiveHandler> & { readonly sink?: Partial<BodySink> } = {},
): Conversation {
  const envelopes: Envelope[] = []
  const events: ReceiverEvent[] = []
  const aborts: string[] = []
  let out = ''
  let closed = false
  const stream = new FilterStream({
    line: (line) => dialogue.line(line),
    fault: (fault) => dialogue.fault(fault),
    body: (chunk) => dialogue.body(chunk),
    endBody: () => dialogue.endBody(),
    flush: () => undefined,
  })
  const channel = {
    reply: (lines: string) => {
      out += lines
    },
    startBody: () => stream.startBody(),
    startTls: () => undefined,
    suspend: () => stream.suspend(),
    resume: () => stream.continue(),
    close: () => {
      closed = true
      stream.isClosed = true
    },
  }
  const dialogue = new Dialogue(
    {
      protocol: 'lmtp',
      hostname: 'mx.example',
      listener: 'here',
      messageSizeBytes: 100_000,
      recipients: 3,
      tls: false,
      tlsRequired: false,
      ...options,
    },
    {
      begin(envelope) {
        envelopes.push(envelope)
        const count = envelope.protocol === 'lmtp' ? envelope.recipients.length : 1
        return {
          write: () => undefined,
          end: () => Promise.resolve(Array.from({ length: count }, () => OK)),
          abort: ({ message }) => aborts.push(message),
          ...handler.sink,
        }
      },
      ...handler,
    },
    { channel, peer: {}, log: (event) => events.push(event) },
  )
  const take = (): string => {
    const replies = out.slice(0, -2).replaceAll('\r\n', '\n')
    out = ''
    return replies
  }
  dialogue.greet()
  return {
    greeting: take(),
    envelopes,
    events,
    aborts,
    async ask(bytes) {
      await new Promise<void>((resolve) => {
        stream._write(Buffer.from(bytes, 'latin1'), 'buffer', () => resolve())
      })
      return take()
    },
    closed: () => closed,
  }
}

const EXTENSIONS = (hostname: string): string =>
  [
    `250-${hostname}`,
    '250-PIPELINING',
    '250-SIZE 100000',
    '250-ENHANCEDSTATUSCODES',
    '250-8BITMIME',
    '250-SMTPUTF8',
    '250-DSN',
    '250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE',
  ].join('\n')

const COMMON: readonly [string, string][] = [
  ['XFORWARD NAME=a.example ADDR=192.0.2.1', '250 2.5.0 Ok XFORWARD'],
  ['XFORWARD NAME=a+0D+0AX-Evil:+201', '501 5.5.4 Error: bad XFORWARD attribute'],
  ['MAIL FROM:a@b', '501 5.5.2 Syntax: MAIL FROM:<address>'],
  ['MAIL FROM:<a@b> X=Y', '504 5.5.4 MAIL command parameter error: X=Y'],
  ['MAIL FROM:<a@b> SIZE=100001', '552 5.3.4 Declared message size (100001 B) exceeds size limit'],
  ['RCPT TO:<c@d>', '503 5.5.1 Error: need MAIL command'],
  ['DATA', '503 5.5.1 Error: need MAIL command'],
  ['mail from:<a@b> size=100000', '250 2.1.0 Sender <a@b> OK'],
  ['MAIL FROM:<a@b>', '503 5.5.1 Error: nested MAIL command'],
  ['XFORWARD NAME=a', '503 5.5.1 Error: XFORWARD not allowed within transaction'],
  ['RCPT TO:<>', '501 5.5.2 Syntax: RCPT TO:<address>'],
  ['RCPT TO:<c@d> X=Y', '555 5.5.4 RCPT command parameter unrecognized: X=Y'],
  ['RCPT TO:<c@d> NOTIFY=NEVER,DELAY', '501 5.5.4 RCPT command parameter error: NOTIFY=NEVER,DELAY'],
  ['RCPT TO:<c@d>', '250 2.1.5 Recipient <c@d> OK'],
  ['RCPT TO:<C@d>', '250 2.1.5 Recipient <C@d> OK'],
  ['RCPT TO:<c@d>', '250 2.1.5 Recipient <c@d> OK'],
  ['RCPT TO:<c@d>', '452 4.5.3 Too many recipients'],
  ['RCPT TO:<c\x01@d>', '501 5.5.2 Syntax: RCPT TO:<address>'],
  ['DATA now', '501 5.5.4 Syntax: DATA'],
  ['RSET', '250 2.0.0 Ok RSET'],
  ['RCPT TO:<c@d>', '503 5.5.1 Error: need MAIL command'],
  ['NOOP', '250 2.0.0 Ok NOOP'],
  ['VRFY root', '252 2.0.0 Argument not checked'],
  ['EXPN staff', '502 5.5.1 Error: command EXPN not implemented'],
  ['STARTTLS', '502 5.5.1 Error: command STARTTLS not implemented'],
  ['AUTH PLAIN AGEAYg==', '500 5.5.2 Error: command AUTH not recognized'],
  ['BDAT 1', '500 5.5.2 Error: command BDAT not recognized'],
  ['NO\x00OP', '500 5.5.2 Error: control character in command'],
  ['', '500 5.5.2 Error: command  not recognized'],
  ['QUIT', '221 2.0.0 mx.example ecluse closing transmission channel'],
]

test('holds the LMTP dialogue', async () => {
  const client = converse()
  expect(client.greeting).toBe('220 mx.example LMTP ecluse service ready')
  const dialogue: readonly (readonly [string, string])[] = [
    ['EHLO mail.example', '500 Error: EHLO not allowed in LMTP'],
    ['HELO mail.example', '500 Error: HELO not allowed in LMTP'],
    ['MAIL FROM:<a@b>', '503 5.5.1 Error: send LHLO first'],
    ['LHLO', '501 Syntax: LHLO hostname'],
    ['LHLO mail.example', EXTENSIONS('mx.example')],
    ['MAIL FROM:<>', '250 2.1.0 Sender <> OK'],
    ['DATA', '503 5.1.1 Error (DATA): no valid recipients'],
    ['RSET', '250 2.0.0 Ok RSET'],
    ...COMMON,
  ]
  for (const [line, reply] of dialogue) expect([line, await client.ask(`${line}\r\n`)]).toEqual([line, reply])
  expect(client.closed()).toBe(true)
})

test('holds the SMTP dialogue', async () => {
  const client = converse({ protocol: 'smtp' })
  expect(client.greeting).toBe('220 mx.example ESMTP ecluse service ready')
  const dialogue: readonly (readonly [string, string])[] = [
    ['LHLO mail.example', '500 Error: LHLO not allowed in SMTP'],
    ['MAIL FROM:<a@b>', '503 5.5.1 Error: send EHLO first'],
    ['HELO mail.example', '250 mx.example'],
    ['EHLO mail.example', EXTENSIONS('mx.example')],
    ['MAIL FROM:<>', '250 2.1.0 Sender <> OK'],
    ['DATA', '554 5.1.1 Error (DATA): no valid recipients'],
    ['RSET', '250 2.0.0 Ok RSET'],
    ...COMMON,
  ]
  for (const [line, reply] of dialogue) expect([line, await client.ask(`${line}\r\n`)]).toEqual([line, reply])
  expect(client.closed()).toBe(true)
})

const MESSAGE = 'MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n'

async function greeted(...args: Parameters<typeof converse>): Promise<Conversation> {
  const client = converse(...args)
  await client.ask(args[0]?.protocol === 'smtp' ? 'EHLO x\r\n' : 'LHLO x\r\n')
  return client
}

test('answers each accepted RCPT with one reply, in order, whatever the list', async () => {
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  const client = await greeted(
    { recipients: 6 },
    {
      acceptRecipient: ({ address }) =>
        address.startsWith('no') ? { code: 550, enhanced: '5.1.1', text: 'No' } : undefined,
      begin: ({ recipients }) => {
        const end = (): Promise<SmtpReply[]> =>
          Promise.resolve(
            recipients.map(({ address, orcpt = '-' }, at) => ({ ...OK, text: `${at} ${address} ${orcpt}` })),
          )
        return { write: () => undefined, end, abort: () => undefined }
      },
    },
  )
  const forms = [
    '<c@d>',
    '<C@d>',
    '<c@D>',
    '<c@d> ORCPT=rfc822;x',
    '<c@d> ORCPT=rfc822;y',
    '<no@d>',
    '<"c"@d>',
    'bad',
  ]
  const wrong: unknown[] = []
  let short = 0
  for (let round = 0; round < 5000; round += 1) {
    const chosen = Array.from({ length: 1 + random(9) }, () => forms[random(forms.length)] ?? '')
    const wanted = chosen.filter((form) => /^<(?!no)/.test(form)).slice(0, 6)
    if (wanted.length < chosen.length) short += 1
    const commands = chosen.map((form) => `RCPT TO:${form}\r\n`).join('')
    const answers = (await client.ask(`MAIL FROM:<>\r\n${commands}`)).split('\n').slice(1)
    const accepted = chosen.filter((_form, at) => answers[at]?.startsWith('250'))
    const replies = await client.ask(wanted.length > 0 ? 'DATA\r\nx\r\n.\r\nNOOP\r\n' : 'RSET\r\nNOOP\r\n')
    const expected = wanted.map((form, at) => {
      const [, address, orcpt = '-'] = /^<(.*)>(?: ORCPT=(.*))?$/.exec(form) ?? []
      return `250 2.0.0 ${at} ${address} ${orcpt}`
    })
    const first = wanted.length > 0 ? '354 End data with <CR><LF>.<CR><LF>' : '250 2.0.0 Ok RSET'
    const right = [first, ...expected, '250 2.0.0 Ok NOOP'].join('\n')
    if (replies !== right || accepted.join() !== wanted.join()) wrong.push({ chosen, answers, replies })
  }
  expect(wrong).toEqual([])
  expect(short).toBeGreaterThan(1000)
})

const fail = (): never => {
  throw new TypeError('bug')
}
const REJECT: SmtpReply = { code: 554, enhanced: '5.7.0', text: 'Reject' }
interface Before {
  readonly bytes: string
  readonly begin?: () => SmtpReply
  readonly reply?: SmtpReply
}

test.each<[string, Before]>([
  ['a message was taken', { bytes: `${MESSAGE}.\r\n` }],
  ['a message was rejected at the dot', { bytes: `${MESSAGE}.\r\n`, reply: REJECT }],
  ['a message was too big', { bytes: `${MESSAGE}${'x'.repeat(60)}\r\n.\r\n` }],
  ['DATA was refused', { bytes: MESSAGE, begin: () => REJECT }],
  ['the handler threw', { bytes: MESSAGE, begin: fail }],
  ['RSET came behind XFORWARD', { bytes: 'RSET\r\n' }],
  ['RSET came behind MAIL', { bytes: 'MAIL FROM:<a@b>\r\nRSET\r\n' }],
  ['RSET came behind RCPT', { bytes: 'MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\n' }],
  ['LHLO came again', { bytes: 'LHLO y\r\n' }],
  ['LHLO came behind RCPT', { bytes: 'MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nLHLO y\r\n' }],
])('remembers nothing when %s', async (_name, { bytes, begin, reply = OK }) => {
  const taken: Envelope[] = []
  let before = begin
  const client = await greeted(
    { messageSizeBytes: 50 },
    {
      begin(envelope) {
        if (before) return before()
        taken.push(envelope)
        const end = (): Promise<SmtpReply[]> => Promise.resolve(envelope.recipients.map(() => reply))
        return { write: () => undefined, end, abort: () => undefined }
      },
    },
  )
  await client.ask('XFORWARD NAME=evil ADDR=192.0.2.1\r\n')
  await client.ask(bytes)
  before = undefined
  taken.length = 0
  expect(await client.ask('RCPT TO:<c@d>\r\nDATA\r\n')).toBe(
    '503 5.5.1 Error: need MAIL command\n503 5.5.1 Error: need MAIL command',
  )
  await client.ask('MAIL FROM:<>\r\nRCPT TO:<g@h>\r\nDATA\r\n.\r\n')
  expect(taken).toMatchObject([{ mailFrom: '', recipients: [{ address: 'g@h' }] }])
  expect(taken[0]?.client).toEqual({})
})

test('accumulates XFORWARD over several commands, and takes back what becomes unavailable', async () => {
  const client = await greeted()
  await client.ask(
    'XFORWARD NAME=a ADDR=192.0.2.1\r\nXFORWARD HELO=h NAME=[UNAVAILABLE]\r\nXFORWARD HELO=+00\r\n',
  )
  await client.ask(`${MESSAGE}.\r\n`)
  expect(client.envelopes[0]?.client).toEqual({ address: '192.0.2.1', helo: 'h' })
})

const BROKEN = '451 4.5.0 Error in processing'
const BUGS: readonly [string, Parameters<typeof converse>[1]][] = [
  ['admit throws', { admit: fail }],
  ['acceptRecipient throws', { acceptRecipient: fail }],
  ['begin throws', { begin: fail }],
  ['begin gives a reply that is none', { begin: () => ({ ...OK, code: 354 }) }],
  ['end rejects', { sink: { end: () => Promise.reject(new TypeError('bug')) } }],
  ['end throws', { sink: { end: fail } }],
  ['end gives too few replies', { sink: { end: () => Promise.resolve([OK]) } }],
  ['end gives too many replies', { sink: { end: () => Promise.resolve([OK, OK, OK]) } }],
  ['end gives a reply that is none', { sink: { end: () => Promise.resolve([OK, { ...OK, code: 354 }]) } }],
  ['write throws', { sink: { write: fail } }],
  ['write rejects', { sink: { write: () => Promise.reject(new TypeError('bug')) } }],
]

test.each(BUGS)('answers 451, tells the log and lives on when %s', async (_name, handler) => {
  const client = await greeted({}, handler)
  const replies = await client.ask(MESSAGE)
  const later = replies.includes('\n354 ') ? await client.ask('x\r\n.\r\n') : BROKEN
  expect(`${replies}\n${later}`).toContain(`\n${BROKEN}`)
  expect(client.events[0]).toMatchObject({ event: 'bug', peer: 'unix' })
  expect(await client.ask('NOOP\r\n')).toBe('250 2.0.0 Ok NOOP')
})

test('aborts a sink that failed to write, once, and reads the rest of the body', async () => {
  const client = await greeted({}, { sink: { write: () => Promise.reject(new TypeError('ENOSPC')) } })
  await client.ask(MESSAGE)
  await client.ask('MAIL FROM:<x>\r\n')
  await client.ask('more\r\n')
  expect(client.aborts).toEqual(['the sink failed'])
  expect(await client.ask('.\r\n')).toBe(`${BROKEN}\n${BROKEN}`)
})

test('takes a message of the size limit, and answers SMTP once for one byte more', async () => {
  const client = await greeted({ protocol: 'smtp', messageSizeBytes: 10 })
  await client.ask(MESSAGE)
  expect(await client.ask('12345678\r\n.\r\n')).toBe('250 2.0.0 Ok')
  await client.ask(MESSAGE)
  expect(await client.ask('123456789\r\n.\r\n')).toBe('552 5.3.4 Message size (11 B) exceeds size limit')
  expect(client.aborts).toEqual(['the message exceeds the size limit'])
})

test('counts the message without the dots that stuff it', async () => {
  const client = await greeted({ messageSizeBytes: 9 })
  await client.ask(MESSAGE)
  expect(await client.ask('..\r\n..\r\n..\r\n.\r\n')).toBe('250 2.0.0 Ok\n250 2.0.0 Ok')
})

test('passes on a refusal of the handler at MAIL, RCPT and DATA', async () => {
  const refusal = { code: 450, enhanced: '4.3.2', text: 'Later' }
  expect(await (await greeted({}, { admit: () => refusal })).ask('MAIL FROM:<>\r\n')).toBe('450 4.3.2 Later')
  expect(await (await greeted({}, { acceptRecipient: () => refusal })).ask(MESSAGE)).toBe(
    '250 2.1.0 Sender <a@b> OK\n450 4.3.2 Later\n450 4.3.2 Later\n503 5.1.1 Error (DATA): no valid recipients',
  )
  expect(await (await greeted({}, { begin: () => refusal })).ask(MESSAGE)).toMatch(/\n450 4\.3\.2 Later$/)
})

test('closes behind a 421 of the handler', async () => {
  const client = await greeted({}, { admit: () => ({ code: 421, enhanced: '4.3.2', text: 'Bye' }) })
  expect(await client.ask('MAIL FROM:<>\r\nNOOP\r\n')).toBe('421 4.3.2 Bye')
  expect(client.closed()).toBe(true)
})

test('does not count refusals of the handler as errors of the client', async () => {
  const client = await greeted({}, { acceptRecipient: () => REJECT })
  const replies = await client.ask(`MAIL FROM:<>\r\n${'RCPT TO:<c@d>\r\n'.repeat(100)}`)
  expect(replies.split('\n').at(-1)).toBe('554 5.7.0 Reject')
})

test('shows an address in a reply as printable ASCII', async () => {
  const client = await greeted()
  expect(await client.ask('MAIL FROM:<j\xc3\xb6\xff@x> SMTPUTF8\r\n')).toBe('250 2.1.0 Sender <j??@x> OK')
  expect(await client.ask('RCPT TO:<\xc2\x85\xff@x>\r\n')).toBe('250 2.1.5 Recipient <??@x> OK')
})

test('demands STARTTLS before MAIL where it is required', async () => {
  const client = await greeted({ tls: true, tlsRequired: true })
  expect(await client.ask('MAIL FROM:<>\r\n')).toBe('530 5.7.0 Must issue a STARTTLS command first')
})
