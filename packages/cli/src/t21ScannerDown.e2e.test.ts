import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  mailDate,
  startClamd,
  startMailSystem,
  type ClamdService,
  type EcluseMessageLine,
  type MailSystem,
} from '@ecluse/fixtures'

const submission = (subject: string) => ({
  mailFrom: 'marie@example.net',
  recipients: ['paul@example.org'],
  data: `Date: ${mailDate()}
From: Marie Duval <marie@example.net>
To: Paul Lefort <paul@example.org>
Subject: ${subject}
Message-ID: <${subject.replace(/\W/g, '.')}@example.net>

Hello Paul
`.replaceAll('\n', '\r\n'),
})

const verdicts = ({ scanners }: EcluseMessageLine): string[] =>
  scanners.map(({ name, verdict }) => `${name} ${verdict}`)

async function metric({ ecluse }: MailSystem, name: string): Promise<number> {
  const { body } = await ecluse().get('/metrics')
  const line = body.split('\n').find((candidate) => candidate.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1))
}

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
)('a clamd that is killed, and a second one', () => {
  let system: MailSystem
  let first: ClamdService
  let second: ClamdService
  beforeAll(async () => {
    ;[first, second] = await Promise.all([startClamd(), startClamd()])
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners:
  - { name: first, kind: clamd, address: '127.0.0.1:${first.port}', breaker: { failures: 2, retryAfter: 1s } }
  - { name: second, kind: clamd, address: '127.0.0.1:${second.port}', backupFor: first }`,
    })
  }, 120_000)
  afterAll(async () => {
    await system?.close()
    await first?.close()
    await second?.close()
  })

  const openLines = (): number =>
    system
      .ecluse()
      .log()
      .filter(({ msg }) => msg?.includes('circuit open')).length

  test('the first one looks as long as it lives', async () => {
    const { line } = await system.pass(submission('both live'))
    expect(verdicts(line)).toEqual(['first clean'])
  })

  test('the second one looks when it is dead, and the dead one is soon left alone', async () => {
    const { port } = first
    process.kill(first.pid, 'SIGKILL')
    await first.close()
    for (const subject of ['dead one', 'dead two', 'dead three', 'dead four']) {
      const { line, delivered } = await system.pass(submission(subject))
      expect(verdicts(line)).toEqual(['first error', 'second clean'])
      expect(delivered[0]?.data.toString('latin1')).toMatch(
        /^X-Virus-Scanned: ecluse at \S+ \(backup second\)\r\nX-Virus-Status: Clean\r$/m,
      )
    }
    expect(openLines()).toBe(1)
    expect(await metric(system, 'ecluse_scanner_circuit_open{scanner="first"}')).toBe(1)
    expect((await system.ecluse().get('/readyz')).status).toBe(200)
    first = await startClamd({ port })
  })

  test('the first one is asked again by itself when it is back', async () => {
    let line: EcluseMessageLine
    let count = 0
    do {
      ;({ line } = await system.pass(submission(`back ${count++}`)))
    } while (verdicts(line).includes('first error'))
    expect(verdicts(line)).toEqual(['first clean'])
    expect(await metric(system, 'ecluse_scanner_circuit_open{scanner="first"}')).toBe(0)
    expect(
      system
        .ecluse()
        .log()
        .filter(({ msg }) => msg?.includes('circuit closed')),
    ).toHaveLength(1)
    expect(openLines()).toBe(1)
  }, 60_000)
})

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
)('a message at which clamd hangs', () => {
  let system: MailSystem
  let clamd: ClamdService
  beforeAll(async () => {
    clamd = await startClamd()
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners: [{ kind: clamd, address: '127.0.0.1:${clamd.port}', timeout: 1s }]
limits: { scanFailures: 2 }`,
    })
  }, 120_000)
  afterAll(async () => {
    await system?.close()
    await clamd?.close()
  })

  test('is delivered as unchecked after so many tries of Postfix, the others as clean', async () => {
    const ecluse = system.ecluse()
    const linesOf = (queueId: string): EcluseMessageLine[] =>
      ecluse.messages().filter((line) => line.queueId === queueId)
    const lineOf = async (queueId: string, number: number): Promise<EcluseMessageLine | undefined> => {
      await ecluse.waitForMessage(() => linesOf(queueId).length >= number)
      return linesOf(queueId)[number - 1]
    }
    let bad = ''
    for (let attempt = 1; attempt <= 2; attempt++) {
      process.kill(clamd.pid, 'SIGSTOP')
      if (attempt === 1) bad = await system.send(submission('hangs'))
      else await system.postfix.flush()
      expect(await lineOf(bad, attempt)).toMatchObject({
        scanners: [{ name: 'clamd', verdict: 'timeout' }],
        recipients: [{ reply: expect.stringMatching(/^451 4\.7\.1 /) }],
      })
      process.kill(clamd.pid, 'SIGCONT')
      const good = await system.send(submission(`good ${attempt}`))
      expect(await lineOf(good, 1)).toMatchObject({ category: 'clean' })
      await system.postfix.waitForQueue((queue) => queue.every((entry) => entry.queue_name === 'deferred'))
    }
    await system.postfix.flush()
    expect(await lineOf(bad, 3)).toMatchObject({
      category: 'unchecked',
      scanners: [{ name: 'clamd', verdict: 'error' }],
    })
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    expect(system.sink.messages).toHaveLength(3)
    expect(system.sink.messages.at(-1)?.data.toString('latin1')).toContain(
      'X-Virus-Status: Unchecked (scanner failed)\r\n',
    )
    expect(await metric(system, 'ecluse_scans_given_up_total{scanner="clamd"}')).toBe(1)
  }, 60_000)
})
