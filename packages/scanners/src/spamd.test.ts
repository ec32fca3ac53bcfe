import { afterEach, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { formatAddress, verdictMemory, type Scanner } from '@ecluse/core'
import { GTUBE, startFakeSpamd, testMessage, type FakeScanner } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { spamd } from './spamd.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0)) await release()
})
const NEVER = new AbortController().signal
const start = async (
  options: Record<string, unknown> = {},
  path?: string,
): Promise<{ fake: FakeScanner; scanner: Scanner }> => {
  const fake = await startFakeSpamd(path === undefined ? {} : { path })
  releases.push(() => fake.close())
  const address = formatAddress(fake.address)
  return { fake, scanner: spamd.create('sa', spamd.options.parse({ address, ...options })) }
}
const BODY = `From: <bob@example.com>\r\n\r\n${GTUBE}\r\n`
const PREFIX =
  'Return-Path: <bob@example.com>\r\nX-Envelope-To: <a@example.org>,\r\n\t<"b c"@example.org>\r\n'

test.each([undefined, 1, 65_536])(
  'asks for a report of the whole message (pieces of %p)',
  async (pieceBytes) => {
    const { fake, scanner } = await start({ user: 'vip' })
    const message = testMessage(BODY, pieceBytes === undefined ? {} : { pieceBytes })
    await expect(scanner.scan(request(message), NEVER)).resolves.toEqual({
      findings: [
        {
          kind: 'score',
          points: 1000,
          required: 5,
          symbols: [
            { name: 'NO_RELAYS', score: 0 },
            { name: 'GTUBE', score: 1000 },
          ],
        },
      ],
    })
    const length = PREFIX.length + BODY.length
    expect(fake.requests.map(String)).toEqual([
      `REPORT SPAMC/1.5\r\nUser: vip\r\nContent-length: ${length}\r\n\r\n${PREFIX}${BODY}`,
    ])
    await fake.idle()
  },
)

test('the envelope goes byte for byte, and cannot begin a line', async () => {
  const { fake, scanner } = await start()
  const recipients = [{ address: 'caf\udce9@x' }, { address: 'x>\r\nSubject: y' }]
  await scanner.scan(request(testMessage(BODY), { mailFrom: '', recipients }), NEVER)
  expect(fake.requests[0]?.toString('latin1')).toContain(
    'Return-Path: <>\r\nX-Envelope-To: <caf\xe9@x>,\r\n\t<x>??Subject: y>\r\nFrom: ',
  )
})

test('names at most 100 recipients', async () => {
  const { fake, scanner } = await start()
  const recipients = Array.from({ length: 101 }, (_, index) => ({ address: `r${index}@example.org` }))
  await scanner.scan(request(testMessage(BODY), { recipients }), NEVER)
  expect(fake.requests[0]?.toString()).toContain('<r99@example.org>\r\n')
  expect(fake.requests[0]?.toString()).not.toContain('r100')
})

test('that is not told recipients is told none, and its verdict holds for others', async () => {
  const options = { address: '127.0.0.1:783', tellRecipients: false }
  const { fake, scanner } = await start({ tellRecipients: false })
  await scanner.scan(request(testMessage(BODY)), NEVER)
  expect(String(fake.requests[0])).toMatch(/\r\n\r\nReturn-Path: <bob@example\.com>\r\nFrom: /)
  const inputs = (given: unknown) => verdictMemory(spamd, spamd.options.parse(given))?.inputs
  expect(inputs(options)).toEqual(['content', 'client', 'sender'])
  expect(inputs({ ...options, tellRecipients: true })).toEqual(['content', 'client', 'sender', 'recipients'])
})

test('adds nothing above an mbox line', async () => {
  const { fake, scanner } = await start()
  const text = `From bob Tue Nov 24 07:00:00 2026\r\n${BODY}`
  await scanner.scan(request(testMessage(text)), NEVER)
  expect(fake.requests.map(String)).toEqual([
    `REPORT SPAMC/1.5\r\nContent-length: ${text.length}\r\n\r\n${text}`,
  ])
})

test.each([undefined, 3])('compresses on demand (pieces of %p)', async (pieceBytes) => {
  const { fake, scanner } = await start({ compress: true })
  await scanner.scan(request(testMessage(BODY, pieceBytes === undefined ? {} : { pieceBytes })), NEVER)
  const [sent = Buffer.alloc(0)] = fake.requests
  const end = sent.indexOf('\r\n\r\n') + 4
  expect(sent.toString('latin1', 0, end)).toMatch(
    /^REPORT SPAMC\/1\.5\r\nCompress: zlib\r\nContent-length: \d+\r\n\r\n$/,
  )
  expect(inflateSync(sent.subarray(end)).toString()).toBe(PREFIX + BODY)
})

test('tells the version, also over a Unix socket', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-spamd-'))
  releases.push(() => rm(directory, { recursive: true }))
  const { scanner } = await start({}, join(directory, 'spamd.sock'))
  await expect(scanner.version(NEVER)).resolves.toEqual({ engine: 'SpamAssassin 4.0.1' })
})

test.each([
  ['E_ABORTED', (controller: AbortController) => controller.abort()],
  [
    'E_SCANNER_TIMEOUT',
    (controller: AbortController) => controller.abort(new DOMException('', 'TimeoutError')),
  ],
])('says %s and frees the socket when the signal aborts', async (code, abort) => {
  const { fake, scanner } = await start()
  fake.misbehave('silent')
  const controller = new AbortController()
  const scan = scanner.scan(request(testMessage(BODY, { pieceBytes: 5 })), controller.signal)
  abort(controller)
  await expect(scan).rejects.toMatchObject({ code })
  await fake.idle()
})
