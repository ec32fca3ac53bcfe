import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  startClamd,
  startMailSystem,
  startSpamd,
  type ClamdService,
  type MailSystem,
  type SinkMessage,
  type SpamdService,
  mailDate,
} from '@ecluse/fixtures'

let system: MailSystem
let clamd: ClamdService
let spamd: SpamdService

async function start(): Promise<void> {
  ;[clamd, spamd] = await Promise.all([startClamd(), startSpamd()])
  system = await startMailSystem({
    yaml: `localDomains: [example.org]
scanners:
  - { kind: clamd, address: '127.0.0.1:${clamd.port}', onError: tempfail }
  - { kind: spamd, address: '127.0.0.1:${spamd.port}', onError: pass }`,
    mainCf: { bounce_queue_lifetime: '1d', notify_classes: 'bounce,resource,software' },
  })
}

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

const subjectOf = ({ data }: SinkMessage): string =>
  /^Subject: (.*)\r$/m.exec(data.toString('latin1'))?.[1] ?? ''

/** Sends a message that must wait; gives why, as Postfix has it in its queue. */
async function sendAndWaitUntilDeferred(subject: string): Promise<string> {
  const queueId = await system.send(submission(subject))
  const queued = await system.postfix.waitForQueue((queue) => queue[0]?.queue_name === 'deferred')
  expect(queued.map(({ queue_id: id }) => id)).toEqual([queueId])
  return queued[0]?.recipients[0]?.delay_reason ?? ''
}

/** Lets Postfix try again; gives what came to the sink since `before`. */
async function flush(before: number): Promise<readonly SinkMessage[]> {
  await system.postfix.flush()
  await system.postfix.waitForQueue((queue) => queue.length === 0)
  return system.sink.messages.slice(before)
}

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
  'spamd',
)('a mail while something is down', () => {
  beforeAll(start, 120_000)

  afterAll(async () => {
    await system?.close()
    await clamd?.close()
    await spamd?.close()
  })

  test('stays with Postfix while the re-entry port is down, and is delivered once after that', async () => {
    const before = system.sink.messages.length
    await system.relay.shut()
    const reason = await sendAndWaitUntilDeferred('no re-entry')
    expect(reason).toMatch(/said: 451 4\.4\.1 Cannot relay now, id=[\w-]{12} \(in reply to end of DATA/)
    expect(system.sink.messages).toHaveLength(before)
    await system.relay.open()
    expect((await flush(before)).map(subjectOf)).toEqual(['no re-entry'])
  })

  test('comes again when the re-entry goes away under kept connections', async () => {
    await system.pass(submission('opens a connection'))
    await system.relay.shut()
    await system.relay.open()
    const { delivered } = await system.pass(submission('after a cut'))
    expect(delivered.map(subjectOf)).toEqual(['after a cut'])
  })

  test('stays with Postfix while clamd is down, and is delivered once after that', async () => {
    const before = system.sink.messages.length
    const { port } = clamd
    process.kill(clamd.pid, 'SIGKILL')
    await clamd.close()
    const reason = await sendAndWaitUntilDeferred('no clamd')
    expect(reason).toMatch(/said: 451 4\.7\.1 Content filter cannot check this message now, id=[\w-]{12} /)
    // A reply never tells what runs here.
    expect(reason).not.toMatch(/clam|ECONN|scanner/i)
    expect(system.ecluse().messages().at(-1)).toMatchObject({
      category: 'unchecked',
      scanners: expect.arrayContaining([expect.objectContaining({ name: 'clamd', verdict: 'error' })]),
    })
    clamd = await startClamd({ port })
    const delivered = await flush(before)
    expect(delivered.map(subjectOf)).toEqual(['no clamd'])
    expect(delivered[0]?.data.toString('latin1')).toContain('\r\nX-Virus-Status: Clean\r\n')
  })

  test('goes on without points while spamd is down, as its rule says', async () => {
    const { port } = spamd
    process.kill(spamd.pid, 'SIGKILL')
    await spamd.close()
    const { delivered, line } = await system.pass(submission('no spamd'))
    const text = delivered[0]?.data.toString('latin1') ?? ''
    expect(text).not.toMatch(/^X-Spam-/m)
    expect(text).toMatch(/^X-Virus-Status: Clean\r$/m)
    expect(line.scanners).toContainEqual(expect.objectContaining({ name: 'spamd', verdict: 'error' }))
    spamd = await startSpamd({ port })
    const again = await system.pass(submission('spamd again'))
    expect(again.delivered[0]?.data.toString('latin1')).toMatch(/^X-Spam-Status: No/m)
  })

  test('stays with Postfix while Écluse is down, and is delivered once after that', async () => {
    const before = system.sink.messages.length
    expect(await system.stopEcluse()).toBe(0)
    const reason = await sendAndWaitUntilDeferred('no filter')
    expect(reason).toContain('Connection refused')
    await system.startEcluse()
    expect((await flush(before)).map(subjectOf)).toEqual(['no filter'])
  })

  test('was never answered with a bounce', () => {
    expect(system.postfix.log()).not.toMatch(/status=bounced|non-delivery notification/)
  })
})

describeWith({ describe, beforeAll }, 'postfix')('a mail while Écluse is ended', () => {
  beforeAll(async () => {
    system = await startMailSystem({ yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]' })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  test('is neither lost nor doubled, with 200 of them on their way', async () => {
    const before = system.sink.messages.length
    const subjects = Array.from({ length: 200 }, (_, index) => `load ${index}`)
    const queue = [...subjects]
    const senders = Array.from({ length: 8 }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await system.send(submission(next))
      }
    })
    await system.sink.waitFor(before + 20)
    const stopped = system.ecluse()
    expect(await system.stopEcluse()).toBe(0)
    expect(stopped.log().at(-1)).toMatchObject({ msg: 'stopped' })
    await Promise.all(senders)
    expect(stopped.messages().length).toBeLessThan(200)

    await system.startEcluse()
    await system.postfix.flush()
    await system.sink.waitFor(before + 200)
    await system.postfix.waitForQueue((queued) => queued.length === 0)
    const delivered = system.sink.messages.slice(before).map(subjectOf)
    expect(delivered.toSorted()).toEqual(subjects.toSorted())
    expect(system.postfix.log()).not.toMatch(/status=bounced|non-delivery notification/)
  })
})
