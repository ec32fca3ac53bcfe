import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import {
  connectLmtp,
  freePort,
  runEcluse,
  startEcluse,
  startFakeClamd,
  startSmtpSink,
  submit,
  type EcluseService,
  type SmtpSink,
} from '@ecluse/fixtures'

let sink: SmtpSink
const closers: (() => Promise<void>)[] = []

beforeEach(async () => {
  sink = await startSmtpSink()
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await sink.close()
})

const yamlOf = (tag: string, scanners = '[{ kind: test }]'): string =>
  `localDomains: [example.org]\npolicy: { subjectTag: '[${tag}] ' }\nscanners: ${scanners}`

async function start(yaml: string): Promise<EcluseService> {
  const ecluse = await startEcluse({ yaml, reinjectPort: sink.port })
  closers.push(ecluse.close)
  return ecluse
}

/** The samples of `/metrics` by name and labels. */
async function metricsOf(ecluse: EcluseService): Promise<Map<string, number>> {
  const { body } = await ecluse.get('/metrics')
  return new Map(
    Array.from(body.matchAll(/^(ecluse_\S+) (\S+)$/gm), ([, name = '', value]) => [name, Number(value)]),
  )
}

interface Reloads {
  readonly ok: number
  readonly error: number
}

async function reloadsOf(ecluse: EcluseService): Promise<Reloads> {
  const metrics = await metricsOf(ecluse)
  const of = (result: string): number => metrics.get(`ecluse_config_reloads_total{result="${result}"}`) ?? NaN
  return { ok: of('ok'), error: of('error') }
}

/** Sends SIGHUP and waits until it has been dealt with; gives the reloads so far. */
async function hangup(ecluse: EcluseService): Promise<Reloads> {
  const before = await reloadsOf(ecluse)
  process.kill(ecluse.pid, 'SIGHUP')
  for (;;) {
    const after = await reloadsOf(ecluse)
    if (after.ok + after.error > before.ok + before.error) return after
  }
}

/** Puts another text into the file, as editors do it: nobody ever reads half of it. */
async function rewrite(ecluse: EcluseService, from: string, to: string): Promise<void> {
  const text = await readFile(ecluse.configFile, 'utf8')
  expect(text).toContain(from)
  await writeFile(`${ecluse.configFile}.new`, text.replace(from, to))
  await rename(`${ecluse.configFile}.new`, ecluse.configFile)
}

const spammy = (body: string): string =>
  `From: a@example.net\r\nTo: b@example.org\r\nSubject: x\r\n\r\nECLUSE-TEST-SCORE=8 .\r\n${body}\r\n`

async function deliver(ecluse: EcluseService, body: string): Promise<string> {
  const { final } = await submit({
    port: ecluse.lmtpPort,
    protocol: 'lmtp',
    mailFrom: 'a@example.net',
    recipients: ['b@example.org'],
    data: spammy(body),
  })
  return final.join()
}

const tagOf = (data: Buffer): string | undefined => /^Subject: \[(.*?)\]/m.exec(data.toString('latin1'))?.[1]
const bodyDigest = (data: Buffer | string): string =>
  createHash('sha256')
    .update(data.slice(data.indexOf('\r\n\r\n')))
    .digest('hex')

/** Sends messages over one connection, one after the other; gives their digests, and counts them as they are answered. */
async function sendMany(
  ecluse: EcluseService,
  name: string,
  { count, onReply }: { readonly count: number; readonly onReply: (reply: string) => void },
): Promise<string[]> {
  const client = await connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
  closers.push(async () => client.destroy())
  await client.reply()
  await client.ask('LHLO client.example')
  const digests: string[] = []
  for (let i = 0; i < count; i++) {
    const data = spammy(`${name}-${i}`)
    client.send('MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n')
    expect((await client.replies(3)).map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '354'])
    client.send(`${data}.\r\n`)
    onReply(await client.reply())
    digests.push(bodyDigest(data))
  }
  return digests
}

describe('SIGHUP', () => {
  test('again and again under load: no message is lost, refused or doubled', async () => {
    const clients = 8
    const each = 500
    const total = clients * each
    const scanners = ['[{ kind: test }]', '[{ name: other, kind: test }]']
    const variants = ['A', 'B', 'C', 'D'].map((tag, i) => yamlOf(tag, scanners[i % 2]))
    const ecluse = await start(variants[0] ?? '')
    let answered = 0
    const refused: string[] = []
    const onReply = (reply: string): void => {
      answered += 1
      if (!reply.startsWith('250 ')) refused.push(reply)
    }
    const sending = Promise.all(
      Array.from({ length: clients }, (_, i) => sendMany(ecluse, String(i), { count: each, onReply })),
    )
    let inFile = variants[0] ?? ''
    let reloads = 0
    for (let turn = 1; answered < total; turn++) {
      const next = turn % 5 === 0 ? 'policy: nonsense' : (variants[turn % variants.length] ?? '')
      await rewrite(ecluse, inFile, next)
      inFile = next
      await hangup(ecluse)
      reloads += 1
    }
    const sent = (await sending).flat()
    expect(refused).toEqual([])
    expect(reloads).toBeGreaterThan(20)
    expect(sink.messages).toHaveLength(total)
    expect(new Set(sink.messages.map(({ data }) => bodyDigest(data)))).toEqual(new Set(sent))
    const tags = new Set(sink.messages.map(({ data }) => tagOf(data)))
    expect([...tags].filter((tag) => !['A', 'B', 'C', 'D'].includes(tag ?? ''))).toEqual([])
    expect(tags.size).toBeGreaterThan(1)

    const { ok, error } = await reloadsOf(ecluse)
    expect(ok + error).toBe(reloads)
    expect(error).toBe(Math.floor(reloads / 5))
    const metrics = await metricsOf(ecluse)
    expect(metrics.get('ecluse_messages_total{category="spammy",direction="internal"}')).toBe(total)
    expect(metrics.get('ecluse_in_flight_messages')).toBe(0)
    expect(metrics.get('ecluse_internal_errors_total')).toBe(0)
    expect(await ecluse.stop()).toBe(0)
  })

  test('puts the new file in force and says what changed', async () => {
    const ecluse = await start(yamlOf('old'))
    expect(await deliver(ecluse, '1')).toMatch(/^250 /)
    await rewrite(ecluse, yamlOf('old'), yamlOf('new', '[{ name: other, kind: test }]'))
    expect(await hangup(ecluse)).toEqual({ ok: 1, error: 0 })
    expect(await deliver(ecluse, '2')).toMatch(/^250 /)
    expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['old', 'new'])
    await rewrite(ecluse, 'level: info', 'level: error')
    await hangup(ecluse)
    await rewrite(ecluse, 'level: error', 'level: info')
    await hangup(ecluse)
    expect(await ecluse.stop()).toBe(0)
    // The second one is silent: what it says is below its own level.
    expect(ecluse.log().filter(({ msg }) => msg === 'configuration reloaded')).toEqual([
      expect.objectContaining({ level: 'info', changed: ['scanners', 'policy'] }),
      expect.objectContaining({ level: 'info', changed: ['log'] }),
    ])
  })

  test.each([
    [
      'an unknown key',
      `${yamlOf('wrong')}\npolcy: {}`,
      [/ecluse\.yaml:11:1: polcy: unknown key \(.*"policy"\?\)$/],
    ],
    [
      'two errors',
      "localDomains: []\npolicy: { killLevel: high }\nnetworks: ['10.0.0.1/8']",
      [
        /ecluse\.yaml:9:22: policy\.killLevel: .+$/,
        /ecluse\.yaml:10:12: networks\[0\]: .+ \(.*10\.0\.0\.0\/8\)$/,
      ],
    ],
    ['no YAML', 'policy: {{', [/ecluse\.yaml:\d+:\d+: .+\(.+\)$/]],
  ])('changes nothing when the file is wrong, and says why: %s', async (_, wrong, expected: RegExp[]) => {
    const ecluse = await start(yamlOf('right'))
    await rewrite(ecluse, yamlOf('right'), wrong)
    expect(await hangup(ecluse)).toEqual({ ok: 0, error: 1 })
    expect((await runEcluse(['check', '--config', ecluse.configFile])).code).toBe(2)
    expect(await deliver(ecluse, '1')).toMatch(/^250 /)
    expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['right'])
    await rewrite(ecluse, wrong, yamlOf('mended'))
    expect(await hangup(ecluse)).toEqual({ ok: 1, error: 1 })
    expect(await deliver(ecluse, '2')).toMatch(/^250 /)
    expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['right', 'mended'])
    await ecluse.stop()
    const lines = ecluse.log().filter(({ level }) => level === 'error')
    expect(lines).toEqual(
      expected.map((error) => ({
        level: 'error',
        time: expect.any(String),
        msg: 'configuration not reloaded, the old one stays',
        error: expect.stringMatching(error),
      })),
    )
  })

  test('finds a TLS file that is gone, as the start and check do', async () => {
    const ecluse = await start(yamlOf('right'))
    await rewrite(ecluse, 'reinject: {', 'reinject: { tls: { mode: require, ca: /nonexistent/ca.pem },')
    expect(await hangup(ecluse)).toEqual({ ok: 0, error: 1 })
    const { code, stderr } = await runEcluse(['check', '--config', ecluse.configFile])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^ecluse: reinject\.tls\.ca: \/nonexistent\/ca\.pem: ENOENT \(.+\)\n$/)
    await ecluse.stop()
    expect(ecluse.log().filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({
        error: expect.stringMatching(/^reinject\.tls\.ca: \/nonexistent\/ca\.pem: ENOENT \(.+\)$/),
      }),
    ])
  })

  test('names keys that need a restart, and puts the rest in force', async () => {
    const ecluse = await start(yamlOf('old'))
    await rewrite(ecluse, `127.0.0.1:${ecluse.lmtpPort}`, `127.0.0.1:${await freePort()}`)
    await rewrite(ecluse, `127.0.0.1:${ecluse.httpPort}`, `127.0.0.1:${await freePort()}`)
    await rewrite(
      ecluse,
      yamlOf('old'),
      `${yamlOf('new')}\nhostname: other.example.org\nlimits: { idle: 100s, drain: 5s }`,
    )
    expect(await hangup(ecluse)).toEqual({ ok: 1, error: 0 })
    expect(await deliver(ecluse, '1')).toMatch(/^250 /)
    expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['new'])
    await ecluse.stop()
    expect(ecluse.log().filter(({ msg }) => /restart|reloaded/.test(msg ?? ''))).toEqual([
      expect.objectContaining({
        level: 'warn',
        msg: 'changed, but needs a restart: the old value stays',
        keys: ['hostname', 'listen', 'limits.idle', 'http'],
      }),
      expect.objectContaining({ level: 'info', changed: ['policy', 'limits'] }),
    ])
  })

  test('many at once: the file as it was at the last one is in force', async () => {
    const ecluse = await start(yamlOf('t0'))
    for (let i = 1; i <= 20; i++) {
      await rewrite(ecluse, yamlOf(`t${i - 1}`), yamlOf(`t${i}`))
      process.kill(ecluse.pid, 'SIGHUP')
      process.kill(ecluse.pid, 'SIGHUP')
    }
    const { ok } = await hangup(ecluse)
    expect(ok).toBeLessThanOrEqual(41)
    // The one that is counted may have been under way when the last signal came: then one more follows.
    for (let sent = 1; tagOf(sink.messages.at(-1)?.data ?? Buffer.alloc(0)) !== 't20'; sent++) {
      expect(await deliver(ecluse, String(sent))).toMatch(/^250 /)
    }
    expect(await ecluse.stop()).toBe(0)
    expect(ecluse.log().filter(({ level }) => level === 'error')).toEqual([])
  })

  test('does nothing while it ends', async () => {
    const clamd = await startFakeClamd()
    closers.push(() => clamd.close())
    if ('path' in clamd.address) throw new TypeError('expected TCP')
    const scanners = `[{ kind: clamd, address: '127.0.0.1:${clamd.address.port}' }]`
    const ecluse = await start(`${yamlOf('old', scanners)}\nlimits: { drain: 1s }`)
    clamd.misbehave('silent')
    const asked = clamd.accepted
    const result = deliver(ecluse, '1')
    while (clamd.accepted === asked) await ecluse.get('/healthz')
    const stopping = ecluse.stop()
    while (!ecluse.log().some(({ msg }) => msg === 'stopping')) await new Promise(setImmediate)
    process.kill(ecluse.pid, 'SIGHUP')
    expect(await result).toMatch(/^451 4\.7\.1 /)
    expect(await stopping).toBe(0)
    expect(ecluse.log().filter(({ msg }) => msg?.includes('reloaded'))).toEqual([])
    expect(ecluse.log().at(-1)).toMatchObject({ msg: 'stopped' })
  })
})

test('list files that are moved into place are read without a signal; a wrong one keeps its entries', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'ecluse-lists-'))
  closers.push(async () => await rm(folder, { recursive: true }))
  const move = async (name: string, text: string): Promise<void> => {
    await writeFile(path.join(folder, 'new'), text)
    await rename(path.join(folder, 'new'), path.join(folder, name))
  }
  await move('right', '# nobody yet\n')
  await move('wrong', 'b@example.org\n')
  const overlays = ['wrong', 'right'].map(
    (name) =>
      `  - { name: ${name}, when: { recipients: ['file:${folder}/${name}'] }, policy: { subjectTag: '[${name}] ' } }\n`,
  )
  const ecluse = await start(`${yamlOf('base')}\npolicies:\n${overlays.join('')}`)
  expect(await deliver(ecluse, '1')).toMatch(/^250 /)
  await move('right', 'b@example.org\n')
  await move('wrong', 'c@example.org\nnot an entry\n')
  for (;;) {
    const { ok, error } = await reloadsOf(ecluse)
    if (ok > 0 && error > 0) break
  }
  expect(await deliver(ecluse, '2')).toMatch(/^250 /)
  await rm(path.join(folder, 'right'))
  expect(await ecluse.stop()).toBe(0)
  expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['wrong', 'right'])
  expect(ecluse.log().filter(({ msg }) => msg?.startsWith('list'))).toMatchObject([
    {
      level: 'error',
      msg: 'list not read again, its old entries stay',
      error: expect.stringContaining(`${folder}/wrong:2: expected an address`),
    },
    { level: 'info', msg: 'lists read again', files: [`${folder}/right`] },
  ])
})

test('a large file is read in a thread of its own, and all the same', async () => {
  const padding = `# ${'x'.repeat(98)}\n`.repeat(2000)
  const kinds = '[{ kind: test }, { kind: rspamd, onError: pass }, { kind: spamd, onError: pass }]'
  const overlays = Array.from(
    { length: 1000 },
    (_, index) =>
      `  - { name: p${index}, when: { recipients: [u${index}@example.org] }, policy: { killLevel: 9 } }\n`,
  )
  const ecluse = await start(`${yamlOf('old')}\npolicies:\n${overlays.join('')}${padding}`)
  await rewrite(ecluse, '[{ kind: test }]', kinds)
  await rewrite(ecluse, '[old] ', '[new] ')
  await rewrite(ecluse, 'u999@example.org]', 'b@example.org]')
  await rewrite(ecluse, 'name: p999, when', 'name: last, when')
  expect(await hangup(ecluse)).toEqual({ ok: 1, error: 0 })
  expect(await deliver(ecluse, '1')).toMatch(/^250 /)
  expect(sink.messages.map(({ data }) => tagOf(data))).toEqual(['new'])
  await rewrite(ecluse, 'u7@example.org', 'not an entry')
  expect(await hangup(ecluse)).toEqual({ ok: 1, error: 1 })
  const errors = ecluse.log().filter(({ level }) => level === 'error')
  expect(errors).toMatchObject([
    {
      error: expect.stringMatching(/yaml:\d+:\d+: policies\[7\]\.when\.recipients\[0\]: expected an address/),
    },
  ])
  expect(await ecluse.stop()).toBe(0)
})
