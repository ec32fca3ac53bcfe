import { execFileSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  connectLmtp,
  describeWith,
  mailDate,
  startEcluse,
  startMailSystem,
  startSmtpSink,
  type EcluseService,
  type LmtpClient,
  type MailSystem,
  type SmtpSink,
} from '@ecluse/fixtures'

/** Beyond what it has open at the start. */
const SPARE_FILES = 12
const LINE = `${'x'.repeat(70)}\r\n`

let sink: SmtpSink
let ecluse: EcluseService
const clients: LmtpClient[] = []

/** Absent: it was not greeted. */
async function greeted(): Promise<LmtpClient | undefined> {
  const client = await connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
  clients.push(client)
  return (await client.reply()).startsWith('220') ? client : undefined
}

/** The code of the last reply; '' for a connection that was lost. */
async function send(client: LmtpClient | undefined, lines: number): Promise<string> {
  if (!client) return ''
  await client.ask('LHLO postfix.example.org')
  client.send('MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n')
  const [, , data = ''] = await client.replies(3)
  if (!data.startsWith('354')) return data.slice(0, 3)
  client.send(`Subject: x\r\n\r\n${LINE.repeat(lines)}.\r\n`)
  return (await client.reply()).slice(0, 3)
}

describe('without file descriptors', () => {
  beforeEach(async () => {
    sink = await startSmtpSink()
    ecluse = await startEcluse({
      yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]\nlimits: { drain: 5s }',
      reinjectPort: sink.port,
    })
  })

  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await ecluse.close()
    await sink.close()
  })

  test('nothing gets 2xx, the process lives, and all passes when there are some again', async () => {
    const files = readdirSync(`/proc/${ecluse.pid}/fd`).length
    execFileSync('prlimit', [`--pid=${ecluse.pid}`, `--nofile=${files + SPARE_FILES}`])
    const early = await Promise.all(Array.from({ length: 4 }, greeted))
    // Until the kernel gives it no more: what comes then is cut, or waits.
    let held = 0
    for (let last: LmtpClient | undefined = early[0]; last; held++) last = await greeted()
    expect(held).toBeLessThanOrEqual(SPARE_FILES)
    const large = 20_000
    const codes = await Promise.all(
      early.map(async (client, i) => await send(client, i % 2 === 0 ? 1 : large)),
    )
    expect(codes.filter((code) => code.startsWith('2'))).toEqual([])
    expect(codes).toEqual(['451', '451', '451', '451'])
    expect(sink.messages).toEqual([])
    expect(readdirSync(join(ecluse.directory, 'spool'))).toEqual([])
    for (const client of clients.splice(4)) client.destroy()
    const again = []
    for (const [i, client] of early.entries()) again.push(await send(client, i % 2 === 0 ? 1 : large))
    expect(again).toEqual(['250', '250', '250', '250'])
    await sink.waitFor(4)
    expect(ecluse.log().filter(({ msg }) => msg?.startsWith('internal error'))).toEqual([])
    expect(await ecluse.stop()).toBe(0)
  })
})

describeWith({ describe, beforeAll }, 'postfix')('a large mail while there is no room', () => {
  let system: MailSystem
  beforeAll(async () => {
    system = await startMailSystem({
      yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]\nlimits: { messageSize: 1MiB, spoolBytes: 1MiB }',
    })
  }, 60_000)
  afterAll(async () => {
    await system?.close()
  })

  const mail = (subject: string, lines: number) => ({
    mailFrom: 'marie@example.net',
    recipients: ['paul@example.org'],
    data: `From: marie@example.net\r\nDate: ${mailDate()}\r\nSubject: ${subject}\r\n\r\n${LINE.repeat(lines)}`,
  })

  test('stays with Postfix, small ones pass, and it is delivered once when there is some', async () => {
    const holder = await connectLmtp({ host: '127.0.0.1', port: system.ecluse().lmtpPort })
    await holder.reply()
    for (const line of ['LHLO x', 'MAIL FROM:<> SIZE=900000', 'RCPT TO:<b@example.org>', 'DATA']) {
      await holder.ask(line)
    }
    const before = system.sink.messages.length
    const queueId = await system.send(mail('large', 5000))
    const queued = await system.postfix.waitForQueue((queue) => queue[0]?.queue_name === 'deferred')
    expect(queued.map(({ queue_id: id }) => id)).toEqual([queueId])
    expect(queued[0]?.recipients[0]?.delay_reason).toContain('452 4.3.1 Insufficient system storage')
    await system.send(mail('small', 5))
    await system.sink.waitFor(before + 1)
    holder.destroy()
    await system.postfix.flush()
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    const subjects = system.sink.messages
      .slice(before)
      .map(({ data }) => /^Subject: (\w+)/m.exec(data.toString('latin1'))?.[1])
    expect(subjects).toEqual(['small', 'large'])
    expect(system.postfix.log()).not.toMatch(/status=bounced/)
  })
})
