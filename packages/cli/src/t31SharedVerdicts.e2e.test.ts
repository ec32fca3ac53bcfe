import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  EICAR,
  runEcluse,
  startClamd,
  startEcluse,
  startRedis,
  startSmtpSink,
  submit,
  tellRedis,
  type ClamdService,
  type EcluseMessageLine,
  type EcluseService,
  type RedisService,
  type SmtpSink,
} from '@ecluse/fixtures'

const SECRET = 'sixteen characters'
const closers: (() => Promise<unknown>)[] = []
let sink: SmtpSink
let clamd: ClamdService
let redis: RedisService

async function instance(): Promise<EcluseService> {
  const ecluse = await startEcluse({
    reinjectPort: sink.port,
    yaml: `localDomains: [example.org]
redis: { url: "${redis.url}", secret: ${SECRET}, timeout: 2s }
scanners:
  - { name: clamav, kind: clamd, address: 'unix:${clamd.socketPath}' }`,
  })
  closers.push(ecluse.close)
  return ecluse
}

let sent = 0

async function send(ecluse: EcluseService, body: string): Promise<EcluseMessageLine> {
  const ident = `S${sent++}`
  const data = `From: marie@example.net\r\nSubject: Lunch\r\n\r\n${body}\r\n`
  const before = [`XFORWARD ADDR=192.0.2.9 NAME=c.example.net HELO=c.example.net IDENT=${ident}`]
  const envelope = { mailFrom: 'marie@example.net', recipients: ['paul@example.org'], before }
  await submit({ port: ecluse.lmtpPort, protocol: 'lmtp', ...envelope, data })
  return await ecluse.waitForMessage(({ queueId }) => queueId === ident)
}

const scans = (): number => clamd.log().split(/instream\(\S+\): /).length - 1
const said = ({ category, scanners }: EcluseMessageLine): string =>
  `${category}${scanners.some((of) => 'cached' in of && of.cached === true) ? ', remembered' : ''}`

/** Verdicts, without the marks of those that are being made. */
const KEYS = `local keys = {} for _, key in ipairs(redis.call('KEYS', 'ecluse:v1:*')) do if not string.find(key, ':claim$') then keys[#keys + 1] = key end end`

/** Runs a script with the keys of all stored verdicts in `keys`; gives how many there are. */
async function onVerdicts(script: string): Promise<number> {
  const lua = `${KEYS} ${script} return redis.status_reply('OK ' .. #keys)`
  const reply = await tellRedis(redis.port, `EVAL "${lua}" 0`)
  return Number(/OK (\d+)/.exec(reply)?.[1])
}

/** They are written in the background. */
async function untilStored(ecluse: EcluseService, verdicts: number): Promise<void> {
  while ((await onVerdicts('')) < verdicts) await ecluse.get('/healthz')
}

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
  'redis-server',
)('two instances with one Redis', () => {
  beforeEach(async () => {
    ;[sink, clamd, redis] = await Promise.all([startSmtpSink(), startClamd(), startRedis()])
    closers.push(sink.close, clamd.close, redis.close)
  }, 120_000)
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })

  test('200 copies that come to both at once are one scan', async () => {
    const both = await Promise.all([instance(), instance()])
    const copies = Array.from({ length: 200 }, (_, number) => number)
    const lines: EcluseMessageLine[] = []
    const lane = async (ecluse: EcluseService): Promise<void> => {
      while (copies.pop() !== undefined) lines.push(await send(ecluse, 'At noon?'))
    }
    await Promise.all(
      Array.from({ length: 40 }, async (_, number) => await lane(both[number % 2] ?? both[0])),
    )
    // Two where the lock was not to be had in time.
    expect([1, 2]).toContain(scans())
    expect(lines.map(said).filter((line) => line === 'clean, remembered').length).toBeGreaterThanOrEqual(198)
    expect(sink.messages).toHaveLength(200)
  })

  test('a find of one is known to the other, until the signatures change', async () => {
    const [first, second] = await Promise.all([instance(), instance()])
    expect(said(await send(first, EICAR))).toBe('virus')
    await untilStored(first, 1)
    expect(said(await send(second, EICAR))).toBe('virus, remembered')
    expect(said(await send(first, 'a gondola'))).toBe('clean')
    await untilStored(first, 2)
    expect(said(await send(second, 'a gondola'))).toBe('clean, remembered')
    await clamd.addSignature('Test.Gondola', 'a gondola')
    expect(said(await send(second, 'a gondola'))).toBe('virus')
    expect(said(await send(first, 'a gondola'))).toMatch(/^virus/)
  })

  test('the digest in the log is the one that cache purge takes', async () => {
    const first = await instance()
    const { contentDigest } = await send(first, 'At noon?')
    await send(first, 'At one?')
    await untilStored(first, 2)
    expect(contentDigest).toMatch(/^[0-9a-f]{64}$/)
    const purge = ['cache', 'purge', '--digest', String(contentDigest), '--config', first.configFile]
    expect((await runEcluse(purge)).stdout).toMatch(/^1 verdicts removed /)
    expect(await onVerdicts('')).toBe(1)
  })

  test.each([
    ['cut', `redis.call('SET', key, string.sub(redis.call('GET', key), 1, 60))`],
    ['changed', `redis.call('SETRANGE', key, 20, 'XXXX')`],
    ['of another type', `redis.call('DEL', key) redis.call('LPUSH', key, 'x')`],
  ])('an entry that is %s is a miss', async (_, change) => {
    const [first, second] = await Promise.all([instance(), instance()])
    expect(said(await send(first, EICAR))).toBe('virus')
    await untilStored(first, 1)
    expect(await onVerdicts(`for _, key in ipairs(keys) do ${change} end`)).toBe(1)
    expect(said(await send(second, EICAR))).toBe('virus')
    expect(scans()).toBe(2)
  })

  test('the clean of one message, stored for another, is a miss', async () => {
    const [first, second] = await Promise.all([instance(), instance()])
    expect(said(await send(first, 'At noon?'))).toBe('clean')
    await untilStored(first, 1)
    expect(said(await send(first, EICAR))).toBe('virus')
    await untilStored(first, 2)
    // Each gets the value of the other: one of them is clean, and sealed by one of us.
    const swap = `local one, two = redis.call('GET', keys[1]), redis.call('GET', keys[2]) redis.call('SET', keys[1], two) redis.call('SET', keys[2], one)`
    expect(await onVerdicts(swap)).toBe(2)
    expect(said(await send(second, EICAR))).toBe('virus')
    expect(said(await send(second, 'At noon?'))).toBe('clean')
    expect(scans()).toBe(4)
  })
})
