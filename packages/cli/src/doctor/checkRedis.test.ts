import { afterEach, expect, test } from '@jest/globals'
import { freePort, startFakeRedis, type FakeRedis, type RedisFault } from '@ecluse/fixtures'
import { sampleConfig } from '../../test/samplePostfix.ts'
import { checkRedis } from './checkRedis.ts'
import { formatDiagnosis } from './report.ts'

const fakes: FakeRedis[] = []

afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.close()
})

const SECRET = 'sixteen characters'
const info = (policy: string, max = 1_048_576): string =>
  `# Server\r\nredis_version:7.0.15\r\nused_memory:900000\r\nmaxmemory:${max}\r\nmaxmemory_policy:${policy}\r\n`

async function diagnose(
  text: string,
  { fault, secret = SECRET }: { fault?: RedisFault; secret?: string } = {},
): Promise<string> {
  const fake = await startFakeRedis(([name]) =>
    String(name) === 'INFO'
      ? `$${text.length}\r\n${text}\r\n`
      : String(name) === 'EVAL'
        ? ':1\r\n'
        : undefined,
  )
  fakes.push(fake)
  fake.misbehave(fault)
  const redis = { url: `redis://127.0.0.1:${fake.port}`, ...(secret && { secret }) }
  const lines = (await checkRedis(sampleConfig({ redis }))).map(formatDiagnosis).join('')
  return lines.replaceAll(String(fake.port), 'PORT').replace(/[\d.]+ ms/, 'N ms')
}

test('nothing is said where none is configured', async () => {
  expect(await checkRedis(sampleConfig({}))).toEqual([])
})

test.each([
  [
    'well',
    info('volatile-ttl'),
    {},
    '✓ redis: 127.0.0.1:PORT: Redis 7.0.15, answers in N ms, maxmemory 1 MiB, volatile-ttl\n',
  ],
  [
    'without a limit',
    info('noeviction', 0),
    {},
    '✓ redis: 127.0.0.1:PORT: Redis 7.0.15, answers in N ms, no maxmemory, noeviction\n',
  ],
  [
    'one that will be full',
    info('noeviction'),
    {},
    '! redis: 127.0.0.1:PORT: Redis 7.0.15, answers in N ms, maxmemory 1 MiB, noeviction: once full, it takes nothing new\n  → redis.conf: maxmemory-policy volatile-ttl\n',
  ],
  [
    'a replica',
    info('volatile-ttl'),
    { fault: 'readonly' as const },
    '✗ redis: 127.0.0.1:PORT: Redis 7.0.15, answers in N ms, maxmemory 1 MiB, volatile-ttl: it stores nothing: READONLY\n  → it is a replica: name the master, or its Sentinels: redis.sentinels\n',
  ],
  [
    'a user without rights',
    info('volatile-ttl'),
    { fault: 'noperm' as const },
    '✗ redis: 127.0.0.1:PORT: tells no version, answers in N ms: it stores nothing: NOPERM\n  → ACL: the rights of our user, as in deploy/README.md: Several instances, one Redis\n',
  ],
  [
    'no secret',
    info('volatile-ttl'),
    { secret: '' },
    '✓ redis: 127.0.0.1:PORT: Redis 7.0.15, answers in N ms, maxmemory 1 MiB, volatile-ttl\n! redis secret: redis.secret is not set: who can write to Redis can make a virus clean\n  → redis.secret: 16 characters or more, the same for all instances\n',
  ],
])('%s is told', async (_, text, how, expected) => {
  expect(await diagnose(text, how)).toBe(expected)
})

test('one that does not answer is told, and that mail goes on', async () => {
  const port = await freePort()
  const redis = { url: `redis://:hunter2@127.0.0.1:${port}`, secret: SECRET }
  const lines = (await checkRedis(sampleConfig({ redis }))).map(formatDiagnosis).join('')
  expect(lines).toBe(
    `✗ redis: 127.0.0.1:${port}: ECONNREFUSED: mail goes on without it\n  → start it, or correct where it is and the password: redis\n`,
  )
})
