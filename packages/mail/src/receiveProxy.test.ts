import { afterEach, expect, test } from '@jest/globals'
import type { Envelope, SmtpReply } from '@ecluse/core'
import { connectLmtp, seededRandom, segments, type LmtpClient } from '@ecluse/fixtures'
import { createReceiver, type Receiver, type ReceiverEvent, type ReceiverOptions } from './receive.ts'

const OK: SmtpReply = { code: 250, enhanced: '2.0.0', text: 'Ok' }
const GREETING = '220 mx.example LMTP ecluse service ready'
/** Where proxies are in these tests, and where they are not. */
const PROXY = '127.0.0.2'
const DIRECT = '127.0.0.1'
const V1 = 'PROXY TCP4 192.0.2.7 127.0.0.1 40000 24\r\n'
const V2 = '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x9c\x40\0\x18'
const V2_LOCAL = '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'
const MESSAGE = 'LHLO mail.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n'

let releasers: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releasers.toReversed()) await release()
  releasers = []
})

interface Kit {
  readonly receiver: Receiver
  readonly peers: Envelope['peer'][]
  readonly events: ReceiverEvent[]
  readonly connect: (localAddress: string) => Promise<LmtpClient>
  /** Lets seconds pass. */
  readonly pass: (seconds: number) => void
}

async function start(options: Partial<ReceiverOptions> = {}): Promise<Kit> {
  const peers: Envelope['peer'][] = []
  const events: ReceiverEvent[] = []
  const tasks = new Set<() => void>()
  let now = 0
  const receiver = await createReceiver(
    {
      protocol: 'lmtp',
      address: { host: '127.0.0.1', port: 0 },
      hostname: 'mx.example',
      trust: ['192.0.2.0/24', `${DIRECT}/32`],
      proxies: [`${PROXY}/32`],
      messageSizeBytes: 100_000,
      recipients: 3,
      connections: 4,
      idleMs: 600_000,
      clock: {
        now: () => now,
        every(_, task) {
          tasks.add(task)
          return () => tasks.delete(task)
        },
      },
      ...options,
    },
    {
      begin(envelope) {
        peers.push(envelope.peer)
        return { write: () => undefined, end: async () => [OK], abort: () => undefined }
      },
    },
    (event) => events.push(event),
  )
  releasers.push(() => receiver.close(AbortSignal.abort()))
  if ('path' in receiver.address) throw new TypeError('expected TCP')
  const { host, port } = receiver.address
  const connect = async (localAddress: string): Promise<LmtpClient> => {
    const client = await connectLmtp({ host, port, localAddress })
    releasers.push(() => client.destroy())
    return client
  }
  const pass = (seconds: number): void => {
    for (let second = 0; second < seconds; second++) {
      now += 1000
      for (const task of tasks) task()
    }
  }
  return { receiver, peers, events, connect, pass }
}

/** Brings one message over a connection whose greeting has been read. */
async function sendMessage(client: LmtpClient): Promise<string> {
  client.send(MESSAGE)
  await client.replies(4)
  client.send('Subject: x\r\n\r\nx\r\n.\r\n')
  return await client.reply()
}

test.each([
  ['version 1', V1],
  ['version 2', V2],
])('greets after the header, and takes the client that it names: %s', async (_, header) => {
  const { connect, peers, events } = await start()
  const client = await connect(PROXY)
  client.send(header)
  expect(await client.reply()).toBe(GREETING)
  expect(await sendMessage(client)).toBe('250 2.0.0 Ok')
  expect(peers).toEqual([{ helo: 'mail.example', address: '192.0.2.7', port: 40_000 }])
  expect(events).toEqual([])
})

test('says nothing before the header', async () => {
  const { connect } = await start()
  const client = await connect(PROXY)
  const other = await connect(DIRECT)
  // The one that came later is greeted: the first one has been seen.
  expect(await other.reply()).toBe(GREETING)
  client.send('PROXY')
  expect(await other.ask('LHLO mail.example')).toMatch(/^250/)
  client.send(V1.slice('PROXY'.length))
  expect(await client.reply()).toBe(GREETING)
})

test.each([V1, V2])('however it is cut, what is behind the header is mail: %j', async (header) => {
  const { connect, peers } = await start()
  const random = seededRandom(header.length)
  for (let round = 0; round < 20; round++) {
    const client = await connect(PROXY)
    const bytes = Buffer.from(`${header}${MESSAGE}Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n`, 'latin1')
    for (const piece of segments(bytes, random)) client.send(piece)
    const replies = await client.replies(7)
    expect([replies[0], replies[5], replies[6]?.slice(0, 3)]).toEqual([GREETING, '250 2.0.0 Ok', '221'])
  }
  expect(peers.map(({ address }) => address)).toEqual(Array.from({ length: 20 }, () => '192.0.2.7'))
})

test.each([
  ['LMTP', 'LHLO mail.example\r\n'],
  ['a header of another protocol', 'PROXY UDP4 192.0.2.7 127.0.0.1 1 2\r\n'],
  ['a line without end', `PROXY UNKNOWN ${'x'.repeat(200)}`],
  ['terminal codes', '\x1b[31m\r\n'],
])('closes without a word what begins with %s, and tells nothing of it', async (_, bytes) => {
  const { connect, events } = await start()
  const client = await connect(PROXY)
  client.send(bytes)
  expect(await client.reply()).toBe('')
  expect(events).toEqual([{ event: 'proxy', peer: PROXY, what: 'malformed' }])
})

test('a header from somewhere else is a command that there is not', async () => {
  const { connect, peers, events } = await start()
  const client = await connect(DIRECT)
  await client.reply()
  expect(await client.ask(V1.trimEnd())).toBe('500 5.5.2 Error: command PROXY not recognized')
  expect(await sendMessage(client)).toBe('250 2.0.0 Ok')
  expect(peers[0]?.address).toBe(DIRECT)
  expect(events).toEqual([])
})

test('a second header is a command that there is not', async () => {
  const { connect } = await start()
  const client = await connect(PROXY)
  client.send(V2 + V1)
  expect(await client.replies(2)).toEqual([GREETING, '500 5.5.2 Error: command PROXY not recognized'])
})

test('without proxies no header is expected', async () => {
  const { connect } = await start({ proxies: [], trust: ['127.0.0.0/8'] })
  const client = await connect(PROXY)
  expect(await client.reply()).toBe(GREETING)
})

test('whom the header names must be trusted, the proxy need not be', async () => {
  const { connect, events } = await start()
  const client = await connect(PROXY)
  client.send(V1.replace('192.0.2.7', '198.51.100.1'))
  expect(await client.reply()).toBe('554 5.7.1 Access denied')
  expect(await client.reply()).toBe('')
  expect(events).toEqual([{ event: 'untrusted', peer: '198.51.100.1' }])
})

test.each([
  ['LOCAL', V2_LOCAL],
  ['UNKNOWN', 'PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n'],
])('%s speaks for the proxy itself, which then must be trusted', async (_, header) => {
  const strict = await start()
  const refused = await strict.connect(PROXY)
  refused.send(header)
  expect(await refused.reply()).toBe('554 5.7.1 Access denied')
  expect(strict.events).toEqual([{ event: 'untrusted', peer: PROXY }])

  const trusting = await start({ trust: [`${PROXY}/32`] })
  const client = await trusting.connect(PROXY)
  client.send(header)
  expect(await client.reply()).toBe(GREETING)
  await sendMessage(client)
  expect(trusting.peers[0]?.address).toBe(PROXY)
})

test('a check that only connects is nothing to report, half a header is', async () => {
  const { connect, events, receiver } = await start()
  const check = await connect(PROXY)
  check.end()
  expect(await check.reply()).toBe('')
  const reset = await connect(PROXY)
  reset.destroy()
  const half = await connect(PROXY)
  half.send('PROXY TCP4 ')
  half.end()
  expect(await half.reply()).toBe('')
  await receiver.close(AbortSignal.timeout(60_000))
  expect(events).toEqual([{ event: 'proxy', peer: PROXY, what: 'malformed' }])
})

test('waits for a header for five seconds', async () => {
  const { connect, events, pass } = await start()
  const client = await connect(PROXY)
  const slow = await connect(PROXY)
  slow.send(V1.slice(0, 20))
  // Answered: those that came before it are being waited for.
  await (await connect(DIRECT)).reply()
  pass(5)
  slow.send(V1.slice(20))
  expect(await slow.reply()).toBe(GREETING)
  pass(1)
  expect(await client.reply()).toBe('')
  expect(events).toEqual([{ event: 'proxy', peer: PROXY, what: 'late' }])
  pass(60)
  expect(await slow.ask('NOOP')).toMatch(/^250/)
})

test('those without a header are as many as connections at most, and take no place', async () => {
  const { connect, events } = await start({ connections: 3 })
  const waiting = [await connect(PROXY), await connect(PROXY), await connect(PROXY)]
  const client = await connect(DIRECT)
  expect(await client.reply()).toBe(GREETING)
  const tooMany = await connect(PROXY)
  expect(await tooMany.reply()).toBe('')
  expect(events).toEqual([{ event: 'crowded', peer: PROXY, count: 1 }])
  waiting[0]?.send(V1)
  expect(await waiting[0]?.reply()).toBe(GREETING)
  const next = await connect(PROXY)
  next.send(V1)
  expect(await next.reply()).toBe(GREETING)
})

test('places are shared by the clients that headers name', async () => {
  const { connect, events } = await start({ connections: 8 })
  const from = async (address: string): Promise<string> => {
    const client = await connect(PROXY)
    client.send(V1.replace('192.0.2.7', address))
    return await client.reply()
  }
  expect(await from('192.0.2.2')).toBe(GREETING)
  const replies: string[] = []
  for (let count = 0; count < 8; count++) replies.push(await from('192.0.2.1'))
  expect(replies).toContain('421 4.3.2 Too many connections, try again later')
  expect(events).toEqual([{ event: 'crowded', peer: '192.0.2.1', count: 1 }])
  expect(await from('192.0.2.2')).toBe(GREETING)
})

test('who comes with a header while we close is told to go', async () => {
  const { connect, receiver } = await start()
  const client = await connect(PROXY)
  await (await connect(DIRECT)).reply()
  const closed = receiver.close(AbortSignal.timeout(60_000))
  client.send(V1)
  expect(await client.replies(2)).toEqual([GREETING, '421 4.3.2 Service shutting down, closing channel'])
  client.end()
  await closed
})

test.each([
  ['no header', ''],
  ['half of one', V1.slice(0, 9)],
])('who sends %s does not hold up the end, and is nothing to report then', async (_, sent) => {
  const { connect, receiver, events } = await start()
  const client = await connect(PROXY)
  client.send(sent)
  await (await connect(DIRECT)).reply()
  await receiver.close(AbortSignal.abort())
  expect([await client.reply(), events]).toEqual(['', []])
})
