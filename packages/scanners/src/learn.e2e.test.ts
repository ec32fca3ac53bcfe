import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Scanner } from '@ecluse/core'
import { describeWith, startRedis, startRspamd, startSpamd, testMessage } from '@ecluse/fixtures'
import { rspamd } from './rspamd.ts'
import { spamd } from './spamd.ts'

const NEVER = new AbortController().signal
const WORDS =
  'the minutes of our meeting about the new lock gates are attached please read them before tuesday evening'
const mail = (id: string): ReturnType<typeof testMessage> =>
  testMessage(
    `From: <bob@example.com>\r\nMessage-ID: <${id}@example.com>\r\nSubject: minutes ${id}\r\n\r\n${WORDS}\r\n`,
  )

describeWith({ describe, beforeAll }, 'spamd')('spamd', () => {
  const releases: (() => unknown)[] = []
  const start = async (learns: boolean): Promise<Scanner> => {
    const service = await startSpamd({ learns })
    releases.push(() => service.close())
    return spamd.create('sa', spamd.options.parse({ address: `127.0.0.1:${service.port}` }))
  }
  let scanner: Scanner
  let other: Scanner
  beforeAll(async () => {
    scanner = await start(true)
    other = await start(false)
  }, 120_000)
  afterAll(async () => {
    for (const release of releases.toReversed()) await release()
  })

  test('learns a message once', async () => {
    await expect(scanner.learn?.(mail('ham'), 'ham', NEVER)).resolves.toBe(true)
    await expect(scanner.learn?.(mail('ham'), 'ham', NEVER)).resolves.toBe(false)
    await expect(scanner.learn?.(mail('ham'), 'spam', NEVER)).resolves.toBe(true)
  }, 60_000)

  test('says so when it is not allowed to', async () => {
    await expect(other.learn?.(mail('ham'), 'ham', NEVER)).rejects.toMatchObject({
      code: 'E_SCANNER_PROTOCOL',
    })
  }, 60_000)
})

describeWith(
  { describe, beforeAll },
  'rspamd',
  'redis-server',
)('rspamd', () => {
  const releases: (() => unknown)[] = []
  let scanner: Scanner
  beforeAll(async () => {
    const redis = await startRedis()
    releases.push(() => redis.close())
    const service = await startRspamd({ redisPort: redis.port })
    releases.push(() => service.close())
    const { url, controller } = service
    scanner = rspamd.create('rspamd', rspamd.options.parse({ url, controller }))
    releases.push(() => scanner.close?.())
  }, 120_000)
  afterAll(async () => {
    for (const release of releases.toReversed()) await release()
  })

  test('learns a message once', async () => {
    await expect(scanner.learn?.(mail('ham'), 'ham', NEVER)).resolves.toBe(true)
    await expect(scanner.learn?.(mail('ham'), 'ham', NEVER)).resolves.toBe(false)
  }, 60_000)
})
