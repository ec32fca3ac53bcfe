import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  GTUBE,
  freePort,
  runEcluse,
  startEcluse,
  startSmtpSink,
  submit,
  type EcluseMessageLine,
  type EcluseService,
  type SmtpSink,
  mailDate,
} from '@ecluse/fixtures'

let directory = ''
let sink: SmtpSink
const closers: (() => Promise<void>)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-t13-'))
  for (const name of ['spool', 'quarantine']) await mkdir(join(directory, name))
  await writeFile(join(directory, 'file'), 'not a folder, not a key\n')
  sink = await startSmtpSink()
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await sink.close()
  await rm(directory, { recursive: true, force: true })
})

/** A right configuration, with some of its lines replaced. */
async function settings(changed: Readonly<Record<string, string>>): Promise<string> {
  const lines: Record<string, string> = {
    localDomains: '[example.org]',
    listen: `[{ address: '127.0.0.1:${await freePort()}' }]`,
    reinject: `{ address: '127.0.0.1:${sink.port}' }`,
    scanners: `[{ kind: clamd, address: '127.0.0.1:${await freePort()}' }]`,
    spool: `{ directory: ${directory}/spool }`,
    quarantine: `{ directory: ${directory}/quarantine }`,
    ledger: `{ directory: ${directory}/ledger }`,
    http: `{ address: '127.0.0.1:${await freePort()}' }`,
    ...changed,
  }
  return Object.entries(lines)
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('')
}

async function serve(yaml: string): ReturnType<typeof runEcluse> {
  await writeFile(join(directory, 'ecluse.yaml'), yaml)
  return await runEcluse(['serve', '--config', 'ecluse.yaml'], { cwd: directory })
}

/** What is for people: everything on stderr that is no line of the log. */
function complaints(stderr: string): string[] {
  return stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
}

describe('serve', () => {
  test.each([
    ['an unknown key', { lissten: '[]' }, 2, /^ecluse\.yaml:9:1: lissten: unknown key \(.*"listen"\?\)$/],
    ['a wrong type', { limits: '{ concurrency: many }' }, 2, /^ecluse\.yaml:9:\d+: limits\.concurrency: /],
    [
      'a duration without unit',
      { limits: '{ deadline: 300 }' },
      2,
      /:9:\d+: limits\.deadline: .*300.*\(.+\)$/,
    ],
    [
      'a missing spool folder',
      { spool: '{ directory: /nonexistent/spool }' },
      1,
      /^\/nonexistent\/spool: .*\(.+\)$/,
    ],
    ['a spool that is a file', { spool: '{ directory: DIR/file }' }, 1, /\/file: .*\(.+\)$/],
    ['a quarantine that cannot be', { quarantine: '{ directory: DIR/file/q }' }, 1, /\/file\/q: .*\(.+\)$/],
    [
      'a missing TLS key',
      { listen: `[{ address: '127.0.0.1:0', tls: { key: /nonexistent/key, cert: DIR/file } }]` },
      2,
      /listen.*\/nonexistent\/key.*\(.+\)$/,
    ],
    [
      'a TLS key that is a folder',
      { listen: `[{ address: '127.0.0.1:PORT', tls: { key: DIR/spool, cert: DIR/file } }]` },
      2,
      /listen\.tls\.key: .*\/spool: EISDIR \(.+\)$/,
    ],
    [
      'a TLS key that is none',
      { listen: `[{ address: '127.0.0.1:PORT', tls: { key: DIR/file, cert: DIR/file } }]` },
      2,
      /^listen\.tls: .*\/file.*\(.+\)$/,
    ],
    [
      'an address of another machine',
      { listen: `[{ address: '192.0.2.1:PORT' }]` },
      1,
      /^192\.0\.2\.1:\d+: .*\(.+\)$/,
    ],
  ])('says in one line what is wrong: %s', async (_name, changed: Record<string, string>, code, line) => {
    const yaml = (await settings(changed)).replaceAll('DIR', directory).replaceAll('PORT', '12024')
    const result = await serve(yaml)
    expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: '' })
    const [complaint, ...more] = complaints(result.stderr)
    expect(more).toEqual([])
    expect(complaint).toMatch(/^ecluse: /)
    expect(complaint?.slice('ecluse: '.length)).toMatch(line)
    expect(result.stderr).not.toContain('internal error')
  })

  test.each([
    ['not YAML', 'localDomains: [example.org\nlisten: {{\n', /^ecluse: ecluse\.yaml:\d+:\d+: .*\(.+\)$/],
    ['bytes', '\u0000\u0001\u001b[31m', /^ecluse: ecluse\.yaml:\d+:\d+: \P{Cc}*$/u],
    ['an empty file', '', /^ecluse: ecluse\.yaml.*$/],
  ])('says in one line that a file is %s', async (_name, yaml, line) => {
    const { code, stderr } = await serve(yaml)
    expect(code).toBe(2)
    expect(complaints(stderr)).toEqual([expect.stringMatching(line)])
  })

  test('names a file that is not there', async () => {
    const { code, stderr } = await runEcluse(['serve', '--config', '/nonexistent/e.yaml'])
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/^ecluse: \/nonexistent\/e\.yaml: no such file \([^\n]+\)\n$/),
    })
  })

  test.each(['listen', 'http'])('names the port that %s cannot have', async (section) => {
    const taken = await listening()
    const { port } = taken.address() as AddressInfo
    const entry = `{ address: '127.0.0.1:${port}' }`
    const { code, stderr } = await serve(
      await settings({ [section]: section === 'listen' ? `[${entry}]` : entry }),
    )
    expect(code).toBe(1)
    expect(complaints(stderr)).toEqual([
      expect.stringMatching(
        new RegExp(
          `^ecluse: (?:http )?127\\.0\\.0\\.1:${port}: (?:cannot listen|EADDRINUSE) \\(another process .+\\)$`,
        ),
      ),
    ])
  })

  test('makes a quarantine folder that only it can read', async () => {
    const quarantine = join(directory, 'new/quarantine')
    const yaml = await settings({
      quarantine: `{ directory: ${quarantine} }`,
      listen: `[{ address: '192.0.2.1:1' }]`,
    })
    await serve(yaml)
    expect((await stat(quarantine)).mode & 0o777).toBe(0o700)
  })
})

async function listening(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1')
  closers.push(async () => {
    await new Promise((resolve) => server.close(resolve))
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return server
}

async function start(scanners: string, reinjectPort = sink.port): Promise<EcluseService> {
  const ecluse = await startEcluse({
    yaml: `localDomains: [example.org]\nscanners: ${scanners}`,
    reinjectPort,
  })
  closers.push(ecluse.close)
  return ecluse
}

const mail = (body: string): string =>
  `From: a@example.net\r\nTo: b@example.org\r\nDate: ${mailDate()}\r\nSubject: x\r\n\r\n${body}\r\n`

async function deliver(
  ecluse: EcluseService,
  body: string,
  recipients = ['b@example.org'],
): Promise<readonly string[]> {
  const before = ecluse.messages().length
  const { final } = await submit({
    port: ecluse.lmtpPort,
    protocol: 'lmtp',
    mailFrom: 'a@example.net',
    recipients,
    data: mail(body),
  })
  // The reply may be here before the line of the log has come through its pipe.
  await ecluse.waitForMessage(() => ecluse.messages().length > before)
  return final
}

describe('serve, while a part is down,', () => {
  test.each([
    [
      'a scanner',
      (port: number) => ({ scanners: `[{ kind: clamd, address: '127.0.0.1:${port}' }]` }),
      /scanner clamd/,
      '451 4.7.1',
    ],
    [
      'the re-entry',
      (port: number) => ({ scanners: '[{ kind: test }]', reinject: port }),
      /reinject/,
      '451 4.4.1',
    ],
  ])('starts, is not ready, and defers mail: %s', async (_name, configure, reason, reply) => {
    const { scanners, reinject }: { scanners: string; reinject?: number } = configure(await freePort())
    const ecluse = await start(scanners, reinject)
    expect(ecluse.output()).toMatch(/^ready lmtp 127\.0\.0\.1:\d+, http 127\.0\.0\.1:\d+\n$/)
    expect(ecluse.log()).toContainEqual(
      expect.objectContaining({ level: 'warn', msg: 'does not answer', name: expect.stringMatching(reason) }),
    )
    await expect(ecluse.get('/healthz')).resolves.toMatchObject({ status: 200 })
    const { status, body } = await ecluse.get('/readyz')
    expect(status).toBe(503)
    expect(JSON.stringify(JSON.parse(body))).toMatch(reason)
    await expect(deliver(ecluse, 'Hello')).resolves.toEqual([expect.stringContaining(reply)])
    expect(sink.messages).toEqual([])
    expect(await readdir(join(ecluse.directory, 'spool'))).toEqual([])
    expect(await ecluse.stop()).toBe(0)
  })
})

/** Samples of the text format, each with its labels as they stand there. */
function parseMetrics(text: string): Map<string, number> {
  const samples = new Map<string, number>()
  for (const line of text.trimEnd().split('\n')) {
    if (line === '' || /^# (?:HELP|TYPE) [a-z_]\w* ./.test(line)) continue
    const sample = /^([a-z_]\w*(?:\{(?:[a-z_]\w*="(?:[^"\\]|\\.)*",?)+\})?) (\S+)$/.exec(line)
    expect([line, sample]).toEqual([line, expect.anything()])
    samples.set(sample?.[1] ?? '', Number(sample?.[2]))
  }
  return samples
}

/** How often each text occurs. */
function count(texts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1
  return counts
}

function outcome(reply: string, queuedAs: string | undefined): string {
  if (reply.startsWith('4')) return 'tempfailed'
  if (reply.startsWith('5')) return 'rejected'
  return queuedAs === undefined ? 'discarded' : 'relayed'
}

/** The samples of one metric that were counted. */
function counted(samples: ReadonlyMap<string, number>, name: string): Record<string, number> {
  return Object.fromEntries([...samples].filter(([key, value]) => key.startsWith(`${name}{`) && value > 0))
}

describe('serve', () => {
  test('counts in its metrics what its log says', async () => {
    const ecluse = await start('[{ kind: test }]')
    await expect(ecluse.get('/readyz')).resolves.toMatchObject({ status: 200 })
    const bodies = ['one', 'two', 'ECLUSE-TEST-SCORE=8', GTUBE, EICAR, 'ECLUSE-TEST-SCORE=8', EICAR]
    for (const body of bodies) await deliver(ecluse, body, ['b@example.org', 'c@example.com'])
    const { status, body } = await ecluse.get('/metrics')
    expect(status).toBe(200)
    const samples = parseMetrics(body)
    const lines = ecluse.messages()
    expect(lines).toHaveLength(bodies.length)
    expect(counted(samples, 'ecluse_messages_total')).toEqual(
      count(
        lines.map(
          (line) => `ecluse_messages_total{category="${line.category}",direction="${line.direction}"}`,
        ),
      ),
    )
    const recipients = lines.flatMap((line: EcluseMessageLine) => line.recipients)
    expect(counted(samples, 'ecluse_recipients_total')).toEqual(
      count(
        recipients.map(
          ({ category, destiny, reply, queuedAs }) =>
            `ecluse_recipients_total{category="${category}",destiny="${destiny}",outcome="${outcome(reply, queuedAs)}"}`,
        ),
      ),
    )
    expect(counted(samples, 'ecluse_quarantined_total')).toEqual(
      count(
        lines
          .filter(({ quarantineId }) => quarantineId !== undefined)
          .map(({ category }) => `ecluse_quarantined_total{category="${category}"}`),
      ),
    )
    expect(samples.get('ecluse_message_bytes_sum')).toBe(lines.reduce((sum, { size }) => sum + size, 0))
    expect(samples.get('ecluse_in_flight_messages')).toBe(0)
    expect(samples.get('ecluse_internal_errors_total')).toBe(0)
    expect(samples.get('ecluse_scanner_up{scanner="test"}')).toBe(1)
  })

  test('ends in order by SIGTERM', async () => {
    const ecluse = await start('[{ kind: test }]')
    await expect(deliver(ecluse, 'still here')).resolves.toEqual([
      expect.stringMatching(/^250 2\.0\.0 from MTA/),
    ])
    expect(await ecluse.stop()).toBe(0)
    expect(ecluse.log().at(-1)).toMatchObject({ msg: 'stopped' })
    expect(complaints(ecluse.errors())).toEqual([])
  })
})
