import { afterEach, expect, test } from '@jest/globals'
import { freePort, REDIS_FAULTS, startFakeRedis, type FakeRedis } from '@ecluse/fixtures'
import {
  onRelease,
  releaseAll,
  sendMail,
  startTestDaemon,
  tempFolder,
  until,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const xforward = 'ADDR=192.0.2.7 IDENT=4QX1'
const to = ['a@example.org', 'b@example.org']

async function start(port: number): Promise<TestDaemon> {
  return await startTestDaemon({
    ledger: { directory: await tempFolder(), ttlMs: 3_600_000 },
    redis: {
      place: { kind: 'standalone', address: { host: '127.0.0.1', port } },
      prefix: 'test',
      timeoutMs: 200,
      ledger: true,
    },
  })
}

async function fakeRedis(): Promise<FakeRedis> {
  const fake = await startFakeRedis()
  onRelease(() => fake.close())
  return fake
}

const linesAbout = (kit: TestDaemon): unknown[] =>
  kit.lines
    .filter(({ msg }) => String(msg).startsWith('redis'))
    .map(({ level, msg, reason }) => [level, msg, reason])

test('a Redis that is down is no reason not to start, nor to refuse mail; the log says it once', async () => {
  const kit = await start(await freePort())
  for (const ident of ['1', '2', '3']) {
    const { dot } = await sendMail(await kit.greet(), { to, xforward: `IDENT=${ident}` })
    expect(dot).toEqual(to.map(() => expect.stringMatching(/^250 2\.0\.0 from MTA/)))
  }
  expect(kit.daemon.notReady()).toEqual([])
  expect(linesAbout(kit)).toEqual([
    ['warn', 'redis does not answer: mail goes on without it', 'ECONNREFUSED'],
  ])
  expect((await kit.metrics()).get('ecluse_redis_up')).toBe(0)
})

test.each(REDIS_FAULTS.map((fault) => [fault]))(
  'with a Redis that answers with "%s" every message is delivered once',
  async (fault) => {
    const fake = await fakeRedis()
    const kit = await start(fake.port)
    expect((await kit.metrics()).get('ecluse_redis_up')).toBe(1)
    fake.misbehave(fault)
    const first = await sendMail(await kit.greet(), { to, xforward })
    const again = await sendMail(await kit.greet(), { to, xforward })
    expect(first.dot).toEqual(to.map(() => expect.stringMatching(/^250 2\.0\.0 from MTA/)))
    expect(again.dot).toEqual(first.dot)
    expect(kit.mta.transactions).toHaveLength(1)
  },
)

test('what Redis refuses after 10025 has taken the mail is answered 250 all the same', async () => {
  const fake = await fakeRedis()
  const kit = await start(fake.port)
  fake.misbehave('oom')
  for (const ident of ['1', '2', '3', '4']) {
    const { dot } = await sendMail(await kit.greet(), { to, xforward: `IDENT=${ident}` })
    expect(dot[0]).toMatch(/^250 2\.0\.0 from MTA/)
  }
  await until(() => linesAbout(kit).length === 2)
  expect(linesAbout(kit)).toEqual([
    ['info', 'redis answers', undefined],
    ['warn', 'redis takes nothing new: what it has is used', 'OOM'],
  ])
})
