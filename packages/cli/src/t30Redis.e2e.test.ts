import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  connectLmtp,
  describeWith,
  startEcluse,
  startEvilMta,
  startRedis,
  tellRedis,
  type EcluseService,
  type EvilMta,
  type LmtpClient,
  type RedisService,
} from '@ecluse/fixtures'

const PROGRAM = join(import.meta.dirname, '../bin/ecluse.js')
const LANES = 10
const closers: (() => Promise<unknown>)[] = []
let redis: RedisService
let mta: EvilMta

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function instance(): Promise<EcluseService> {
  const yaml = `localDomains: [example.org]
scanners: [{ kind: test }]
redis: { url: "${redis.url}", secret: sixteen characters, timeout: 5s }`
  const { address } = mta
  const ecluse = await startEcluse({ yaml, reinjectPort: 'port' in address ? address.port : 0 })
  closers.push(ecluse.close)
  return ecluse
}

/** The reply to the message with this queue id; '' where there was none. */
async function send(to: EcluseService, ident: string): Promise<string> {
  let client: LmtpClient
  try {
    client = await connectLmtp({ host: '127.0.0.1', port: to.lmtpPort })
  } catch {
    // It was killed.
    return ''
  }
  try {
    await client.reply()
    await client.ask('LHLO mail.example.org')
    await client.ask(`XFORWARD ADDR=192.0.2.7 IDENT=${ident}`)
    client.send('MAIL FROM:<marie@example.com>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n')
    const data = (await client.replies(3)).at(-1) ?? ''
    // Deferred: content would be taken for commands.
    if (!data.startsWith('354')) return data
    client.send(`Subject: ${ident}\r\n\r\nAt noon?\r\n.\r\n`)
    return await client.reply()
  } finally {
    client.destroy()
  }
}

/** How many whole copies 10025 has of each message. */
function copies(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { data, complete } of mta.transactions) {
    const ident = /^Subject: (\w+)/m.exec(data.toString('latin1'))?.[1]
    if (complete && ident !== undefined) counts.set(ident, (counts.get(ident) ?? 0) + 1)
  }
  return counts
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return await new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err })
    })
  })
}

describeWith({ describe, beforeAll }, 'redis-server')('instances that share a Redis', () => {
  beforeEach(async () => {
    redis = await startRedis()
    closers.push(redis.close)
    mta = await startEvilMta()
    closers.push(async () => await mta.close())
  })

  test('a retry that reaches another instance gets the stored reply, also after the first was killed', async () => {
    const [first, second] = await Promise.all([instance(), instance()])
    const reply = await send(first, 'AAA1')
    expect(reply).toMatch(/^250 2\.0\.0 from MTA/)
    expect(await send(second, 'AAA1')).toBe(reply)
    process.kill(first.pid, 'SIGKILL')
    expect(await send(second, 'AAA1')).toBe(reply)
    expect(copies()).toEqual(new Map([['AAA1', 1]]))
    expect(second.messages()[0]).toMatchObject({ recipients: [{ replayed: true }] })
    expect((await second.get('/metrics')).body).toMatch(/^ecluse_redis_up 1$/m)
  })

  test('one that is killed under load doubles nothing that it has recorded, and loses nothing', async () => {
    const [first, second] = await Promise.all([instance(), instance()])
    const idents = Array.from({ length: 200 }, (_, number) => `L${number}`)
    const replies = new Map<string, string>()
    const waiting = [...idents]
    const lane = async (): Promise<void> => {
      for (let ident = waiting.shift(); ident !== undefined; ident = waiting.shift()) {
        replies.set(ident, await send(first, ident))
        if (replies.size === 80) process.kill(first.pid, 'SIGKILL')
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    const lost = idents.filter((ident) => !replies.get(ident)?.startsWith('250'))
    expect(lost.length).toBeGreaterThan(0)
    const before = copies()
    const retries = new Map<string, string>()
    const left = [...lost]
    const retryLane = async (): Promise<void> => {
      for (let ident = left.shift(); ident !== undefined; ident = left.shift()) {
        retries.set(ident, await send(second, ident))
      }
    }
    await Promise.all(Array.from({ length: LANES }, retryLane))
    const again = lost.map((ident) => retries.get(ident) ?? '')
    // Those that the first one was at when it was killed: they stay its own for as long as an attempt may last.
    const held = lost.filter((_, index) => again[index]?.startsWith('451'))
    expect(again.filter((reply) => !/^(?:250|451) /.test(reply))).toEqual([])
    expect(held.length).toBeLessThanOrEqual(LANES)
    expect([...copies()].filter(([, count]) => count > 1)).toEqual([])
    // As when that time is over.
    const script = `for _, key in ipairs(redis.call('KEYS', '*:turns')) do redis.call('DEL', key) end return redis.status_reply('OK')`
    await tellRedis(redis.port, `EVAL "${script}" 0`)
    for (const ident of held) expect(await send(second, ident)).toMatch(/^250 /)
    const after = copies()
    expect(idents.filter((ident) => !after.has(ident))).toEqual([])
    // 10025 had taken it, and the kill came before that was recorded.
    const doubled = idents.filter((ident) => (after.get(ident) ?? 0) > 1)
    expect(doubled.filter((ident) => !held.includes(ident) || !before.has(ident))).toEqual([])
  })

  test('mail goes on while it is stopped, killed, and back', async () => {
    const ecluse = await instance()
    let number = 0
    const sendSome = async (): Promise<void> => {
      const replies = await Promise.all(
        Array.from({ length: 20 }, async () => await send(ecluse, `M${number++}`)),
      )
      expect(replies.filter((reply) => !reply.startsWith('250 '))).toEqual([])
    }
    await sendSome()
    process.kill(redis.pid, 'SIGSTOP')
    await sendSome()
    process.kill(redis.pid, 'SIGKILL')
    await sendSome()
    expect((await ecluse.get('/readyz')).status).toBe(200)
    const { port } = redis
    await redis.close()
    redis = await startRedis({ port })
    closers.push(redis.close)
    await sendSome()
    expect([...copies().values()].filter((count) => count !== 1)).toEqual([])
    const told = ecluse.log().filter(({ msg }) => msg?.startsWith('redis'))
    expect(told.slice(0, 2).map(({ level }) => level)).toEqual(['info', 'warn'])
  })

  test('cache counts and removes what is there, and says where Redis is when it is not', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ecluse-cache-'))
    closers.push(async () => await rm(folder, { recursive: true }))
    const file = join(folder, 'ecluse.yaml')
    await writeFile(file, `localDomains: [example.org]\nredis: { url: "${redis.url}" }\n`)
    for (const key of ['clamav:1.4:0:{a}', 'clamav:1.4:0:{b}', 'rspamd:3:0:{a}'])
      await tellRedis(redis.port, `SET ecluse:v1:${key} value`)
    const where = `127.0.0.1:${redis.port}`
    const stats = await run('cache', 'stats', '--config', file)
    expect(stats).toMatchObject({ code: 0, err: '' })
    expect(stats.out.replace(/all of Redis: [\d.]+ MiB/, 'MEMORY')).toBe(
      `        2  clamav  1.4\n        1  rspamd  3\n        3  verdicts under "ecluse" in ${where}; MEMORY\n`,
    )
    expect(await run('cache', 'purge', '--digest', 'a', '--config', file)).toEqual({
      code: 0,
      err: '',
      out: `2 verdicts removed from ${where}; instances may still have some in memory\n`,
    })
    expect((await run('cache', 'clear', '--config', file)).code).toBe(2)
    await redis.close()
    expect(await run('cache', 'stats', '--config', file)).toEqual({
      code: 1,
      out: '',
      err: `ecluse: redis: ${where}: ECONNREFUSED (start it, or correct where it is: redis)\n`,
    })
    await writeFile(file, 'localDomains: [example.org]\n')
    expect(await run('cache', 'stats', '--config', file)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^ecluse: redis is not configured/),
    })
  })
})
