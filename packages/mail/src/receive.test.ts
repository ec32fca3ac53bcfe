import { afterEach, expect, test } from '@jest/globals'
import { chmod, link, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Envelope, FilterError, SmtpReply } from '@ecluse/core'
import { connectLmtp, type LmtpClient } from '@ecluse/fixtures'
import {
  createReceiver,
  type BodySink,
  type ReceiveHandler,
  type Receiver,
  type ReceiverEvent,
  type ReceiverOptions,
} from './receive.ts'

const OK: SmtpReply = { code: 250, enhanced: '2.0.0', text: 'Ok' }

let releasers: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releasers.toReversed()) await release()
  releasers = []
})

interface Seen {
  readonly envelopes: Envelope[]
  readonly bodies: string[]
  readonly aborts: FilterError[]
  readonly events: ReceiverEvent[]
}

/** A receiver whose sink keeps everything and answers Ok. */
async function start(
  options: Partial<ReceiverOptions> = {},
  handler: Partial<ReceiveHandler> & { sink?: Partial<BodySink> } = {},
): Promise<{ receiver: Receiver; seen: Seen; readonly client: () => Promise<LmtpClient> }> {
  const seen: Seen = { envelopes: [], bodies: [], aborts: [], events: [] }
  const receiver = await createReceiver(
    {
      protocol: 'lmtp',
      address: { host: '127.0.0.1', port: 0 },
      hostname: 'mx.example',
      trust: ['127.0.0.0/8'],
      messageSizeBytes: 100_000,
      recipients: 3,
      connections: 3,
      idleMs: 60_000,
      ...options,
    },
    {
      begin(envelope) {
        seen.envelopes.push(envelope)
        const chunks: Buffer[] = []
        return {
          write(chunk) {
            chunks.push(chunk)
            return undefined
          },
          end: () => {
            seen.bodies.push(Buffer.concat(chunks).toString('latin1'))
            const count = envelope.protocol === 'lmtp' ? envelope.recipients.length : 1
            return Promise.resolve(Array.from({ length: count }, () => OK))
          },
          abort: (error) => seen.aborts.push(error),
          ...handler.sink,
        }
      },
      ...handler,
    },
    (event) => seen.events.push(event),
  )
  releasers.push(() => receiver.close(AbortSignal.abort()))
  const client = async (): Promise<LmtpClient> => {
    const connected = await connectLmtp(receiver.address)
    releasers.push(() => connected.destroy())
    return connected
  }
  return { receiver, seen, client }
}

/** The client after greeting and LHLO. */
async function greeted(client: LmtpClient, hello = 'LHLO mail.example'): Promise<LmtpClient> {
  await client.reply()
  await client.ask(hello)
  return client
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ecluse-receive-'))
  releasers.push(async () => await rm(path, { recursive: true }))
  return path
}

test('hands over the envelope, and nothing of it to the next message', async () => {
  const { client: connect, seen, receiver } = await start()
  const client = await greeted(await connect())
  client.send('XFORWARD NAME=c.example ADDR=IPv6:2001:db8::1 PORT=25\r\n')
  client.send('XFORWARD PROTO=ESMTP HELO=h+2Bx IDENT=4Xyz SOURCE=REMOTE\r\n')
  client.send('MAIL FROM:<"a b"@x> SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+3D1 AUTH=<>\r\n')
  client.send('RCPT TO:<c@d> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;c+2Bx@d\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  expect((await client.replies(6)).at(-1)).toBe('354 End data with <CR><LF>.<CR><LF>')
  client.send('A: b\r\n\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<e@f>\r\nDATA\r\n')
  expect(await client.replies(5)).toEqual([
    '250 2.0.0 Ok',
    '250 2.0.0 Ok',
    '250 2.1.0 Sender <> OK',
    '250 2.1.5 Recipient <e@f> OK',
    '354 End data with <CR><LF>.<CR><LF>',
  ])
  client.send('.\r\n')
  expect(await client.reply()).toBe('250 2.0.0 Ok')
  expect(seen.bodies).toEqual(['A: b\r\n\r\n.\r\n', ''])
  const port = 'port' in receiver.address ? receiver.address.port : 0
  const common = { protocol: 'lmtp', listener: `127.0.0.1:${port}` }
  const peer = { address: '127.0.0.1', port: expect.any(Number), helo: 'mail.example' }
  expect(seen.envelopes).toEqual([
    {
      ...common,
      peer,
      mailFrom: '"a b"@x',
      recipients: [
        { address: 'c@d', notify: ['SUCCESS', 'FAILURE'], orcpt: 'rfc822;c+2Bx@d' },
        { address: 'c@d' },
      ],
      smtpUtf8: true,
      body: '8BITMIME',
      ret: 'HDRS',
      envid: 'e+3D1',
      declaredBytes: 5,
      client: {
        name: 'c.example',
        address: '2001:db8::1',
        port: 25,
        protocol: 'ESMTP',
        helo: 'h+x',
        queueId: '4Xyz',
        source: 'REMOTE',
      },
    },
    { ...common, peer, mailFrom: '', recipients: [{ address: 'e@f' }], smtpUtf8: false, client: {} },
  ])
})

test('sends the replies to a pipelined batch in one piece', async () => {
  const client = await greeted(await (await start()).client())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.reply()
  // Were they written one by one, the others would come in later turns of the event loop.
  let ready = 0
  const rest = client.replies(2)
  void rest.then(() => {
    ready = 2
  })
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
  expect(ready).toBe(2)
})

test('aborts the sink at once when the message grows over the limit, and answers 552 for each recipient', async () => {
  const { client: connect, seen } = await start()
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n')
  await client.replies(4)
  client.send(`${'x'.repeat(99_998)}\r\n`)
  client.send('y'.repeat(1000))
  while (seen.aborts.length === 0) await new Promise<void>((resolve) => setImmediate(resolve))
  expect(seen.aborts).toMatchObject([{ code: 'E_ABORTED' }])
  client.send('\r\n\n.\n\r\n.\r\nNOOP\r\n')
  const reply = '552 5.3.4 Message size (101007 B) exceeds size limit'
  expect(await client.replies(3)).toEqual([reply, reply, '250 2.0.0 Ok NOOP'])
  expect(seen.bodies).toEqual([])
})

test('closes after twenty errors in a row, and tells the log', async () => {
  const { client: connect, seen } = await start()
  const client = await greeted(await connect())
  for (let at = 0; at < 19; at += 1) await client.ask('FOO')
  expect(await client.ask('NOOP')).toBe('250 2.0.0 Ok NOOP')
  client.send('BDAT 1\r\n'.repeat(1000))
  const replies = await client.replies(21)
  expect(replies[18]).toBe('500 5.5.2 Error: command BDAT not recognized')
  expect(replies.slice(19)).toEqual(['421 4.7.0 Error: too many errors', ''])
  expect(seen.events).toEqual([{ event: 'abuse', peer: '127.0.0.1', what: 'errors' }])
})

test('hangs up on a browser', async () => {
  const { client: connect, seen } = await start()
  const client = await connect()
  await client.reply()
  client.send('POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b>\r\n')
  expect(await client.replies(2)).toEqual(['421 4.7.0 Error: this is not a web server', ''])
  expect(seen.events).toMatchObject([{ event: 'abuse', what: 'http' }])
})

test('refuses peers outside of the trusted networks', async () => {
  const { client: connect, seen } = await start({ trust: ['192.0.2.0/24'] })
  const client = await connect()
  client.send('LHLO x\r\n')
  expect(await client.replies(2)).toEqual(['554 5.7.1 Access denied', ''])
  expect(seen.events).toEqual([{ event: 'untrusted', peer: '127.0.0.1' }])
})

test('refuses connections over the limit, and takes new ones when others have gone', async () => {
  const { client: connect, seen } = await start({ connections: 1 })
  const first = await greeted(await connect())
  expect(await (await connect()).replies(2)).toEqual(['421 4.3.2 Too many connections, try again later', ''])
  expect(seen.events).toEqual([{ event: 'crowded', peer: '127.0.0.1', count: 1 }])
  await first.ask('QUIT')
  expect(await first.reply()).toBe('')
  expect(await (await connect()).reply()).toBe('220 mx.example LMTP ecluse service ready')
})

test('aborts the sink when the client vanishes inside the body', async () => {
  const { client: connect, seen } = await start()
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('half a line')
  client.end()
  expect(await client.reply()).toBe('')
  expect(seen.aborts).toMatchObject([{ code: 'E_ABORTED' }])
  expect(seen.bodies).toEqual([])
})

test('lets the sink finish when the client vanishes behind the dot', async () => {
  let finish: (replies: SmtpReply[]) => void = () => undefined
  let ended: () => void = () => undefined
  const dot = new Promise<void>((resolve) => {
    ended = resolve
  })
  const end = async (): Promise<SmtpReply[]> => {
    ended()
    return await new Promise((resolve) => {
      finish = resolve
    })
  }
  const { client: connect, seen } = await start({}, { sink: { end } })
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('x\r\n.\r\n')
  await dot
  client.destroy()
  const other = await greeted(await connect())
  finish([OK])
  expect(await other.ask('NOOP')).toBe('250 2.0.0 Ok NOOP')
  expect([seen.aborts, seen.events]).toEqual([[], []])
})

test('tells an idle client so, and aborts its message', async () => {
  const { client: connect, seen } = await start({ idleMs: 30 })
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('x')
  expect(await client.replies(2)).toEqual(['421 4.4.2 Idle too long, closing channel', ''])
  expect(seen.aborts).toMatchObject([{ code: 'E_ABORTED' }])
})

test('does not count the time that the sink takes as idle', async () => {
  let finish: (replies: SmtpReply[]) => void = () => undefined
  const end = async (): Promise<SmtpReply[]> =>
    await new Promise((resolve) => {
      finish = resolve
    })
  const { client: connect } = await start({ idleMs: 300 }, { sink: { end } })
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('x\r\n.\r\n')
  // Others, connected later, are told; that is the clock here.
  for (let round = 0; round < 2; round += 1) {
    const idle = await greeted(await connect())
    expect(await idle.reply()).toMatch(/^421 4\.4\.2 /)
  }
  finish([OK])
  expect(await client.reply()).toBe('250 2.0.0 Ok')
})

test('drains: idle clients are told, a running transaction ends, new ones are refused', async () => {
  const { client: connect, receiver } = await start()
  const idle = await greeted(await connect())
  const busy = await greeted(await connect())
  await busy.ask('MAIL FROM:<a@b>')
  const closed = receiver.close(new AbortController().signal)
  const goodbye = '421 4.3.2 Service shutting down, closing channel'
  expect(await idle.replies(2)).toEqual([goodbye, ''])
  busy.send('RCPT TO:<c@d>\r\nDATA\r\n')
  await busy.replies(2)
  busy.send('.\r\nMAIL FROM:<a@b>\r\n')
  expect(await busy.replies(3)).toEqual(['250 2.0.0 Ok', goodbye, ''])
  await closed
  await expect(connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})

test('drops running transactions when the signal aborts', async () => {
  const { client: connect, receiver, seen } = await start()
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  const stop = new AbortController()
  const closed = receiver.close(stop.signal)
  stop.abort()
  await closed
  expect(await client.reply()).toBe('')
  expect(seen.aborts).toMatchObject([{ code: 'E_ABORTED' }])
})

test('applies the mode to a Unix socket, trusts its peers, and removes it on close', async () => {
  const path = join(await folder(), 'lmtp.sock')
  const { client: connect, receiver, seen } = await start({ address: { path }, mode: 0o660, trust: [] })
  expect((await stat(path)).mode & 0o777).toBe(0o660)
  const client = await greeted(await connect())
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('.\r\n')
  await client.reply()
  expect(seen.envelopes).toMatchObject([{ listener: `unix:${path}`, peer: { helo: 'mail.example' } }])
  expect(seen.envelopes[0]?.peer).toEqual({ helo: 'mail.example' })
  await receiver.close(AbortSignal.abort())
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('replaces a socket that nobody answers on', async () => {
  const path = join(await folder(), 'lmtp.sock')
  const dead = createServer().listen(path)
  await new Promise((resolve) => dead.once('listening', resolve))
  const kept = `${path}.kept`
  await link(path, kept)
  await new Promise((resolve) => dead.close(resolve))
  await rename(kept, path)
  const { client } = await start({ address: { path } })
  expect(await (await client()).reply()).toMatch(/^220 /)
})

test('leaves a socket alone that somebody answers on, and a file that is none', async () => {
  const path = join(await folder(), 'lmtp.sock')
  const { client } = await start({ address: { path } })
  await expect(start({ address: { path } })).rejects.toMatchObject({
    code: 'E_LISTEN',
    hint: 'another process listens there',
  })
  expect(await (await client()).reply()).toMatch(/^220 /)
  const file = join(await folder(), 'file')
  await writeFile(file, 'precious')
  await chmod(file, 0o600)
  await expect(start({ address: { path: file } })).rejects.toMatchObject({ code: 'E_LISTEN' })
  expect((await stat(file)).size).toBe(8)
})

test.each<[string, (used: number) => Partial<ReceiverOptions>, object]>([
  [
    'the port is in use',
    (port) => ({ address: { host: '127.0.0.1', port } }),
    { code: 'E_LISTEN', hint: 'another process listens there' },
  ],
  [
    'the folder is missing',
    () => ({ address: { path: '/nonexistent/lmtp.sock' } }),
    { code: 'E_LISTEN', message: 'unix:/nonexistent/lmtp.sock: cannot listen' },
  ],
  [
    'the address is not ours',
    () => ({ address: { host: '192.0.2.1', port: 0 } }),
    { code: 'E_LISTEN', hint: 'this machine does not have that address' },
  ],
  ['a network is none', () => ({ trust: ['127.0.0.0/33'] }), { code: 'E_CONFIG' }],
])('says why it cannot listen: %s', async (_name, options, error) => {
  const { receiver } = await start()
  const used = 'port' in receiver.address ? receiver.address.port : 0
  await expect(start(options(used))).rejects.toMatchObject(error)
})
