import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  deliverQueued,
  describeWith,
  faultMail,
  runEcluse,
  startEcluse,
  startPostgres,
  startSmtpSink,
  tryOnce,
  type EcluseService,
  type PostgresService,
  type SmtpSink,
} from '@ecluse/fixtures'

const YAML = 'localDomains: [example.org]\nscanners: [{ kind: test }]'

let postgres: PostgresService
let url = ''
let sink: SmtpSink
let instances: EcluseService[] = []

async function start(keys = ''): Promise<EcluseService> {
  const instance = await startEcluse({
    yaml: YAML,
    reinjectPort: sink.port,
    quarantine: `store: postgres, url: '${url}'${keys}`,
  })
  instances.push(instance)
  return instance
}

/** A command of the quarantine that must succeed. @returns what it wrote */
async function quarantine({ configFile }: EcluseService, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runEcluse(['quarantine', ...args, '--config', configFile])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining('ecluse: ') })
  return stdout
}

interface Listed {
  readonly id: string
  readonly recipients: readonly string[]
  readonly states: readonly string[]
}

async function listed(instance: EcluseService): Promise<Listed[]> {
  return JSON.parse(await quarantine(instance, 'list', '--json')) as Listed[]
}

const ready = async (instance: EcluseService): Promise<number> => (await instance.get('/readyz')).status

/** Asks until it is so; only against a hang it ends with the test. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

describeWith({ describe, beforeAll }, 'postgres')('a quarantine in PostgreSQL', () => {
  beforeAll(async () => {
    postgres = await startPostgres()
  }, 120_000)
  afterAll(async () => {
    await postgres.close()
  })
  beforeEach(async () => {
    url = await postgres.createDatabase()
    sink = await startSmtpSink()
  })
  afterEach(async () => {
    for (const instance of instances.splice(0)) await instance.close()
    await sink.close()
  }, 120_000)

  test('is one for two daemons that start at the same time, and for their commands', async () => {
    const [first, second] = await Promise.all([start(), start()])
    const mail = faultMail('Q1', 'kept', { large: true })
    const replies = await tryOnce(mail, first.lmtpPort)
    expect([...replies.values()].map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250'])
    await tryOnce(faultMail('Q2', 'kept'), second.lmtpPort)

    const both = await listed(second)
    expect(both.map(({ recipients }) => recipients[0])).toEqual([
      'anna.Q2@example.org',
      'anna.Q1@example.org',
    ])
    const id = both[1]?.id ?? ''
    expect(await quarantine(second, 'show', id)).toContain('Subject: Q1')
    expect(await quarantine(second, 'show', id, '--raw')).toBe(mail.data.toString('latin1'))
    await quarantine(second, 'release', id, '--force', '--to', 'anna.Q1@example.org')
    expect(sink.messages.map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
      ['anna.Q1@example.org'],
    ])
    expect((await listed(first))[1]?.states).toEqual(['released', 'kept', 'kept'])
    await quarantine(second, 'delete', id)
    expect((await listed(first)).map(({ recipients }) => recipients[0])).toEqual(['anna.Q2@example.org'])
    expect(await quarantine(first, 'stats')).toContain('virus')
  }, 120_000)

  test('is asked by doctor, which says where it is and not the password', async () => {
    const instance = await start()
    const password = new URL(url).password
    const well = await runEcluse(['doctor', '--config', instance.configFile])
    expect(well.stdout).toMatch(/ quarantine: PostgreSQL 127\.0\.0\.1:\d+\/\w+: \d+\.\d+.*, answers in/)
    await postgres.kill()
    const away = await runEcluse(['doctor', '--config', instance.configFile])
    await postgres.restart()
    expect(away.code).toBe(1)
    expect(away.stdout).toContain('nobody listens there, ECONNREFUSED')
    expect(JSON.stringify([well, away, instance.log()])).not.toContain(password)
  }, 120_000)

  test.each(['K11', 'K12'])('has a message once whose daemon was killed at %s', async (point) => {
    const options = { yaml: YAML, reinjectPort: sink.port, quarantine: `store: postgres, url: '${url}'` }
    const environment = { ECLUSE_FAILPOINT: `${point}:SIGKILL`, ECLUSE_TEST: '1' }
    const killed = await startEcluse({ ...options, environment })
    instances.push(killed)
    const mail = faultMail(point, 'kept', { large: true })
    expect([...(await tryOnce(mail, killed.lmtpPort)).values()].join('')).toBe('')
    expect(await killed.exited).toBe(-1)
    // Before the commit it is not there, behind it as a whole: no half, whoever looks.
    expect((await listed(killed)).length).toBe(point === 'K11' ? 0 : 1)
    const next = await startEcluse({ ...options, directory: killed.directory })
    instances.push(next)
    await deliverQueued(mail, { port: next.lmtpPort })
    const [only, ...others] = await listed(next)
    expect(others).toEqual([])
    expect(await quarantine(next, 'show', only?.id ?? '', '--raw')).toBe(mail.data.toString('latin1'))
  })

  test('that is not there keeps a daemon from starting, with the cure', async () => {
    const instance = await start()
    await instance.stop()
    await postgres.kill()
    const { code, stderr } = await runEcluse(['serve', '--config', instance.configFile])
    await postgres.restart()
    expect(code).toBe(1)
    expect(stderr).toMatch(/PostgreSQL 127\.0\.0\.1:\d+\/\w+: nobody listens there, ECONNREFUSED/)
    expect(stderr).toContain('start it, or correct quarantine.url')
  })

  test.each(['is killed and comes back', 'stands still for a while'])(
    'under load, loses nothing and shows nothing half when the server %s',
    async (what) => {
      const [first, second] = await Promise.all([start(', timeout: 2s'), start(', timeout: 2s')])
      const ports = [first.lmtpPort, second.lmtpPort]
      const isKill = what.startsWith('is killed')
      const mails = Array.from({ length: 60 }, (_, index) =>
        faultMail(`L${index}`, 'kept', { large: index % 5 === 0 }),
      )
      const rest = mails.entries()
      let outage: Promise<void> | undefined
      const breakIt = async (): Promise<void> => {
        await (isKill ? postgres.kill() : postgres.pause())
        try {
          const replies = await tryOnce(faultMail('Away', 'kept'), first.lmtpPort)
          expect([...replies.values()].map((reply) => reply.slice(0, 3))).toEqual(['451', '451', '451'])
          await until(async () => (await ready(first)) === 503)
        } finally {
          await (isKill ? postgres.restart() : postgres.resume())
        }
      }
      const lane = async (): Promise<void> => {
        for (const [index, mail] of rest) {
          if (index === 20) outage = breakIt()
          await deliverQueued(mail, { port: ports[index % 2] ?? 0 })
        }
      }
      await Promise.all([lane(), lane(), lane(), lane()])
      await outage
      await until(async () => (await ready(first)) === 200 && (await ready(second)) === 200)

      const kept = await listed(second)
      const wanted = mails.map(({ recipients }) => recipients[0] ?? '')
      const found = kept.map(({ recipients }) => recipients[0] ?? '')
      expect(found.filter((each) => each.startsWith('anna.L')).toSorted()).toEqual(wanted.toSorted())
      expect(sink.messages).toEqual([])
      for (const mail of mails.filter((_, index) => index % 5 === 0)) {
        const of = kept.find(({ recipients }) => recipients[0] === mail.recipients[0])
        expect(await quarantine(first, 'show', of?.id ?? '', '--raw')).toBe(mail.data.toString('latin1'))
      }
    },
    300_000,
  )
})
