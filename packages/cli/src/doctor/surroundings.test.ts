import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { chmod, mkdtemp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { freePort, startEvilMta, type EvilMtaOptions } from '@ecluse/fixtures'
import { complaints, sampleConfig } from '../../test/samplePostfix.ts'
import { reinjectOptions } from '../wiring.ts'
import { checkNextHop } from './checkNextHop.ts'
import { checkPlaces } from './checkPlaces.ts'
import { checkPostfix } from './checkPostfix.ts'
import { checkDaemon, sumOf } from './daemonHttp.ts'

let directory = ''
const servers: Server[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-doctor-'))
})

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  await rm(directory, { recursive: true })
})

describe('postconf', () => {
  test('that is not there is no failure', async () => {
    const { diagnoses, postfix } = await checkPostfix(sampleConfig(), { folders: [directory] })
    expect(postfix).toBeUndefined()
    expect(complaints(diagnoses)).toEqual(['! postfix'])
    expect(diagnoses[0]?.detail).toBe('postconf not found: not checked')
  })

  test.each([
    [
      'that fails is told in its own words',
      'echo "postconf: fatal: open main.cf" >&2; exit 1',
      'postconf: fatal: open main.cf',
    ],
    ['that says nothing is told too', 'exit 3', 'postconf: 3'],
    ['that never stops writing is stopped', 'exec yes', 'postconf: ERR_CHILD_PROCESS_STDIO_MAXBUFFER'],
  ])('%s', async (_, script, detail) => {
    const program = join(directory, 'postconf')
    await writeFile(program, `#!/bin/sh\n${script}\n`)
    await chmod(program, 0o755)
    const { diagnoses } = await checkPostfix(sampleConfig(), { folders: [directory, '/usr/bin', '/bin'] })
    expect(complaints(diagnoses)).toEqual(['✗ postfix'])
    expect(diagnoses[0]?.detail).toBe(detail)
  })
})

describe('folders', () => {
  let spool = ''
  let present = ''

  beforeEach(async () => {
    spool = await mkdtemp(join(tmpdir(), 'ecluse-spool-'))
    present = await mkdtemp(join(tmpdir(), 'ecluse-ledger-'))
  })

  afterEach(async () => {
    await rm(spool, { recursive: true })
    await rm(present, { recursive: true })
  })

  const places = (quarantine: string, ledger = present) =>
    sampleConfig({
      ledger: { directory: ledger },
      quarantine: { directory: quarantine },
      spool: { directory: spool },
      limits: { messageSize: '64KiB' },
    })

  test('that can be written are well, and stay as they are', async () => {
    expect(complaints(await checkPlaces(places(directory)))).toEqual([])
    expect(await readdir(directory)).toEqual([])
  })

  test.each([
    ['is missing', async () => join(directory, 'none'), '✗ quarantine'],
    [
      'is a file',
      async () => {
        await writeFile(join(directory, 'file'), '')
        return join(directory, 'file')
      },
      '✗ quarantine',
    ],
    [
      'is open to everybody',
      async () => {
        await mkdir(join(directory, 'open'))
        await chmod(join(directory, 'open'), 0o777)
        return join(directory, 'open')
      },
      '! quarantine',
    ],
  ])('one that %s is told', async (_, make, expected) => {
    expect(complaints(await checkPlaces(places(await make())))).toEqual([expected])
  })

  test('that of the ledger is looked at too', async () => {
    const missing = join(present, 'none')
    expect(complaints(await checkPlaces(places(directory, missing)))).toEqual(['✗ ledger'])
  })
})

describe('the daemon', () => {
  async function answering(status: number, body: string): Promise<{ host: string; port: number }> {
    const server = createServer((_, response) => void response.writeHead(status).end(body))
    servers.push(server.listen(0, '127.0.0.1'))
    await once(server, 'listening')
    return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  }

  test('that can take mail is well', async () => {
    expect(complaints([await checkDaemon(await answering(200, '{}'))])).toEqual([])
  })

  test('that cannot says why', async () => {
    const diagnosis = await checkDaemon(await answering(503, '{"ready":false,"reasons":["x"]}'))
    expect(diagnosis).toMatchObject({ level: 'wrong', detail: expect.stringContaining('"reasons":["x"]') })
  })

  test('that does not run may not have been started yet', async () => {
    const diagnosis = await checkDaemon({ host: '127.0.0.1', port: await freePort() })
    expect(diagnosis).toMatchObject({ level: 'warning', detail: expect.stringContaining('ECONNREFUSED') })
  })

  test('that talks without end is cut off', async () => {
    const diagnosis = await checkDaemon(await answering(200, 'x'.repeat(5 * 1024 * 1024)))
    expect(diagnosis).toMatchObject({ level: 'warning', detail: expect.stringContaining('too long') })
  })
})

describe('the next hop', () => {
  const XFORWARD = 'XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE'
  const ALL = ['PIPELINING', 'SIZE 0', '8BITMIME', 'DSN', 'SMTPUTF8', XFORWARD]
  const without = (keyword: string): string[] => ALL.filter((line) => !line.startsWith(keyword))

  async function ask(options: EvilMtaOptions): Promise<string[]> {
    const protocol = options.protocol ?? 'smtp'
    const mta = await startEvilMta(options)
    try {
      const config = sampleConfig({ reinject: { protocol, connectTimeout: '1s' } })
      const wired = await reinjectOptions(config.reinject, config.hostname)
      const diagnoses = await checkNextHop(config, { ...wired, address: mta.address })
      expect(mta.transactions).toEqual([])
      return complaints(diagnoses)
    } finally {
      await mta.close()
    }
  }

  test.each<readonly [what: string, extensions: readonly string[], expected: readonly string[]]>([
    ['all', ALL, []],
    ['no XFORWARD', without('XFORWARD'), ['✗ reinject extensions']],
    ['no DSN', without('DSN'), ['✗ reinject extensions']],
    ['no 8BITMIME', without('8BITMIME'), ['✗ reinject extensions']],
    ['no SMTPUTF8', without('SMTPUTF8'), ['! reinject extensions']],
    ['too little SIZE', [...without('SIZE'), 'SIZE 1000'], ['! reinject size']],
    ['SIZE without a limit', [...without('SIZE'), 'SIZE'], []],
  ])('that offers %s', async (_, extensions, expected) => {
    expect(await ask({ extensions })).toEqual(expected)
  })

  test('over LMTP is no Postfix: what it lacks is only told', async () => {
    expect(await ask({ protocol: 'lmtp', extensions: without('XFORWARD') })).toEqual([
      '! reinject extensions',
    ])
  })

  test('that is not there is told with the reason of the system', async () => {
    const address = `127.0.0.1:${await freePort()}`
    const config = sampleConfig({ reinject: { address } })
    const [diagnosis] = await checkNextHop(config, await reinjectOptions(config.reinject, config.hostname))
    expect(diagnosis).toMatchObject({ level: 'wrong', detail: expect.stringContaining('ECONNREFUSED') })
  })

  test('that refuses us is told', async () => {
    expect(await ask({ act: ({ stage }) => (stage === 'connect' ? '554 5.7.1 no' : undefined) })).toEqual([
      '✗ reinject',
    ])
  })
})

test.each([
  ['a_total', undefined, 6],
  ['a_total', 'k="x"', 1],
  ['a', undefined, 0],
  ['b', undefined, 7],
  ['c', undefined, 0],
])('the sum of %s with %j is %j', (name, label, sum) => {
  const metrics =
    '# TYPE a_total counter\na_total{k="x"} 1\na_total{k="y z"} 5\nb 7\nb_total 9\na_total{k="n"} NaN\n'
  expect(sumOf(metrics, name, label)).toBe(sum)
})
