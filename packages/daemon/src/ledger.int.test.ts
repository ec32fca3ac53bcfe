import { readdir } from 'node:fs/promises'
import { afterEach, describe, expect, test } from '@jest/globals'
import { CLEAN, DEFAULT_POLICY } from '@ecluse/core'
import { EICAR, GTUBE } from '@ecluse/fixtures'
import type { FileLedgerOptions } from '@ecluse/state'
import {
  HAM,
  gate,
  masked,
  releaseAll,
  rulesWith,
  scannerOf,
  scannerOfKind,
  sendMail,
  startTestDaemon,
  tempFolder,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

afterEach(releaseAll)

type Disk = NonNullable<FileLedgerOptions['disk']>

const xforward = 'NAME=mx.example.com ADDR=192.0.2.7 PROTO=ESMTP HELO=mx.example.com IDENT=4QX1 SOURCE=REMOTE'
const to = ['a@example.org', 'b@example.org', 'c@example.org']
const TTL_MS = 3_600_000

async function start(options: TestDaemonOptions = {}, directory?: string): Promise<TestDaemon> {
  const ledger = { directory: directory ?? (await tempFolder()), ttlMs: TTL_MS }
  return await startTestDaemon({ ledger, ...options })
}

/** Sends a message, and goes away before it hears what became of it. */
async function sendAndLeave(kit: TestDaemon, recipients = to, content = HAM): Promise<void> {
  const client = await kit.greet()
  await client.ask(`XFORWARD ${xforward}`)
  for (const line of [
    'MAIL FROM:<marie@example.com>',
    ...recipients.map((address) => `RCPT TO:<${address}>`),
  ]) {
    await client.ask(line)
  }
  await client.ask('DATA')
  const before = kit.messages().length
  client.send(`${content}.\r\n`)
  client.destroy()
  await until(() => kit.messages().length > before)
}

const again = async (kit: TestDaemon, more: Partial<Parameters<typeof sendMail>[1]> = {}) =>
  await sendMail(await kit.greet(more.protocol), { to, xforward, ...more })

describe('a message whose reply was lost', () => {
  test('is delivered once, and the retry gets the stored replies', async () => {
    const kit = await start()
    await sendAndLeave(kit)
    const first = kit.messages()[0]?.recipients.map(({ reply }) => reply)
    const { dot } = await again(kit)
    expect(dot).toEqual(first)
    expect(kit.mta.transactions).toHaveLength(1)
    expect(kit.messages()[1]).toMatchObject({
      category: 'clean',
      scanners: [],
      recipients: to.map((address) => ({ address, replayed: true, destiny: 'pass', category: 'clean' })),
    })
    const metrics = await kit.metrics()
    expect(metrics.get('ecluse_ledger_replays_total')).toBe(3)
    expect(metrics.get('ecluse_ledger_without_ident_total')).toBe(0)
    expect(metrics.get('ecluse_ledger_entries')).toBe(1)
  })

  test('is delivered again for those alone whom 10025 deferred; who was refused stays refused', async () => {
    let busy = true
    const kit = await start({
      mta: {
        act: ({ stage, line }) => {
          if (stage !== 'rcpt') return undefined
          if (line.includes('<b@') && busy) return '450 4.2.0 busy'
          return line.includes('<c@') ? '550 5.1.1 unknown' : undefined
        },
      },
    })
    await sendAndLeave(kit)
    busy = false
    const { dot } = await again(kit)
    expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '550'])
    expect(kit.mta.transactions.map(({ rcpt }) => rcpt.map((line) => line.slice(8)))).toEqual([
      to.map((address) => `<${address}>`),
      ['<b@example.org>'],
    ])
    expect((await again(kit)).dot).toEqual(dot)
    expect(kit.mta.transactions).toHaveLength(2)
  })

  test('is kept once', async () => {
    const kit = await start()
    const virus = `Subject: virus\r\n\r\n${EICAR}\r\n`
    await sendAndLeave(kit, to, virus)
    const { dot } = await again(kit, { content: virus })
    expect(dot).toEqual(kit.messages()[0]?.recipients.map(({ reply }) => reply))
    expect(dot[0]).toMatch(/^250 2\.7\.0 Ok, discarded, id=/)
    expect(await keptFiles(kit)).toHaveLength(1)
    expect(kit.messages()[1]).toMatchObject({
      category: 'virus',
      recipients: [{ destiny: 'discard' }, {}, {}],
    })
    expect((await kit.metrics()).get('ecluse_quarantined_total{category="virus"}')).toBe(1)
  })

  test('is kept once although its delivery failed', async () => {
    let down = true
    const kit = await start({
      rules: rulesWith({
        policy: { ...DEFAULT_POLICY, destiny: { ...DEFAULT_POLICY.destiny, spam: 'pass' } },
      }),
      mta: { act: ({ stage }) => (stage === 'mail' && down ? '451 4.3.0 down' : undefined) },
    })
    const spam = `Subject: spam\r\n\r\n${GTUBE}\r\n`
    expect((await again(kit, { content: spam })).dot[0]).toMatch(/^451 /)
    down = false
    expect((await again(kit, { content: spam })).dot[0]).toMatch(/^250 2\.0\.0 from MTA/)
    const [file] = await keptFiles(kit)
    expect(await keptFiles(kit)).toHaveLength(1)
    const ids = kit.messages().map(({ quarantineId }) => quarantineId)
    expect(ids).toEqual([ids[0], ids[0]])
    expect(file).toContain(String(ids[0]))
    expect(kit.mta.transactions.at(-1)?.data.toString('latin1')).toContain(
      `X-Quarantine-ID: <${String(ids[0])}>`,
    )
  })

  test('is known after a restart', async () => {
    const directory = await tempFolder()
    const kit = await start({}, directory)
    await sendAndLeave(kit)
    await kit.daemon.close()
    const next = await start({}, directory)
    const { dot } = await again(next)
    expect(dot).toEqual(kit.messages()[0]?.recipients.map(({ reply }) => reply))
    expect(next.mta.transactions).toEqual([])
  })
})

test('a retry that comes while the first try runs waits for it', async () => {
  const go = gate()
  let scans = 0
  const scanner = scannerOf(async () => {
    scans++
    await go.promise
    return CLEAN
  })
  const kit = await start({ scanners: [scanner] })
  const first = again(kit)
  await until(() => scans === 1)
  const second = again(kit)
  const third = again(kit, { xforward: xforward.replace('4QX1', 'OTHER') })
  await until(() => scans === 2)
  go.open()
  const [{ dot }, retried, other] = await Promise.all([first, second, third])
  expect(retried.dot).toEqual(dot)
  expect(other.dot).not.toEqual(dot)
  expect([scans, kit.mta.transactions.length]).toEqual([2, 2])
})

test.each<[string, Partial<Parameters<typeof sendMail>[1]>]>([
  ['another queue id', { xforward: xforward.replace('4QX1', '4QX2') }],
  ['another sender', { from: 'other@example.com' }],
  ['other bytes', { content: `X: y\r\n${HAM}` }],
  ['other recipients', { to: ['d@example.org'] }],
  ['no queue id', { xforward: 'ADDR=192.0.2.7' }],
])('%s is another message', async (_name, change) => {
  const kit = await start()
  await again(kit)
  await again(kit, change)
  expect(kit.mta.transactions).toHaveLength(2)
})

test('without a queue id nothing is remembered, and the metric says so', async () => {
  const kit = await start()
  await again(kit, { xforward: 'ADDR=192.0.2.7' })
  await again(kit, { xforward: 'ADDR=192.0.2.7' })
  const metrics = await kit.metrics()
  expect(metrics.get('ecluse_ledger_without_ident_total')).toBe(2)
  expect(metrics.get('ecluse_ledger_entries')).toBe(0)
})

test('the same recipient named twice is delivered to twice, and each reply is its own', async () => {
  let refuse = true
  const kit = await start({
    mta: {
      act: ({ stage, index }) => (stage === 'rcpt' && index === 1 && refuse ? '450 4.2.0 busy' : undefined),
    },
  })
  const twice = ['a@example.org', 'a@example.org']
  expect((await again(kit, { to: twice })).dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '450'])
  refuse = false
  expect((await again(kit, { to: twice })).dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250'])
  expect(kit.mta.transactions.map(({ rcpt }) => rcpt.length)).toEqual([2, 1])
})

describe('over SMTP', () => {
  test('a copy that was delivered before another was refused is not delivered again', async () => {
    let busy = true
    const kit = await start({
      scanners: [scannerOfKind('test')],
      mta: {
        act: ({ stage, line }) =>
          stage === 'rcpt' && line.includes('<x@') && busy ? '451 4.3.0 busy' : undefined,
      },
    })
    const mixed = { to: ['a@example.org', 'x@example.com'], protocol: 'smtp' as const }
    const content = 'Subject: spammy\r\n\r\nECLUSE-TEST-SCORE=8\r\n'
    expect((await again(kit, { ...mixed, content })).dot).toEqual([expect.stringMatching(/^451 /)])
    busy = false
    expect((await again(kit, { ...mixed, content })).dot).toEqual([
      expect.stringMatching(/^250 2\.0\.0 from MTA/),
    ])
    const complete = kit.mta.transactions.filter(({ complete: done }) => done)
    expect(complete.map(({ rcpt }) => rcpt.map((line) => line.slice(8)))).toEqual([
      ['<a@example.org>'],
      ['<x@example.com>'],
    ])
  })

  test('what would be discarded is not done while another recipient is deferred', async () => {
    const forB = (spam: 'tempfail' | 'discard') => ({
      name: 'b',
      when: { recipients: ['b@example.org'] },
      policy: { destiny: { spam } },
    })
    const kit = await start({ rules: rulesWith({ policies: [forB('tempfail')] }) })
    const spam = {
      to: ['a@example.org', 'b@example.org'],
      protocol: 'smtp' as const,
      content: `Subject: spam\r\n\r\n${GTUBE}\r\n`,
    }
    expect((await again(kit, spam)).dot).toEqual([expect.stringMatching(/^450 /)])
    await kit.daemon.reload(async () => ({ rules: rulesWith({ policies: [forB('discard')] }) }))
    expect((await again(kit, spam)).dot).toEqual([expect.stringMatching(/^250 2\.7\.0 Ok, discarded/)])
    // Nothing was kept at the first try: remembered then, a would have no copy.
    expect((await kit.metrics()).get('ecluse_ledger_replays_total')).toBe(0)
    expect(await keptFiles(kit)).toHaveLength(1)
  })
})

/** A disk that is full from some moment on. */
function limitedDisk(): { full: boolean; readonly disk: Disk } {
  const state = {
    full: false,
    disk: {
      async write(file, bytes, place) {
        if (state.full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
        return (await file.write(bytes, 0, bytes.length, place)).bytesWritten
      },
      truncate: (file, sizeBytes) => file.truncate(sizeBytes),
    } satisfies Disk,
  }
  return state
}

test('what was delivered and could not be remembered is answered as it is, and told', async () => {
  const state = limitedDisk()
  const kit = await startTestDaemon({
    ledger: { directory: await tempFolder(), ttlMs: TTL_MS, disk: state.disk },
    mta: {
      act: ({ stage }) => {
        state.full ||= stage === 'dot'
        return undefined
      },
    },
  })
  expect((await again(kit)).dot[0]).toMatch(/^250 2\.0\.0 from MTA/)
  expect(kit.lines.filter(({ level }) => level === 'warn')).toMatchObject([
    { msg: 'delivery not remembered', code: 'E_LEDGER' },
  ])
})

test('while nothing can be remembered, nothing is delivered; then mail goes on without a restart', async () => {
  const state = limitedDisk()
  const ledger = { directory: await tempFolder(), ttlMs: TTL_MS, disk: state.disk }
  const kit = await startTestDaemon({ ledger, versionIntervalMs: 50 })
  state.full = true
  await until(() => kit.daemon.notReady().length > 0)
  expect((await again(kit)).dot.map(masked)).toEqual(
    to.map(() => '451 4.7.1 Content filter cannot check this message now, id=ID'),
  )
  expect(kit.mta.transactions).toEqual([])
  state.full = false
  expect((await again(kit)).dot[0]).toMatch(/^250 2\.0\.0 from MTA/)
  await until(() => kit.daemon.notReady().length === 0)
})

async function keptFiles({ quarantineFolder }: TestDaemon): Promise<string[]> {
  const names = await readdir(quarantineFolder, { recursive: true })
  return names.filter((name) => name.endsWith('.eml'))
}
