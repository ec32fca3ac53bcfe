import { cp, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { MISTAKES, replace, setMain, type Edit, type Files } from '../test/postfixMistakes.ts'
import {
  describeWith,
  freePort,
  runEcluse,
  startClamd,
  startEcluse,
  startPostfix,
  startRspamd,
  startSmtpSink,
  startSpamd,
  type EcluseService,
  type PostfixService,
  type SmtpSink,
} from '@ecluse/fixtures'
import { askPostconf, programFolders } from './doctor/postconf.ts'
import { settingOf } from './doctor/postfixConfig.ts'

interface Row {
  readonly check: string
  readonly ok: boolean
  readonly warning?: boolean
  readonly detail: string
  readonly cure?: string
}

const closers: (() => Promise<unknown>)[] = []
let sink: SmtpSink
let postfix: PostfixService
let ecluse: EcluseService
let directory = ''

async function start(): Promise<void> {
  const [clamd, spamd, rspamd] = await Promise.all([startClamd(), startSpamd(), startRspamd()])
  closers.push(clamd.close, spamd.close, rspamd.close)
  sink = await startSmtpSink()
  closers.push(sink.close)
  const lmtpPort = await freePort()
  postfix = await startPostfix({ deliverTo: sink.port, filter: `127.0.0.1:${lmtpPort}` })
  closers.push(postfix.close)
  ecluse = await startEcluse({
    lmtpPort,
    reinjectPort: postfix.reentryPort,
    // The size is that of the main.cf of the tests; the rest is as shipped.
    yaml: `localDomains: [example.org, example.net, .example.com]
limits: { messageSize: 100MiB }
scanners:
  - { kind: clamd, address: 'unix:${clamd.socketPath}' }
  - { kind: spamd, address: '127.0.0.1:${spamd.port}' }
  - { kind: rspamd, url: '${rspamd.url}' }`,
  })
  closers.push(ecluse.close)
}

async function doctor(
  configFile: string,
  postfixDirectory: string,
  ...more: string[]
): Promise<{ readonly code: number; readonly rows: readonly Row[] }> {
  const args = ['doctor', '--config', configFile, '--postfix', postfixDirectory, '--json', ...more]
  const { code, stdout, stderr } = await runEcluse(args)
  expect(stderr).toBe('')
  return { code, rows: JSON.parse(Buffer.from(stdout, 'latin1').toString('utf8')) as Row[] }
}

const isWell = ({ ok, warning }: Row): boolean => ok && warning !== true

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
  'spamd',
  'rspamd',
)('doctor', () => {
  beforeAll(start, 120_000)

  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ecluse-t18-'))
  })

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true })
  })

  /** Runs it on a copy of the two configurations with a mistake in it. */
  async function doctorAfter(edit: Edit): Promise<Awaited<ReturnType<typeof doctor>>> {
    const etc = join(directory, 'etc')
    await cp(postfix.configDirectory, etc, { recursive: true })
    const places = {
      mainCf: join(etc, 'main.cf'),
      masterCf: join(etc, 'master.cf'),
      yaml: ecluse.configFile,
    } as const
    const files: Files = {
      mainCf: await readFile(places.mainCf, 'utf8'),
      masterCf: await readFile(places.masterCf, 'utf8'),
      yaml: await readFile(places.yaml, 'utf8'),
    }
    edit(files)
    await writeFile(places.mainCf, files.mainCf)
    await writeFile(places.masterCf, files.masterCf)
    // postconf waits until what it reads is a second old.
    for (const file of [places.mainCf, places.masterCf]) await utimes(file, 0, 0)
    const yaml = join(directory, 'ecluse.yaml')
    await writeFile(yaml, files.yaml)
    return await doctor(yaml, etc)
  }

  test('finds nothing wrong with a Postfix that is set up as we ship it', async () => {
    const { code, rows } = await doctor(ecluse.configFile, postfix.configDirectory)
    expect(rows.filter((row) => !isWell(row))).toEqual([])
    expect(code).toBe(0)
    expect(rows.map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'scanner clamd EICAR',
        'scanner spamd GTUBE',
        'scanner rspamd GTUBE',
        'reinject',
        'postfix filter',
      ]),
    )
  })

  test.each(MISTAKES)('finds it: %s %s', async (check, level, cure, edit) => {
    const { code, rows } = await doctorAfter(edit)
    const found = rows.filter((row) => !isWell(row))
    expect(found).toEqual([
      {
        check,
        ok: level === '!',
        ...(level === '!' && { warning: true }),
        detail: expect.any(String),
        cure: expect.stringMatching(cure),
      },
    ])
    expect(code).toBe(level === '!' ? 0 : 1)
  })

  test('expands parameters as postconf does', async () => {
    const options = { directory: postfix.configDirectory, folders: programFolders() }
    const answer = await askPostconf(options)
    if (!('postfix' in answer)) throw new Error(JSON.stringify(answer))
    const { raw, expanded } = answer.postfix
    const service = {
      name: 'x',
      type: 'unix',
      chroot: false,
      command: 'x',
      // With an option, values are expanded by us.
      overrides: new Map([['no_parameter', '']]),
    }
    // Those with a $ left are expanded by Postfix when mail comes; an empty value may leave its blanks.
    const names = [...raw.keys()].filter((name) => !expanded.get(name)?.includes('$'))
    const words = (text: string | undefined): string | undefined => text?.replace(/\s+/g, ' ')
    const ours = names.map((name) => [name, words(settingOf(answer.postfix, name, service))])
    expect(names.length).toBeGreaterThan(800)
    expect(ours).toEqual(names.map((name) => [name, words(expanded.get(name))]))
  })

  test('sends a message through all of it and sees it pass', async () => {
    const before = sink.messages.length
    const { code, rows } = await doctor(
      ecluse.configFile,
      postfix.configDirectory,
      '--probe',
      'someone@example.org',
    )
    expect(rows.filter((row) => !isWell(row))).toEqual([])
    expect(code).toBe(0)
    const told = new Map(rows.map(({ check, detail }) => [check, detail]))
    const [, queueId] = /queued as (\w+)$/.exec(told.get('probe front') ?? '') ?? []
    const line = await ecluse.waitForMessage((candidate) => candidate.queueId === queueId)
    expect(line).toMatchObject({ mailFrom: '', category: 'clean' })
    expect(told.get('probe filter')).toContain('ecluse_messages_total rose by 1')
    expect(told.get('probe back')).toContain('rose by 1')
    expect(told.get('probe log')).toMatch(
      `${queueId} went to 127.0.0.1[127.0.0.1]:${ecluse.lmtpPort}: sent (250 2.0.0 from MTA(`,
    )
    expect(told.get('probe delivery')).toContain(`:${sink.port}: sent (250`)
    const [mail] = (await sink.waitFor(before + 1)).slice(before)
    expect(mail?.data.toString('latin1')).toMatch(/^Message-ID: <doctor\.\w+@[^>]+>\r$/m)
  })

  test('sees that a message goes past the filter', async () => {
    const before = sink.messages.length
    const submitTo = `127.0.0.1:${postfix.reentryPort}`
    const more = ['--probe', 'someone@example.org', '--sender', 'admin@example.org', '--submit', submitTo]
    const { code, rows } = await doctor(ecluse.configFile, postfix.configDirectory, ...more)
    expect(rows.filter(({ ok }) => !ok).map(({ check }) => check)).toEqual(['probe filter', 'probe log'])
    expect(code).toBe(1)
    const [mail] = (await sink.waitFor(before + 1)).slice(before)
    expect(mail?.mailFrom).toBe('admin@example.org')
  })

  // Whatever a configuration says, the entries that are printed for it must please doctor.
  test.each([
    ['other limits', 'limits: { messageSize: 100MiB, concurrency: 7, recipients: 150 }'],
    [
      'many connections',
      'limits: { messageSize: 100MiB }\nreinject: { address: "127.0.0.1:REENTRY", connections: 90 }',
    ],
    ['SMTP', 'limits: { messageSize: 100MiB }\nlisten: [{ protocol: smtp, address: "127.0.0.1:10024" }]'],
    ['a Unix socket', 'limits: { messageSize: 100MiB }\nlisten: [{ address: "unix:/run/ecluse/lmtp" }]'],
    ['all addresses', 'limits: { messageSize: 100MiB }\nlisten: [{ address: "0.0.0.0:10024" }]'],
    ['IPv6', 'limits: { messageSize: 100MiB }\nlisten: [{ address: "[::1]:10024" }]'],
    ['a long deadline', 'limits: { messageSize: 100MiB, deadline: 590s }'],
  ])('has nothing against the printed entries for %s', async (_, yaml) => {
    const file = join(directory, 'ecluse.yaml')
    const reinject = yaml.includes('reinject') ? '' : '\nreinject: { address: "127.0.0.1:REENTRY" }'
    const domains = 'localDomains: [example.org, example.net, example.com]\n'
    const text = `${domains}${yaml}${reinject}\n`.replace('REENTRY', String(postfix.reentryPort))
    await writeFile(file, text)
    const { stdout } = await runEcluse(['postfix', '--config', file])
    const [mainCf = '', masterCf = ''] = stdout.split(/^(?=# .*\/etc\/postfix\/master\.cf)/m)
    const { rows } = await doctorAfter((files) => {
      for (const [, name = '', value = ''] of mainCf.matchAll(/^(\w+) = (.*)$/gm)) setMain(name, value)(files)
      replace('masterCf', /^# Postfix and Écluse:[^]*/m, masterCf)(files)
      setMain('inet_protocols', 'all')(files)
      files.yaml = text
    })
    const found = rows.filter((row) => row.check.startsWith('postfix') && !isWell(row))
    expect(found).toEqual([])
    expect(rows.length).toBeGreaterThan(20)
  })

  test('asks what runs, and names what does not', async () => {
    const file = join(directory, 'ecluse.yaml')
    const places = [
      ...['http', 'reinject'].map((key) => `${key}: { address: "127.0.0.1:1" }\n`),
      ...['spool', 'ledger'].map((key) => `${key}: { directory: ${directory}/no-${key} }\n`),
      `quarantine: { directory: ${directory}/no-quarantine, keep: 30d }\n`,
    ].join('')
    await writeFile(
      file,
      `localDomains: [example.org]\n${places}scanners: [{ kind: clamd, address: "unix:/none" }]\n`,
    )
    const { code, stdout, stderr } = await runEcluse(['doctor', '--config', file, '--postfix', directory])
    const lines = Buffer.from(stdout, 'latin1').toString('utf8').split('\n')
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    expect(lines.filter((line) => line.startsWith('✗'))).toEqual([
      expect.stringMatching(/^✗ scanner clamd: .*ENOENT/),
      expect.stringMatching(/^✗ quarantine: /),
      expect.stringMatching(/^✗ spool: /),
      expect.stringMatching(/^✗ ledger: /),
      expect.stringMatching(/^✗ reinject: .*ECONNREFUSED/),
      expect.stringMatching(/^✗ postfix: postconf: fatal: /),
    ])
    expect(lines.filter((line) => line.startsWith('! '))).toEqual([expect.stringMatching(/^! daemon: /)])
    expect(lines.filter((line) => line.startsWith('  → '))).toHaveLength(7)
  })

  test.each([
    [['--probe', 'a b@example.org'], /"a b@example\.org" is no mail address/],
    [['--probe', 'a@example.org', '--submit', 'nowhere'], /--submit nowhere: expected host:port/],
    [['--sender', 'a@example.org'], /--sender and --submit belong to --probe/],
    [['--probe', 'a@example.org', '--sender', 'a@b>\r\nRSET'], /is no mail address/],
  ])('refuses %j', async (more, message) => {
    const { code, stdout, stderr } = await runEcluse(['doctor', '--config', ecluse.configFile, ...more])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^ecluse: [^\n]+\n$/)
  })
})
