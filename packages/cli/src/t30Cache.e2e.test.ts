import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  startClamd,
  startEcluse,
  startSmtpSink,
  startSpamd,
  submit,
  type ClamdService,
  type EcluseMessageLine,
  type EcluseService,
  type SmtpSink,
  type SpamdService,
} from '@ecluse/fixtures'

/** A copy with a way of its own: its number is in three of its trace fields. */
function copyOf(number: number, { body = 'At noon?', type = 'text/plain' } = {}): string {
  return [
    `Received: from client.example.net (unknown [192.0.2.9]) by mx.example.org with ESMTP id ${number}`,
    `\tfor <paul${number}@example.org>; Tue, 24 Nov 2026 10:00:00 +0000`,
    `Received: from host${number}.example.net by client.example.net; Tue, 24 Nov 2026 09:59:59 +0000`,
    `Delivered-To: list${number}@example.net`,
    'Date: Tue, 24 Nov 2026 09:59:58 +0000',
    'From: Marie Duval <marie@example.net>',
    'To: Paul Lefort <paul@example.org>',
    'Subject: Lunch',
    'Message-ID: <lunch@example.net>',
    'MIME-Version: 1.0',
    `Content-Type: ${type}`,
    '',
    body,
    '',
  ].join('\r\n')
}

const FORWARD = 'XFORWARD ADDR=192.0.2.9 NAME=client.example.net HELO=client.example.net'

interface Sent {
  readonly data: string
  readonly to?: string
  readonly forward?: string
}

let sent = 0

/** Sends it, and gives its line in the log. */
async function send(
  ecluse: EcluseService,
  { data, to = 'paul@example.org', forward = FORWARD }: Sent,
): Promise<EcluseMessageLine> {
  const ident = `Q${sent++}`
  const before = [`${forward} IDENT=${ident}`]
  const envelope = { mailFrom: 'marie@example.net', recipients: [to], before }
  await submit({ port: ecluse.lmtpPort, protocol: 'lmtp', ...envelope, data })
  return await ecluse.waitForMessage(({ queueId }) => queueId === ident)
}

/** `verdict`, with `again` where it was remembered. */
const said = ({ scanners }: EcluseMessageLine): string =>
  scanners.map((of) => `${of.verdict}${'cached' in of && of.cached === true ? ' again' : ''}`).join(', ')

async function lookups(ecluse: EcluseService, scanner: string): Promise<Record<string, number>> {
  const { body } = await ecluse.get('/metrics')
  const lines = body.matchAll(/^ecluse_cache_lookups_total\{scanner="(\w+)",result="(\w+)"\} (\d+)$/gm)
  return Object.fromEntries(
    [...lines].flatMap(([, name, result, count]) => (name === scanner ? [[result, Number(count)]] : [])),
  )
}

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
)('viruses are looked for once', () => {
  let sink: SmtpSink
  let clamd: ClamdService
  let ecluse: EcluseService
  beforeAll(async () => {
    ;[sink, clamd] = await Promise.all([startSmtpSink(), startClamd()])
    ecluse = await startEcluse({
      reinjectPort: sink.port,
      yaml: `localDomains: [example.org]
scanners:
  - { name: clamav, kind: clamd, address: 'unix:${clamd.socketPath}' }`,
    })
  }, 120_000)
  afterAll(async () => {
    await ecluse?.close()
    await clamd?.close()
    await sink?.close()
  })

  const scans = (): number => clamd.log().split(/instream\(\S+\): /).length - 1

  test('1,000 copies that came by other ways are one scan', async () => {
    const before = scans()
    let next = 0
    const sender = async (): Promise<void> => {
      while (next < 1000) await send(ecluse, { data: copyOf(next++) })
    }
    await Promise.all(Array.from({ length: 10 }, sender))
    expect(scans() - before).toBe(1)
    const { miss, hit = 0, joined = 0 } = await lookups(ecluse, 'clamav')
    expect([miss, hit + joined]).toEqual([1, 999])
    expect(ecluse.messages().every(({ category }) => category === 'clean')).toBe(true)
  }, 300_000)

  test('the same body under another Content-Type is looked at on its own', async () => {
    const before = scans()
    expect(said(await send(ecluse, { data: copyOf(1, { type: 'text/html' }) }))).toBe('clean')
    expect(said(await send(ecluse, { data: copyOf(2, { type: 'text/html' }) }))).toBe('clean again')
    expect(scans() - before).toBe(1)
  })

  test('the very next copy after a reload of the signatures is scanned, and now infected', async () => {
    const body = 'The quick brown fox that nobody knew as a virus'
    expect(said(await send(ecluse, { data: copyOf(1, { body }) }))).toBe('clean')
    expect(said(await send(ecluse, { data: copyOf(2, { body }) }))).toBe('clean again')
    await clamd.addSignature('Quick.Fox', 'quick brown fox that nobody')
    const before = scans()
    expect(said(await send(ecluse, { data: copyOf(3, { body }) }))).toBe('virus')
    expect(scans() - before).toBe(1)
    // What only differs in what our own Postfix wrote.
    const again = copyOf(3, { body }).replace('with ESMTP id 3', 'with ESMTP id 4')
    expect(said(await send(ecluse, { data: again }))).toBe('virus again')
    expect(scans() - before).toBe(1)
    // What somebody wrote into a trace field may be what was found.
    expect(said(await send(ecluse, { data: copyOf(5, { body }) }))).toBe('virus')
  })
})

describeWith(
  { describe, beforeAll },
  'postfix',
  'spamd',
)('spam points are asked for once', () => {
  let sink: SmtpSink
  let spamd: SpamdService
  let ecluse: EcluseService
  beforeAll(async () => {
    ;[sink, spamd] = await Promise.all([startSmtpSink(), startSpamd()])
    ecluse = await startEcluse({
      reinjectPort: sink.port,
      yaml: `localDomains: [example.org]
scanners:
  - { name: spamd, kind: spamd, address: '127.0.0.1:${spamd.port}', user: nobody, onError: tempfail }`,
    })
  }, 120_000)
  afterAll(async () => {
    await ecluse?.close()
    await spamd?.close()
    await sink?.close()
  })

  test('50 copies from one client are one scan', async () => {
    for (let number = 0; number < 50; number++)
      await send(ecluse, { data: copyOf(0).replace('id 0', `id ${number}`) })
    expect(await lookups(ecluse, 'spamd')).toEqual({ miss: 1, hit: 49 })
    const scans = spamd.log().match(/(?:checking|processing) message <lunch@example\.net>/g)
    expect(scans).toHaveLength(1)
  }, 120_000)

  test('whatever else it is told makes another one', async () => {
    const data = copyOf(0)
    expect(said(await send(ecluse, { data }))).toBe('clean again')
    expect(said(await send(ecluse, { data, to: 'anna@example.org' }))).toBe('clean')
    expect(
      said(await send(ecluse, { data, forward: FORWARD.replace('ADDR=192.0.2.9', 'ADDR=192.0.2.8') })),
    ).toBe('clean')
    expect(said(await send(ecluse, { data, forward: FORWARD.replace('HELO=client', 'HELO=other') }))).toBe(
      'clean',
    )
  })
})
