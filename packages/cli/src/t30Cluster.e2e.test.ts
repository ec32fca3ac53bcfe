import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  bodyDigest,
  connectLmtp,
  countCopies,
  deliverQueued,
  describeWith,
  faultMail,
  freePort,
  killInCluster,
  startEcluse,
  startHaproxy,
  startPostfix,
  startSmtpSink,
  submit,
  type EcluseService,
  type HaproxyService,
  type LmtpClient,
  type PostfixService,
  type SmtpSink,
} from '@ecluse/fixtures'

const YAML = 'localDomains: [example.org]\nscanners: [{ kind: test }]\nlimits: { drain: 20s }'
/** HAProxy and its clients are on one machine here: the header is what tells them apart. */
const LISTENER = 'proxies: [127.0.0.1], trust: [127.0.0.1, 127.0.0.21]'

let sink: SmtpSink
let instances: EcluseService[] = []
let haproxy: HaproxyService
const closers: (() => Promise<unknown>)[] = []

/** Two instances behind HAProxy, which also brings mail back, to a sink. */
async function startCluster(): Promise<void> {
  sink = await startSmtpSink()
  closers.push(sink.close)
  const first = { lmtpPort: await freePort(), httpPort: await freePort() }
  const second = { lmtpPort: await freePort(), httpPort: await freePort() }
  haproxy = await startHaproxy({ filters: [first, second], postfixPort: sink.port })
  closers.push(haproxy.close)
  const options = { yaml: YAML, reinjectPort: haproxy.reentryPort, listener: LISTENER }
  instances = []
  for (const ports of [first, second]) {
    const instance = await startEcluse({ ...options, ...ports })
    closers.push(instance.close)
    instances.push(instance)
  }
  await untilUp(2)
}

async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close()
}

/** Waits until HAProxy counts so many instances as ready. */
async function untilUp(count: number): Promise<void> {
  for (;;) {
    const rows = (await haproxy.admin('show stat')).split('\n').map((row) => row.split(','))
    const up = rows.filter(([proxy, name, ...rest]) => {
      return proxy === 'filters' && name?.startsWith('filter') && rest[15] === 'UP'
    })
    if (up.length === count) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function greeted(client: LmtpClient): Promise<LmtpClient> {
  expect(await client.reply()).toMatch(/^220 /)
  expect(await client.ask('LHLO mail.example.org')).toMatch(/^250/)
  return client
}

async function clientFrom(localAddress: string): Promise<LmtpClient> {
  const client = await connectLmtp({ host: '127.0.0.1', port: haproxy.filterPort, localAddress })
  closers.push(async () => client.destroy())
  return client
}

const messagesOf = (all: readonly EcluseService[]) => all.flatMap((instance) => instance.messages())

/** Runs the task for each item, at most so many at the same time. */
async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  const work = async (): Promise<void> => {
    for (const item of rest) await task(item)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

describeWith({ describe, beforeAll }, 'haproxy')('two instances behind HAProxy', () => {
  beforeEach(startCluster, 120_000)
  afterEach(closeAll, 120_000)

  test('know the Postfix that is behind it, and the client that Postfix names', async () => {
    const client = await greeted(await clientFrom('127.0.0.21'))
    await client.ask('XFORWARD NAME=mx.example.net ADDR=192.0.2.77 PROTO=ESMTP HELO=mx IDENT=4Abc')
    client.send('MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n')
    await client.replies(3)
    client.send('Subject: x\r\n\r\nx\r\n.\r\n')
    expect(await client.reply()).toMatch(/^250 2\.0\.0 from MTA/)
    expect(messagesOf(instances)).toMatchObject([{ client: '192.0.2.77', queueId: '4Abc' }])
    expect(sink.messages).toHaveLength(1)

    const stranger = await clientFrom('127.0.0.99')
    expect(await stranger.reply()).toBe('554 5.7.1 Access denied')
    const told = instances.flatMap((instance) => instance.log()).filter(({ msg }) => msg === 'connection')
    expect(told).toMatchObject([{ event: 'untrusted', peer: '127.0.0.99' }])
  })

  test('one that is killed under load loses nothing, and the other serves on', async () => {
    const mails = Array.from({ length: 300 }, (_, number) => faultMail(`K${number}`, 'delivered'))
    const [victim, survivor] = instances as [EcluseService, EcluseService]
    let done = 0
    await eachOf(mails, 10, async (mail) => {
      if (done === 100) process.kill(victim.pid, 'SIGKILL')
      done += 1
      await deliverQueued(mail, { port: haproxy.filterPort })
    })
    const { copies } = countCopies(sink)
    const counts = mails.flatMap(({ data, recipients }) =>
      recipients.map((recipient) => copies(bodyDigest(data), recipient)),
    )
    expect(counts.filter((count) => count === 0)).toEqual([])
    // Of what 10025 had taken when it was killed, the other one knows nothing: each had ten messages at most.
    expect(counts.filter((count) => count > 1).length).toBeLessThanOrEqual(10 * 3)
    expect(await victim.exited).toBe(-1)
    expect(victim.messages().length).toBeGreaterThan(0)
    expect(survivor.messages().length).toBeGreaterThanOrEqual(200 - 10)
  }, 180_000)

  test('one that is stopped under load refuses nobody after MAIL', async () => {
    const mails = Array.from({ length: 300 }, (_, number) => faultMail(`D${number}`, 'delivered'))
    const [leaving, staying] = instances as [EcluseService, EcluseService]
    const surprises: string[] = []
    let done = 0
    let stopped: Promise<number> | undefined
    await eachOf(mails, 10, async (mail) => {
      if (done === 100) stopped = leaving.stop()
      done += 1
      for (let tries = 0; !(await bring(mail, surprises)) && tries < 100; tries++);
    })
    expect(await stopped).toBe(0)
    // What the kernel has taken for us when we stop listening is closed by it: nothing has been said there.
    const harmless = /^(?:421 4\.3\.2 .* (?:as greeting|to (?:LHLO|XFORWARD|MAIL))|closed as greeting)$/
    expect(surprises.filter((surprise) => !harmless.test(surprise))).toEqual([])
    const { copies, pairs } = countCopies(sink)
    expect(mails.map(({ data, recipients }) => copies(bodyDigest(data), recipients[0] ?? ''))).toEqual(
      mails.map(() => 1),
    )
    expect(pairs()).toBe(900)
    expect([leaving, staying].map((instance) => instance.messages().length > 0)).toEqual([true, true])
  }, 180_000)

  test('one that is drained gets nothing more', async () => {
    const [drained, other] = instances as [EcluseService, EcluseService]
    expect((await haproxy.admin('set server filters/filter1 state drain')).trim()).toBe('')
    for (let number = 0; number < 6; number++) {
      await deliverQueued(faultMail(`N${number}`, 'delivered'), { port: haproxy.filterPort })
    }
    expect([drained.messages().length, other.messages().length]).toEqual([0, 6])
  })

  test('that are not ready answer all the same', async () => {
    await haproxy.admin('set server filters/filter1 health down')
    await haproxy.admin('set server filters/filter2 health down')
    await untilUp(0)
    const mail = faultMail('Q1', 'delivered')
    const { replies } = await deliverQueued(mail, { port: haproxy.filterPort })
    expect([...replies.values()].map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250'])
  })
})

describeWith(
  { describe, beforeAll },
  'haproxy',
  'redis-server',
)('two instances with one ledger', () => {
  test('killed in turn under load lose nothing, and send twice only what a kill kept from the ledger', async () => {
    const { messages, met, ...found } = await killInCluster({ kills: 2, clients: 6 })
    expect(found).toMatchObject({ kills: 2, lost: 0, wrongBodies: 0, unexplained: [] })
    expect(met).toBeLessThanOrEqual(2 * 6)
    expect(messages).toBeGreaterThan(met)
  }, 300_000)
})

/**
 * Brings a message over a connection of its own, with commands sent ahead as Postfix does. False: it was told to come
 * again. Notes what was not well.
 */
async function bring(
  { queueId, mailFrom, recipients, data }: ReturnType<typeof faultMail>,
  surprises: string[],
): Promise<boolean> {
  const client = await connectLmtp({ host: '127.0.0.1', port: haproxy.filterPort })
  const hears = async (code: string, where: string): Promise<boolean> => {
    const reply = await client.reply()
    if (reply.startsWith(code)) return true
    surprises.push(`${reply || 'closed'} ${where}`)
    return false
  }
  try {
    if (!(await hears('220', 'as greeting'))) return false
    client.send('LHLO mail.example.org\r\n')
    if (!(await hears('250', 'to LHLO'))) return false
    const rcpts = recipients.map((address) => `RCPT TO:<${address}>\r\n`)
    client.send(`XFORWARD IDENT=${queueId}\r\nMAIL FROM:<${mailFrom}>\r\n${rcpts.join('')}DATA\r\n`)
    for (const command of ['XFORWARD', 'MAIL']) {
      if (!(await hears('250', `to ${command}`))) return false
    }
    for (const _ of recipients) if (!(await hears('250', 'after MAIL'))) return false
    if (!(await hears('354', 'after MAIL'))) return false
    client.send(`${data.toString('latin1').replace(/^\./gm, '..')}.\r\n`)
    for (const _ of recipients) if (!(await hears('250', 'after the dot'))) return false
    return true
  } finally {
    client.destroy()
  }
}

const describePostfix = describeWith({ describe, beforeAll }, 'postfix')

describePostfix("Postfix's own list of next hops", () => {
  let postfix: PostfixService
  let ecluse: EcluseService

  beforeAll(async () => {
    sink = await startSmtpSink()
    const deadPort = await freePort()
    const lmtpPort = await freePort()
    postfix = await startPostfix({
      deliverTo: sink.port,
      filter: `127.0.0.1:${lmtpPort}`,
      mainCf: { content_filter: `ecluse:[127.0.0.1]:${deadPort}, [127.0.0.1]:${lmtpPort}` },
    })
    ecluse = await startEcluse({ yaml: YAML, reinjectPort: postfix.reentryPort, lmtpPort })
  }, 120_000)

  afterAll(async () => {
    await ecluse?.close()
    await postfix?.close()
    await sink?.close()
  })

  test('goes on to the next one when the first is dead', async () => {
    const mail = { mailFrom: 'a@example.net', recipients: ['b@example.org'], data: 'Subject: x\r\n\r\nx\r\n' }
    for (let number = 0; number < 5; number++) await submit({ ...mail, port: postfix.port })
    await sink.waitFor(5)
    await postfix.waitForQueue((queue) => queue.length === 0)
    expect(ecluse.messages()).toHaveLength(5)
    expect(postfix.log()).toMatch(/connect to 127\.0\.0\.1.*Connection refused/)
    expect(postfix.log()).not.toMatch(/status=(?:deferred|bounced)/)
  })
})
