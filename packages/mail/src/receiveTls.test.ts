import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Envelope } from '@ecluse/core'
import { connectLmtp, type LmtpClient } from '@ecluse/fixtures'
import { createReceiver, type ReceiverEvent, type ReceiverOptions } from './receive.ts'

interface KeyPair {
  readonly key: Buffer
  readonly cert: Buffer
}

let folder = ''
let ours: KeyPair
let trusted: KeyPair
let stranger: KeyPair
let releasers: (() => unknown)[] = []

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ecluse-tls-'))
  ours = makeKeyPair('ours')
  trusted = makeKeyPair('trusted')
  stranger = makeKeyPair('stranger')
})

afterAll(() => rmSync(folder, { recursive: true }))

afterEach(async () => {
  for (const release of releasers.toReversed()) await release()
  releasers = []
})

/** A key with a certificate signed by itself, which therefore is its own authority. */
function makeKeyPair(name: string): KeyPair {
  const key = join(folder, `${name}.key`)
  const cert = join(folder, `${name}.pem`)
  const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const files = ['-keyout', key, '-out', cert, '-subj', `/CN=${name}.example`]
  execFileSync('openssl', ['req', '-x509', ...options, ...files], { stdio: 'ignore' })
  return { key: readFileSync(key), cert: readFileSync(cert) }
}

/** @param header of the PROXY protocol, and what is sent with it; absent: none is expected */
async function start(
  tls: Omit<NonNullable<ReceiverOptions['tls']>, 'key' | 'cert'> = {},
  header?: string,
): Promise<{
  readonly client: LmtpClient
  readonly envelopes: Envelope[]
  readonly events: ReceiverEvent[]
}> {
  const envelopes: Envelope[] = []
  const events: ReceiverEvent[] = []
  const receiver = await createReceiver(
    {
      protocol: 'lmtp',
      address: { host: '127.0.0.1', port: 0 },
      hostname: 'mx.example',
      trust: [header === undefined ? '127.0.0.1' : '192.0.2.7'],
      ...(header !== undefined && { proxies: ['127.0.0.1'] }),
      tls: { ...ours, ...tls },
      messageSizeBytes: 1000,
      recipients: 10,
      connections: 10,
      idleMs: 10_000,
    },
    {
      begin(envelope) {
        envelopes.push(envelope)
        return {
          write: () => undefined,
          end: () => Promise.resolve([{ code: 250, enhanced: '2.0.0', text: 'Ok' }]),
          abort: () => undefined,
        }
      },
    },
    (event) => events.push(event),
  )
  releasers.push(() => receiver.close(AbortSignal.abort()))
  const client = await connectLmtp(receiver.address)
  releasers.push(() => client.destroy())
  if (header !== undefined) client.send(header)
  await client.reply()
  return { client, envelopes, events }
}

test('goes on in TLS, and forgets what was said before', async () => {
  const { client, envelopes } = await start()
  expect(await client.ask('LHLO plain.example')).toContain('\n250-STARTTLS\n')
  await client.ask('XFORWARD NAME=evil')
  await client.ask('MAIL FROM:<evil@x>')
  expect(await client.ask('STARTTLS')).toBe('220 2.0.0 Ready to start TLS')
  await client.startTls({ ca: ours.cert, servername: 'ours.example' })
  expect(await client.ask('RCPT TO:<a@b>')).toBe('503 5.5.1 Error: send LHLO first')
  expect(await client.ask('LHLO tls.example')).not.toContain('STARTTLS')
  expect(await client.ask('STARTTLS')).toBe('503 5.5.1 Error: TLS already active')
  client.send('MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n')
  await client.replies(3)
  client.send('.\r\n')
  expect(await client.reply()).toBe('250 2.0.0 Ok')
  expect(envelopes).toMatchObject([
    {
      mailFrom: '',
      client: {},
      peer: { helo: 'tls.example', tls: expect.stringMatching(/^TLSv1\.[23] \w+$/) },
    },
  ])
})

test('discards what was injected in plain text behind STARTTLS', async () => {
  const { client, envelopes } = await start()
  await client.ask('LHLO plain.example')
  client.send(`STARTTLS\r\n${'LHLO evil\r\nMAIL FROM:<evil@x>\r\n'.repeat(200)}`)
  expect(await client.reply()).toBe('220 2.0.0 Ready to start TLS')
  await client.startTls({ ca: ours.cert, servername: 'ours.example' })
  expect(await client.ask('NOOP')).toBe('250 2.0.0 Ok NOOP')
  expect(await client.ask('MAIL FROM:<a@b>')).toBe('503 5.5.1 Error: send LHLO first')
  expect(envelopes).toEqual([])
})

test('is the same behind a proxy, whose header and all else come at once', async () => {
  const evil = 'LHLO evil\r\nMAIL FROM:<evil@x>\r\n'.repeat(200)
  const header = `PROXY TCP4 192.0.2.7 127.0.0.1 40000 24\r\nLHLO plain.example\r\nSTARTTLS\r\n${evil}`
  const { client, envelopes } = await start({}, header)
  expect((await client.replies(2))[1]).toBe('220 2.0.0 Ready to start TLS')
  await client.startTls({ ca: ours.cert, servername: 'ours.example' })
  expect(await client.ask('MAIL FROM:<a@b>')).toBe('503 5.5.1 Error: send LHLO first')
  client.send('LHLO tls.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n')
  await client.replies(4)
  client.send('.\r\n')
  expect(await client.reply()).toBe('250 2.0.0 Ok')
  expect(envelopes).toMatchObject([
    { mailFrom: '', peer: { address: '192.0.2.7', port: 40_000, tls: expect.any(String) } },
  ])
})

test('refuses MAIL before STARTTLS where TLS or a client certificate is required', async () => {
  for (const tls of [{ required: true }, { requireClientCertificate: true, ca: trusted.cert }]) {
    const { client } = await start(tls)
    await client.ask('LHLO x')
    expect(await client.ask('MAIL FROM:<>')).toBe('530 5.7.0 Must issue a STARTTLS command first')
  }
})

test('takes a client with a certificate of the authority', async () => {
  const { client } = await start({ requireClientCertificate: true, ca: trusted.cert })
  await client.ask('LHLO x')
  await client.ask('STARTTLS')
  await client.startTls({ ca: ours.cert, servername: 'ours.example', ...trusted })
  await client.ask('LHLO x')
  expect(await client.ask('MAIL FROM:<>')).toBe('250 2.1.0 Sender <> OK')
})

test.each([
  ['no certificate', () => ({})],
  ['the certificate of a stranger', () => stranger],
])('refuses a client with %s', async (_name, credentials) => {
  const { client, events } = await start({ requireClientCertificate: true, ca: trusted.cert })
  await client.ask('LHLO x')
  await client.ask('STARTTLS')
  // In TLS 1.3 the client believes the handshake done before it is judged.
  const reply = async (): Promise<string> => {
    await client.startTls({ ca: ours.cert, servername: 'ours.example', ...credentials() })
    return await client.ask('LHLO x')
  }
  expect(await reply().catch(() => '')).toBe('')
  expect(events).toMatchObject([{ event: 'tls', peer: '127.0.0.1' }])
})

test('tells the log of a handshake that is none, and closes', async () => {
  const { client, events } = await start()
  await client.ask('LHLO x')
  await client.ask('STARTTLS')
  client.send('this is no handshake\r\n')
  expect(await client.reply()).toBe('')
  expect(events).toMatchObject([{ event: 'tls' }])
})
