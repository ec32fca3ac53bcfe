import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  GTUBE,
  describeWith,
  freePort,
  runEcluse,
  startEcluse,
  startMailSystem,
  startPostfix,
  startSmtpSink,
  submit,
  type EcluseResult,
  type MailSystem,
} from '@ecluse/fixtures'

let directory = ''
const closers: (() => Promise<void>)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-t14-'))
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await rm(directory, { recursive: true, force: true })
})

async function closing<S extends { readonly close: () => Promise<void> }>(starting: Promise<S>): Promise<S> {
  const service = await starting
  closers.push(service.close)
  return service
}

/** Sees to it that somebody listens on the port, until the test is over. */
async function takePort(port: number): Promise<void> {
  const server = createServer((socket) => socket.destroy())
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    // Another process has it: as good.
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return
    throw error
  }
  closers.push(async () => {
    server.close()
    await once(server, 'close')
  })
}

describe('what npm start runs', () => {
  const demo = async (): Promise<EcluseResult> =>
    await runEcluse(['start', '--once', '--directory', join(directory, 'var')])

  /** The rows of the table below its heading, as long as it goes. */
  function rowsOf(stdout: string): string[] {
    const lines = Buffer.from(stdout, 'latin1').toString('utf8').split('\n')
    const heading = lines.findIndex((line) => line.startsWith('message '))
    const rows = lines.slice(heading + 2)
    return rows.slice(0, rows.indexOf(''))
  }

  test('shows what becomes of each sample, and everything is as expected', async () => {
    const { code, stdout, stderr } = await demo()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const rows = rowsOf(stdout)
    expect(rows.length).toBeGreaterThanOrEqual(7)
    expect(rows.filter((row) => !row.endsWith(' ✓'))).toEqual([])
    expect((await readdir(join(directory, 'var/mail'))).filter((name) => name.endsWith('.eml'))).toHaveLength(
      4,
    )
    expect(await readdir(join(directory, 'var/spool'))).toEqual([])
  })

  test('works where all of its ports are taken', async () => {
    const ports = [10_024, 10_025, 9725]
    for (const port of ports) await takePort(port)
    const { code, stdout } = await demo()
    expect(code).toBe(0)
    for (const port of ports) expect(stdout).not.toContain(`127.0.0.1:${port}\n`)
    expect(rowsOf(stdout).filter((row) => !row.endsWith(' ✓'))).toEqual([])
  })

  test('runs the daemon where a configuration is given, and says what is wrong with it', async () => {
    const file = join(directory, 'e.yaml')
    await writeFile(file, 'localDomain: [example.org]\n')
    const { code, stdout, stderr } = await runEcluse(['start', '--config', file])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/e\.yaml:1:1: localDomain: unknown key \(did you mean "localDomains"\?\)\n/)
  })
})

describe('every command', () => {
  test('of the contract that this version has is in the help', async () => {
    const { code, stdout, stderr } = await runEcluse(['help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const named = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name)
    expect(named).toEqual(
      expect.arrayContaining([
        'serve',
        'check',
        'doctor',
        'explain',
        'quarantine',
        'scanners',
        'postfix',
        'demo',
        'version',
      ]),
    )
  })

  test.each([
    'serve',
    'check',
    'doctor',
    'explain',
    'quarantine',
    'scanners',
    'postfix',
    'demo',
    'version',
    'start',
  ])('tells how it is used: %s', async (name) => {
    const { code, stdout, stderr } = await runEcluse([name, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^usage: ecluse ${name}\\b`))
  })

  test.each([
    ['version', /^ecluse \d+\.\d+\.\d+, Node\.js v\d+\./],
    ['scanners', /kind: clamd[^]*kind: spamd[^]*kind: rspamd[^]*kind: test/],
  ])('answers: %s', async (name, answer) => {
    const { code, stdout, stderr } = await runEcluse([name])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(answer)
  })

  test.each([
    ['localDomains: [example.org]\nscanners: [{ kind: clamd }]\n', 0],
    ['localDomains: [example.org]\npolicy: { killLevel: high }\n', 2],
  ])('checks a file: %j', async (yaml, code) => {
    const file = join(directory, 'e.yaml')
    await writeFile(file, yaml)
    await expect(runEcluse(['check', '--config', file])).resolves.toMatchObject({ code })
    // What --print prints is a configuration itself.
    const printed = await runEcluse(['check', '--config', file, '--print'])
    if (code !== 0) return
    await writeFile(file, printed.stdout)
    await expect(runEcluse(['check', '--config', file])).resolves.toMatchObject({ code: 0 })
  })
})

/** The two files that `ecluse postfix` prints one behind the other. */
function readEntries(printed: string): { readonly mainCf: string; readonly masterCf: string } {
  const [mainCf = '', masterCf = ''] = printed.split(/^(?=# .*\/etc\/postfix\/master\.cf)/m)
  return { mainCf, masterCf }
}

describeWith({ describe, beforeAll }, 'postfix')('the entries that the postfix command prints', () => {
  test('run a Postfix that hands its mail to the filter and takes it back', async () => {
    const sink = await closing(startSmtpSink())
    const reinjectPort = await freePort()
    const ecluse = await closing(
      startEcluse({ yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]', reinjectPort }),
    )
    const { code, stdout } = await runEcluse(['postfix', '--config', ecluse.configFile])
    expect(code).toBe(0)
    const entries = readEntries(stdout)
    const postfix = await closing(startPostfix({ deliverTo: sink.port, entries }))
    const postconf = promisify(execFile)
    for (const mode of ['-n', '-M', '-P']) {
      const { stderr } = await postconf('/usr/sbin/postconf', ['-c', postfix.configDirectory, mode])
      expect([mode, stderr]).toEqual([mode, ''])
    }
    await submit({
      port: postfix.port,
      mailFrom: 'a@example.net',
      recipients: ['b@example.org'],
      data: 'From: a@example.net\r\nSubject: printed\r\n\r\nHello\r\n',
    })
    const [mail] = await sink.waitFor(1)
    expect(mail?.data.toString('latin1')).toMatch(/^X-Virus-Status: Clean\r$/m)
    await postfix.waitForQueue((queue) => queue.length === 0)
    expect(postfix.log()).not.toMatch(/warning|fatal|error|panic/)
    expect(postfix.log()).toContain('postfix/reentry/smtpd')
    expect(sink.messages).toHaveLength(1)
  })
})

interface Listed {
  readonly id: string
  readonly category: string
  readonly storedAt: string
  readonly states: readonly string[]
}

describeWith({ describe, beforeAll }, 'postfix')('the quarantine command beside a running filter', () => {
  let system: MailSystem

  beforeAll(async () => {
    system = await startMailSystem({ yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]' })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  const quarantine = async (...args: string[]): Promise<EcluseResult> =>
    await runEcluse(['quarantine', ...args, '--config', system.ecluse().configFile])
  const list = async (): Promise<readonly Listed[]> => JSON.parse((await quarantine('list', '--json')).stdout)

  /** A message that is kept; gives its bytes and its id. */
  async function keep(
    subject: string,
    content: string,
  ): Promise<{ readonly id: string; readonly body: string }> {
    const body = `..dots\r\nGr\xfc\xdfe\r\n${content}\r\n${'x'.repeat(1500)}\r\n`
    const data = `From: a@example.net\r\nTo: b@example.org\r\nSubject: ${subject}\r\n\r\n${body}`
    const recipients = ['b@example.org', 'c@example.com']
    const { line } = await system.pass(
      { mailFrom: 'a@example.net', parameters: 'BODY=8BITMIME', recipients, data },
      0,
    )
    expect(line.quarantineId).toBeDefined()
    return { id: line.quarantineId ?? '', body }
  }

  test('lists, shows, releases and deletes spam', async () => {
    const { id, body } = await keep('kept spam', GTUBE)
    const listed = await list()
    expect(listed).toEqual([
      {
        id,
        category: 'spam',
        storedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        mailFrom: 'a@example.net',
        recipients: ['c@example.com', 'b@example.org'],
        subject: 'kept spam',
        size: expect.any(Number),
        score: 1000,
        reasons: ['spam'],
        states: ['kept', 'kept'],
      },
    ])
    const shown = await quarantine('show', id)
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining('kept spam') })
    const raw = await quarantine('show', id, '--raw')
    expect(raw.stdout.endsWith(`\r\n\r\n${body}`)).toBe(true)

    const before = system.sink.messages.length
    const released = await quarantine('release', id)
    expect(released).toMatchObject({ code: 0, stderr: '' })
    await system.sink.waitFor(before + 1)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    const delivered = system.sink.messages.slice(before)
    expect(delivered.map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
      ['c@example.com', 'b@example.org'],
    ])
    expect(delivered[0]?.mailFrom).toBe('a@example.net')
    const text = delivered[0]?.data.toString('latin1') ?? ''
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe(body)
    expect(text.endsWith(raw.stdout)).toBe(true)
    // It went past the scanners: it is not kept once more, and known as released.
    expect((await list()).map((entry) => [entry.id, entry.states])).toEqual([[id, ['released', 'released']]])
    const again = await quarantine('release', id)
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toMatch(/was released at [^\n]* \(use --force [^\n]*\)\n$/)

    await expect(quarantine('delete', id)).resolves.toMatchObject({ code: 0 })
    expect(await list()).toEqual([])
    for (const action of ['show', 'release', 'delete']) {
      const gone = await quarantine(action, id)
      expect(gone).toMatchObject({ code: 1, stdout: '' })
      expect(gone.stderr).toMatch(/^ecluse: [^\n]+\n$/)
    }
  })

  test('releases a virus only when it is told twice', async () => {
    const { id } = await keep('kept virus', EICAR)
    const before = system.sink.messages.length
    const refused = await quarantine('release', id)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^ecluse: .*INFECTED: .* \(use --force [^\n]*\)\n$/)
    const released = await quarantine('release', id, '--force', '--to', 'postmaster@example.org')
    expect(released.code).toBe(0)
    await system.sink.waitFor(before + 1)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    const delivered = system.sink.messages.slice(before)
    expect(delivered.map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
      ['postmaster@example.org'],
    ])
    expect(delivered[0]?.data.toString('latin1')).toMatch(/^Resent-To: postmaster@example\.org\r$/m)
  })

  test('keeps what it could not hand over', async () => {
    const { id } = await keep('kept again', GTUBE)
    await system.relay.shut()
    const failed = await quarantine('release', id)
    await system.relay.open()
    expect(failed.code).toBe(1)
    expect((await list()).map((entry) => entry.id)).toContain(id)
  })

  test.each([['../../etc/passwd'], ['nonexistent01'], ['%2e%2e'], ['-']])(
    'does not take %s for an id',
    async (id) => {
      const { code, stdout, stderr } = await quarantine('show', id)
      expect({ code, stdout }).toEqual({ code: expect.any(Number), stdout: '' })
      expect(code).toBeGreaterThan(0)
      expect(stderr).toMatch(/^ecluse: [^\n]+\n$/)
    },
  )
})
