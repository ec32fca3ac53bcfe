import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { loadConfig, type LoadedConfig } from './loadConfig.ts'
import { describeError } from './terminal.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const LOCAL = 'localDomains: [example.org]\n'
const CLAMD = 'scanners: [{ kind: clamd }]\n'

async function tryLoad(source: string | Buffer, env: Record<string, string> = {}) {
  const file = path.join(folder, 'ecluse.yaml')
  writeFileSync(file, source)
  return await loadConfig(file, { kinds: SAMPLE_KINDS, env, hostname: 'mail.example.org' })
}

async function load(source: string, env: Record<string, string> = {}): Promise<LoadedConfig> {
  const loaded = await tryLoad(source, env)
  if ('errors' in loaded) throw new Error(loaded.errors.map(describeError).join('\n'))
  return loaded
}

async function errorsOf(file: string): Promise<string[]> {
  const loaded = await loadConfig(file, { kinds: SAMPLE_KINDS, env: {}, hostname: 'mail.example.org' })
  return 'errors' in loaded
    ? loaded.errors.map((error) => describeError(error).replaceAll(folder, 'FOLDER'))
    : []
}

describe('a file that cannot be read', () => {
  test('is missing', async () => {
    expect(await errorsOf(path.join(folder, 'none.yaml'))).toEqual([
      'FOLDER/none.yaml: no such file (give the path of the configuration with --config FILE)',
    ])
  })

  test('is a folder', async () => {
    expect(await errorsOf(folder)).toEqual(['FOLDER: is a folder, not a file (name the file in it)'])
  })

  test('is below a file', async () => {
    await tryLoad(LOCAL)
    expect(await errorsOf(path.join(folder, 'ecluse.yaml', 'x'))).toEqual([
      'FOLDER/ecluse.yaml/x: no such file (a part of the path is a file)',
    ])
  })

  test.each([
    ['not UTF-8', Buffer.from('# caf\xe9\n', 'latin1'), ':1:6: not UTF-8 text (save it as UTF-8)'],
    ['too large', `${LOCAL}${'#'.repeat(16 * 1024 * 1024)}`, ': larger than 16MiB (is this the right file?)'],
    ['nested too deeply', '['.repeat(100_000), ': nested too deeply'],
    ['nested too deeply in braces', '{a: '.repeat(50_000), ': nested too deeply'],
  ])('is %s', async (_, source, message) => {
    await tryLoad(source)
    const errors = await errorsOf(path.join(folder, 'ecluse.yaml'))
    expect(errors).toEqual([`FOLDER/ecluse.yaml${message}`])
  })
})

test('millions of values are not read', async () => {
  const file = path.join(folder, 'ecluse.yaml')
  writeFileSync(file, `${LOCAL}a: [${'0,'.repeat(1_250_000)}]`)
  expect(await errorsOf(file)).toEqual([
    'FOLDER/ecluse.yaml:2: too many values (put long lists into list files: file:PATH)',
  ])
}, 60_000)

describe('what is read', () => {
  test('is whole with localDomains alone', async () => {
    const { config } = await load(LOCAL)
    expect(config).toMatchObject({
      hostname: 'mail.example.org',
      listen: [{ protocol: 'lmtp', address: { host: '127.0.0.1', port: 10_024 }, mode: 0o660 }],
      reinject: { protocol: 'smtp', address: { host: '127.0.0.1', port: 10_025 }, tls: { mode: 'off' } },
      policy: {
        tagLevel: -999,
        tag2Level: 6.2,
        killLevel: 15,
        destiny: { virus: 'discard', oversized: 'reject' },
      },
      limits: { messageSize: 52_428_800, deadline: 300_000 },
    })
  })

  test('is the same with a byte order mark and CRLF', async () => {
    const { config } = await load('localDomains: [example.org]\nhostname: a.example.org\n')
    const other = await load('\ufefflocalDomains: [example.org]\r\nhostname: a.example.org\r\n')
    expect(other.config).toEqual(config)
  })

  test("keeps a kind's own options apart, with its defaults", async () => {
    const { config } = await load(`${LOCAL}scanners: [{ kind: rspamd, flavour: hot, maxSize: 2MiB }]\n`)
    expect(config.scanners).toEqual([
      {
        name: 'rspamd',
        kind: 'rspamd',
        timeout: 30_000,
        onError: 'pass',
        maxSize: 2_097_152,
        breaker: { failures: 5, retryAfter: 30_000 },
        options: { url: 'http://127.0.0.1:11333', flavour: 'hot' },
      },
    ])
  })

  // Where each of them is looked for in the whole file, these take minutes.
  test.each([
    ['lines that are nothing', `localDomains: [\n  ]\nx\n${'6\n'.repeat(40_000)}`, 'not YAML'],
    ['aliases', `localDomains: [a]\nx: &x 1\ny: [${'*x,'.repeat(9000)}]`, 'too many aliases'],
    [
      'aliases without an anchor',
      `localDomains: [a]\ny: [${'*x,'.repeat(10_000)}]`,
      'no &anchor of this name',
    ],
    ['aliases of many anchors', `x: [${'&a 1,*a,'.repeat(10_001)}]`, 'too many aliases'],
  ])('tells at once what is wrong with thousands of %s', async (_, source, message) => {
    const file = path.join(folder, 'ecluse.yaml')
    writeFileSync(file, source)
    expect((await errorsOf(file))[0]).toContain(message)
  })

  test('shares lists by aliases', async () => {
    const { config } = await load('localDomains: &ours [example.org]\nnetworks: [10.0.0.0/8]\n')
    expect(config.networks).toEqual(['10.0.0.0/8'])
  })

  test('cannot be changed, nor what is in it', async () => {
    const { config } = await load(`${LOCAL}${CLAMD}`)
    const unfrozen: unknown[] = []
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      if (!Object.isFrozen(value)) unfrozen.push(value)
      Object.values(value).forEach(visit)
    }
    visit(config)
    expect(unfrozen).toEqual([])
  })

  test('does not touch the prototype of anything', async () => {
    await tryLoad('__proto__: { polluted: true }\nlocalDomains: []\n')
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
  })
})

describe('a secret', () => {
  const rspamd = (password: string): string =>
    `${LOCAL}scanners: [{ kind: rspamd, password: '${password}' }]\n`
  const passwordOf = ({ config }: LoadedConfig): unknown =>
    (config.scanners[0]?.options as { readonly password?: string } | undefined)?.password

  test.each([
    ['itself', 'hunter2', 'hunter2'],
    ['from the environment', '${SECRET}', 's3cr3t'],
    ['from the environment, in part', 'a-${SECRET}-${SECRET}', 'a-s3cr3t-s3cr3t'],
  ])('is read, %s', async (_, written, expected) => {
    expect(passwordOf(await load(rspamd(written), { SECRET: 's3cr3t' }))).toBe(expected)
  })

  test.each([
    ['s3cr3t', 's3cr3t'],
    ['s3cr3t\n', 's3cr3t'],
    ['s3cr3t\r\n', 's3cr3t'],
    [' s3cr3t ', ' s3cr3t '],
  ])('is read from a file that holds %j', async (content, expected) => {
    writeFileSync(path.join(folder, 'password'), content)
    expect(passwordOf(await load(rspamd('file:password')))).toBe(expected)
    expect(passwordOf(await load(rspamd(`file:${folder}/password`)))).toBe(expected)
  })

  test('is not expanded a second time', async () => {
    expect(passwordOf(await load(rspamd('${A}'), { A: '${B}', B: 'x' }))).toBe('${B}')
    expect(passwordOf(await load(rspamd('${A}'), { A: 'file:/etc/passwd' }))).toBe('file:/etc/passwd')
  })

  test.each([
    ['larger than 64KiB', 'file:large'],
    ['is not a file', 'file:.'],
    ['does not exist', 'file:none'],
    ['the environment has no EMPTY', '${EMPTY}'],
    ['the environment has no toString', '${toString}'],
  ])('is refused: %s', async (message, written) => {
    writeFileSync(path.join(folder, 'large'), 'x'.repeat(64 * 1024 + 1))
    const loaded = await tryLoad(rspamd(written), { EMPTY: '' })
    expect('errors' in loaded && loaded.errors.map(describeError).join()).toContain(message)
  })

  test('is not waited for at a named pipe', async () => {
    execFileSync('mkfifo', [path.join(folder, 'pipe')])
    const loaded = await tryLoad(rspamd('file:pipe'))
    expect('errors' in loaded && loaded.errors.map(describeError).join()).toContain('is not a file')
  })

  test('never stands in an error', async () => {
    const loaded = await tryLoad(`${LOCAL}redis: { url: 'http://:hunter2@127.0.0.1' }\n`)
    const lines = 'errors' in loaded ? loaded.errors.map(describeError) : []
    expect(lines).toHaveLength(1)
    expect(lines.join()).not.toContain('hunter2')
  })
})

describe('the effective configuration', () => {
  const source = `${LOCAL}scanners:
  - { kind: clamd, address: 127.0.0.1:3310, maxSize: 25MiB }
  - { name: r, kind: rspamd, onError: unchecked, password: 'file:password' }
policy: { subjectTag: '', destiny: { spam: reject } }
listen: [{ address: 'unix:/run/ecluse/lmtp.sock', mode: '0666' }, { address: '[::1]:10024', protocol: smtp }]
reinject: { tls: { mode: may } }
cache: {}
quarantine: { keep: 2h }
`

  test('reads as the same configuration, and as itself', async () => {
    writeFileSync(path.join(folder, 'password'), 'x')
    const first = await load(source)
    const printed = first.effectiveYaml()
    const second = await load(printed)
    expect(second.config).toEqual(first.config)
    expect(second.effectiveYaml()).toBe(printed)
  })

  test('holds every default', async () => {
    const printed = (await load(LOCAL)).effectiveYaml()
    expect(printed).toContain('deadline: 300s')
    expect(printed).toContain('alertHeader: X-Ecluse-Alert')
  })

  test('shows no secret', async () => {
    const loaded = await load(
      `${LOCAL}redis: { url: 'redis://:hunter2@127.0.0.1/0' }
scanners: [{ kind: rspamd, password: hunter3 }, { name: b, kind: rspamd, password: '\${SECRET}' }]\n`,
      { SECRET: 'hunter4' },
    )
    const printed = loaded.effectiveYaml()
    expect(printed).not.toContain('hunter')
    expect(printed).toContain('redis://***')
    expect(printed).toContain('password: "***"')
    expect(printed).toContain('password: ${SECRET}')
  })
})

test('a relative path of a secret starts from the folder of the file', async () => {
  mkdirSync(path.join(folder, 'secrets'))
  writeFileSync(path.join(folder, 'secrets', 'redis'), 'redis://127.0.0.1:6379/1\n')
  const { config } = await load(`${LOCAL}redis: { url: file:secrets/redis }\n`)
  expect(config.redis?.url).toBe('redis://127.0.0.1:6379/1')
})
