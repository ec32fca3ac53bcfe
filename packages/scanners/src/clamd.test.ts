import { afterEach, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { formatAddress, type Finding, type Scanner } from '@ecluse/core'
import { EICAR, startFakeClamd, streamOf, testMessage, type FakeScanner } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { clamd, readReply, readVersion } from './clamd.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0)) await release()
})
const REFUSED = expect.objectContaining({ code: 'E_SCANNER_PROTOCOL' })
const NEVER = new AbortController().signal
const scannerAt = (address: string): Scanner => clamd.create('clamav', clamd.options.parse({ address }))
const start = async (path?: string): Promise<{ fake: FakeScanner; scanner: Scanner }> => {
  const fake = await startFakeClamd(path === undefined ? {} : { path })
  releases.push(() => fake.close())
  return { fake, scanner: scannerAt(formatAddress(fake.address)) }
}

const virus = (name: string): Finding => ({ kind: 'virus', name })
const unchecked = (reason: 'too large' | 'limits exceeded' | 'encrypted'): Finding => ({
  kind: 'unchecked',
  reason,
})

test.each<[string, readonly Finding[]]>([
  ['stream: OK\0', []],
  // ClamAV 1.4.6.
  ['stream: Eicar-Test-Body.UNOFFICIAL FOUND\0', [virus('Eicar-Test-Body.UNOFFICIAL')]],
  ['INSTREAM size limit exceeded. ERROR\0', [unchecked('too large')]],
  ['stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0', [unchecked('limits exceeded')]],
  ['stream: Heuristics.Encrypted.PDF FOUND\0', [unchecked('encrypted')]],
  ['stream: A FOUND\0stream: B FOUND\0', [virus('A'), virus('B')]],
  ['stream: Win.\x1b[31m\u00e9 FOUND\0', [virus('Win.?[31m?')]],
])('reads %j', (reply, findings) => {
  expect(readReply(reply)).toEqual({ findings })
})

test.each([
  '',
  '\0',
  'stream: OK',
  'stream: OK\n',
  'stream: OK\0\0',
  'stream: OK \0',
  'stream: OK\0stream: OK\0',
  'stream: OK\0stream: A FOUND\0',
  'INSTREAM size limit exceeded. ERROR\0stream: OK\0',
  'stream: A FOUND',
  'stream:  FOUND\0',
  'stream: FOUND\0',
  "stream: Can't allocate memory ERROR\0",
  'UNKNOWN COMMAND\0',
  'other: OK\0',
  'Stream: OK\0',
  'stream: Ev\r\nil FOUND\0',
])('refuses %j', (reply) => {
  expect(() => readReply(reply)).toThrow(REFUSED)
})

test('nothing cut off a reply is a verdict', () => {
  const reply = 'stream: Eicar-Test-Signature FOUND\0'
  for (let end = 0; end < reply.length; end++) {
    expect(() => readReply(reply.slice(0, end))).toThrow(REFUSED)
  }
})

test.each([
  [
    'ClamAV 1.4.3/27500/Mon Nov 23 09:01:02 2026\0',
    {
      engine: 'ClamAV 1.4.3',
      signatures: '27500',
      signatureTimestamp: Date.UTC(2026, 10, 23, 9, 1, 2) / 1000,
    },
  ],
  ['ClamAV 1.4.3/27500/Tue Dec  1 00:00:00 2026\0', { signatureTimestamp: Date.UTC(2026, 11, 1) / 1000 }],
  // As clamd says it without an official database.
  ['ClamAV 1.4.6\0', { engine: 'ClamAV 1.4.6' }],
  ['ClamAV 1.4.3/27500/yesterday\0', { engine: 'ClamAV 1.4.3', signatures: '27500' }],
])('reads the version %j', (reply, version) => {
  expect(readVersion(reply)).toMatchObject(version)
  expect('signatureTimestamp' in readVersion(reply)).toBe('signatureTimestamp' in version)
})

test.each(['', 'ClamAV 1.4.3', 'PONG\0', 'ClamAV \0', 'ClamAV 1\0ClamAV 2\0'])(
  'refuses the version %j',
  (reply) => {
    expect(() => readVersion(reply)).toThrow(REFUSED)
  },
)

test('sends a message from memory as one chunk', async () => {
  const { fake, scanner } = await start()
  const message = testMessage(`Subject: x\r\n\r\n${EICAR}`)
  await expect(scanner.scan(request(message), NEVER)).resolves.toEqual({
    findings: [virus('Eicar-Test-Signature')],
  })
  const length = Buffer.from([0, 0, 0, message.sizeBytes])
  expect(fake.requests).toEqual([
    Buffer.concat([Buffer.from('zINSTREAM\0'), length, message.open().read(), Buffer.alloc(4)]),
  ])
})

test.each([1, 7, 65_536])(
  'sends a message from disk in pieces of %d bytes, none lost',
  async (pieceBytes) => {
    const { fake, scanner } = await start()
    const bytes = Buffer.from(`Subject: x\r\n\r\n${'line\r\n'.repeat(pieceBytes < 10 ? 10 : 50_000)}${EICAR}`)
    await expect(scanner.scan(request(testMessage(bytes, { pieceBytes })), NEVER)).resolves.toMatchObject({
      findings: [{ kind: 'virus' }],
    })
    expect(fake.requests.map((sent) => streamOf(sent).equals(bytes))).toEqual([true])
  },
)

test('an empty piece does not end the data', async () => {
  const { fake, scanner } = await start()
  const { bytes: _, ...message } = testMessage(`xx${EICAR}`)
  const open = (): Readable => Readable.from([Buffer.from('xx'), Buffer.alloc(0), Buffer.from(EICAR)])
  await expect(scanner.scan(request({ ...message, open }), NEVER)).resolves.toMatchObject({
    findings: [{ kind: 'virus' }],
  })
  expect(fake.requests).toHaveLength(1)
})

test('an empty message is clean', async () => {
  const { scanner } = await start()
  await expect(scanner.scan(request(testMessage('')), NEVER)).resolves.toEqual({ findings: [] })
})

test('speaks over a Unix socket too', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-clamd-'))
  releases.push(() => rm(directory, { recursive: true }))
  const { fake, scanner } = await start(join(directory, 'clamd.sock'))
  await expect(scanner.version(NEVER)).resolves.toMatchObject({ engine: 'ClamAV 1.4.3' })
  await fake.idle()
})

test.each([true, false])('reads why clamd closed before it had all (in memory: %p)', async (inMemory) => {
  // As clamd does at its StreamMaxLength: it answers and closes, whatever still comes.
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write('INSTREAM size limit exceeded. ERROR\0', () => socket.destroy()))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  releases.push(() => server.close())
  const scanner = scannerAt(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  const bytes = Buffer.alloc(12_000_000, 'filler\r\n')
  for (let round = 0; round < 3; round++) {
    const message = testMessage(bytes, inMemory ? {} : { pieceBytes: 65_536 })
    await expect(scanner.scan(request(message), NEVER)).resolves.toEqual({
      findings: [unchecked('too large')],
    })
  }
})

test('reads it also when the next write fails before the reply is looked at', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-clamd-'))
  releases.push(() => rm(directory, { recursive: true }))
  const path = join(directory, 'clamd.sock')
  const reader = new Readable({ read: () => undefined })
  // All in one turn of the event loop: nothing of the reply can have been read when the reader goes on.
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write('INSTREAM size limit exceeded. ERROR\0')
      socket.destroy()
      reader.push('more')
    })
  })
  server.listen(path)
  await once(server, 'listening')
  releases.push(() => server.close())
  reader.push('first')
  const { bytes: _, ...message } = testMessage('first and more')
  const scan = scannerAt(`unix:${path}`).scan(request({ ...message, open: () => reader }), NEVER)
  await expect(scan).resolves.toEqual({ findings: [unchecked('too large')] })
  expect(reader.destroyed).toBe(true)
})

test.each(['in memory', 'from a reader that stalls'])(
  'an abort frees the socket and the reader (%s)',
  async (how) => {
    const { fake, scanner } = await start()
    fake.misbehave('silent')
    const controller = new AbortController()
    const stalled = new Readable({ read: () => undefined })
    const { bytes, ...rest } = testMessage('x')
    const message = { ...rest, open: () => stalled, ...(how === 'in memory' && bytes && { bytes }) }
    const scan = scanner.scan(request(message), controller.signal)
    controller.abort()
    await expect(scan).rejects.toMatchObject({ code: 'E_ABORTED' })
    await fake.idle()
    expect(stalled.destroyed).toBe(how !== 'in memory')
  },
)

test('a message that cannot be read is a failure, not a shorter message', async () => {
  const { fake, scanner } = await start()
  const { bytes: _, ...message } = testMessage('x')
  const open = (): Readable =>
    new Readable({
      read() {
        this.destroy(new Error('EIO'))
      },
    })
  await expect(scanner.scan(request({ ...message, open }), NEVER)).rejects.toMatchObject({
    code: 'E_SCANNER_PROTOCOL',
  })
  await fake.idle()
})

test('a clamd that does not know sessions is asked as before', async () => {
  const { fake, scanner } = await start()
  await expect(scanner.version(NEVER)).resolves.toMatchObject({ engine: 'ClamAV 1.4.3' })
  const before = fake.accepted
  const message = testMessage(EICAR)
  await expect(scanner.scan(request(message), NEVER)).resolves.toMatchObject({
    findings: [{ kind: 'virus' }],
  })
  expect(fake.accepted).toBe(before + 1)
})
