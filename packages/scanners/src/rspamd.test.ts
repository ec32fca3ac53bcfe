import { afterEach, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatAddress, type Scanner } from '@ecluse/core'
import { GTUBE, startFakeRspamd, testMessage, type FakeScanner } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { rspamd } from './rspamd.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0)) await release()
})
const NEVER = new AbortController().signal
const start = async (
  options: Record<string, unknown> = {},
  how: { path?: string; keepAlive?: boolean } = {},
): Promise<{ fake: FakeScanner; scanner: Scanner }> => {
  const fake = await startFakeRspamd(how)
  const address = formatAddress(fake.address)
  const url = how.path === undefined ? `http://${address}` : address
  const scanner = rspamd.create('rspamd', rspamd.options.parse({ url, ...options }))
  releases.push(
    () => fake.close(),
    () => scanner.close?.(),
  )
  return { fake, scanner }
}
const HAM = testMessage('From: <bob@example.com>\r\n\r\nhello\r\n')
const SPAM = testMessage(`From: <bob@example.com>\r\n\r\n${GTUBE}\r\n`, { pieceBytes: 5 })
const headersOf = (sent?: Buffer): string[] =>
  (sent?.toString('latin1') ?? '').split('\r\n\r\n', 1)[0]?.split('\r\n') ?? []

test('sends envelope and message, and reads score and symbols', async () => {
  const { fake, scanner } = await start({ password: 's3cret', settingsId: 'inbound' })
  await expect(scanner.scan(request(HAM), NEVER)).resolves.toEqual({
    findings: [
      {
        kind: 'score',
        points: 2.4,
        required: 15,
        symbols: [
          { name: 'MIME_GOOD', score: -0.1 },
          { name: 'HFILTER_HOSTNAME_UNKNOWN', score: 2.5 },
        ],
      },
    ],
  })
  const [sent] = fake.requests
  expect(headersOf(sent)).toEqual(
    expect.arrayContaining([
      'POST /checkv2 HTTP/1.1',
      'Password: s3cret',
      'Settings-ID: inbound',
      'From: bob@example.com',
      'Rcpt: a@example.org',
      'Rcpt: "b c"@example.org',
      'IP: 192.0.2.1',
      'Helo: helo.example',
      'Hostname: client.example',
      'Queue-Id: 4Vx1y2z3',
      'MTA-Name: mx.example',
      `Content-Length: ${HAM.sizeBytes}`,
    ]),
  )
  expect(sent?.subarray(-HAM.sizeBytes).equals(HAM.bytes ?? Buffer.alloc(0))).toBe(true)
})

// The real one answers 400 to a header of more than 80 KiB: then nobody would look at the message.
test.each([
  [1000, 20, 1000],
  [1001, 20, 1000],
  [1000, 120, 384],
  [100, 2040, 24],
])('of %i recipients with %i octets names the first %i', async (count, length, named) => {
  const { fake, scanner } = await start()
  const addresses = Array.from({ length: count }, (_, n) => `${n}@`.padEnd(length, 'x'))
  const recipients = addresses.map((address) => ({ address }))
  await scanner.scan(request(HAM, { mailFrom: 'a'.repeat(2040), recipients }), NEVER)
  const lines = headersOf(fake.requests[0])
  expect(lines.filter((line) => line.startsWith('Rcpt: '))).toEqual(
    addresses.slice(0, named).map((address) => `Rcpt: ${address}`),
  )
  expect(lines.join('\r\n').length).toBeLessThan(64 * 1024)
})

test('names what it does not know in no field', async () => {
  const { fake, scanner } = await start()
  await scanner.scan(
    request(HAM, { client: {}, mailFrom: '', recipients: [{ address: 'ü\r\nIP: 1@x' }] }),
    NEVER,
  )
  const lines = headersOf(fake.requests[0])
  expect(lines).toEqual(
    expect.arrayContaining(['From: <>', 'Rcpt: \xc3\xbc??IP: 1@x', `Queue-Id: ${HAM.id}`]),
  )
  expect(lines.filter((line) => /^(IP|Helo|Hostname|Password|Settings-ID|User):/i.test(line))).toEqual([])
})

test('sends a message from disk, and reads a refusal as spam', async () => {
  const { fake, scanner } = await start()
  await expect(scanner.scan(request(SPAM), NEVER)).resolves.toMatchObject({
    findings: [{ points: 15, required: 15, symbols: [{ name: 'GTUBE', score: 0 }] }],
  })
  await fake.idle()
})

test.each([HAM, SPAM])(
  'keeps the connection where the other side does, and takes a new one when it is gone',
  async (message) => {
    const { fake, scanner } = await start({}, { keepAlive: true })
    await scanner.scan(request(message), NEVER)
    await scanner.scan(request(message), NEVER)
    expect(fake.accepted).toBe(1)
    await fake.dropIdle()
    await expect(scanner.scan(request(message), NEVER)).resolves.toMatchObject({
      findings: [{ kind: 'score' }],
    })
    expect(fake.accepted).toBe(2)
  },
)

test('asks once only on a new connection', async () => {
  const { fake, scanner } = await start()
  fake.misbehave('reset')
  await expect(scanner.scan(request(HAM), NEVER)).rejects.toMatchObject({ code: 'E_SCANNER_LOST' })
  expect(fake.accepted).toBe(1)
})

test('tells the version, also over a Unix socket', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-rspamd-'))
  releases.push(() => rm(directory, { recursive: true }))
  const { scanner } = await start({}, { path: join(directory, 'rspamd.sock') })
  await expect(scanner.version(NEVER)).resolves.toEqual({ engine: 'rspamd 3.4' })
})

test('frees the socket when the signal aborts', async () => {
  const { fake, scanner } = await start()
  fake.misbehave('silent')
  const controller = new AbortController()
  const scan = scanner.scan(request(SPAM), controller.signal)
  controller.abort()
  await expect(scan).rejects.toMatchObject({ code: 'E_ABORTED' })
  await fake.idle()
})

test.each([
  '127.0.0.1:11333',
  'ftp://x',
  'http://x/checkv2',
  'http://u:p@x',
  'unix:relative',
  'http://x?y',
  '',
])('refuses the url %j', (url) => {
  expect(rspamd.options.safeParse({ url }).success).toBe(false)
})

test.each(['http://[::1]:11333', 'https://scan.example', 'unix:/run/rspamd/worker.sock'])(
  'takes the url %j',
  (url) => {
    expect(rspamd.options.safeParse({ url }).success).toBe(true)
  },
)
