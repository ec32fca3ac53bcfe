import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, test } from '@jest/globals'
import type { EvilStage, LmtpClient } from '@ecluse/fixtures'
import { CLEAN } from '@ecluse/core'
import {
  gate,
  HAM,
  masked,
  onRelease,
  releaseAll,
  scannerOf,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestReplies,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const to = ['r@example.org']
const BUSY = '451 4.3.2 Too many messages at once, try again later'
const openFiles = (): number => readdirSync('/proc/self/fd').length

/** A scanner that holds each message until it is told to go on. */
function holding() {
  const go = gate()
  const held: string[] = []
  const scanner = scannerOf(async ({ envelope }) => {
    held.push(envelope.mailFrom)
    await go.promise
    return CLEAN
  })
  onRelease(() => go.open())
  return { scanner, held, go }
}

/** A client that has said DATA. */
async function inData(kit: TestDaemon, name: string, mail = ''): Promise<LmtpClient> {
  const client = await kit.greet()
  for (const line of [`MAIL FROM:<${name}@example.com>${mail}`, 'RCPT TO:<r@example.org>', 'DATA']) {
    await client.ask(line)
  }
  return client
}

async function expectFreed({ metrics, spoolFolder }: TestDaemon): Promise<void> {
  await until(async () => (await metrics()).get('ecluse_in_flight_messages') === 0)
  expect((await metrics()).get('ecluse_spool_bytes')).toBe(0)
  expect(readdirSync(spoolFolder)).toEqual([])
}

describe('concurrency', () => {
  test('one message too many is refused at MAIL, and taken when there is room again', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 1, deadlineMs: 60_000 } })
    const first = sendMail(await kit.greet(), { to })
    await until(() => held.length === 1)
    const other = await kit.greet()
    expect(await other.ask('MAIL FROM:<other@example.com>')).toBe(BUSY)
    expect((await kit.metrics()).get('ecluse_in_flight_messages')).toBe(1)
    go.open()
    expect((await first).dot[0]).toMatch(/^250 /)
    expect((await sendMail(other, { to })).dot[0]).toMatch(/^250 /)
    await expectFreed(kit)
  })

  test('one that was admitted at MAIL can still be too many at DATA', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 1, deadlineMs: 60_000 } })
    const late = await kit.greet()
    await late.ask('MAIL FROM:<late@example.com>')
    await late.ask('RCPT TO:<r@example.org>')
    const first = sendMail(await kit.greet(), { to })
    await until(() => held.length === 1)
    expect(await late.ask('DATA')).toBe(BUSY)
    // The transaction ended there.
    expect(await late.ask('RCPT TO:<r@example.org>')).toBe('503 5.5.1 Error: need MAIL command')
    go.open()
    expect((await first).dot[0]).toMatch(/^250 /)
    expect((await sendMail(late, { to })).dot[0]).toMatch(/^250 /)
  })

  test('messages that come in take no place, and wait for their turn at their dot', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 1, deadlineMs: 60_000 } })
    const clients = await Promise.all(['a', 'b', 'c'].map(async (name) => await inData(kit, name)))
    expect((await kit.metrics()).get('ecluse_in_flight_messages')).toBe(3)
    for (const [index, client] of clients.entries()) {
      client.send(`${HAM}.\r\n`)
      // In this order: a runs, the others wait.
      await until(
        async () => (await kit.metrics()).get('ecluse_in_flight_messages') === 3 && held.length >= 1,
      )
      await (await kit.greet()).ask(`NOOP ${index}`)
    }
    expect(held).toEqual(['a@example.com'])
    go.open()
    const replies = await Promise.all(clients.map(async (client) => await client.reply()))
    expect(replies.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250'])
    await expectFreed(kit)
  })

  test('the deadline of one that waits for its turn ends it: 451, and its place is free', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 1, deadlineMs: 300 } })
    const late = await inData(kit, 'late')
    const first = sendMail(await kit.greet(), { from: 'first@example.com', to })
    await until(() => held.length === 1)
    late.send(`${HAM}.\r\n`)
    expect(masked(await late.reply())).toBe('451 4.7.1 Content filter cannot check this message now, id=ID')
    await first
    go.open()
    await expectFreed(kit)
    expect((await sendMail(late, { to })).dot[0]).toMatch(/^250 /)
    expect(kit.mta.transactions).toHaveLength(1)
  })

  test('one client does not keep the places of another one', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 4, deadlineMs: 60_000 } })
    const other = await kit.greet('lmtp', '127.0.0.2')
    const many = await Promise.all(Array.from({ length: 4 }, async () => await kit.greet()))
    const first = many.map(async (client) => await sendMail(client, { to }))
    await until(() => held.length === 4)
    expect(await other.ask('MAIL FROM:<other@example.com>')).toBe(BUSY)
    go.open()
    expect((await Promise.all(first)).filter(({ dot }) => dot[0]?.startsWith('250'))).toHaveLength(4)
    await expectFreed(kit)
    // From now on one of the four places is kept for each.
    const busy = holding()
    await kit.daemon.reload(async () => ({ scanners: [busy.scanner] }))
    const again: Promise<TestReplies>[] = []
    for (const client of many.slice(0, 3)) {
      again.push(sendMail(client, { to }))
      await until(() => busy.held.length === again.length)
    }
    expect(await many[3]?.ask('MAIL FROM:<a@example.com>')).toBe(BUSY)
    again.push(sendMail(other, { from: 'other@example.com', to }))
    await until(() => busy.held.includes('other@example.com'))
    busy.go.open()
    const dots = (await Promise.all(again)).map(({ dot }) => dot[0]?.slice(0, 3))
    expect(dots).toEqual(['250', '250', '250', '250'])
  })

  test('a client that goes away inside DATA leaves nothing', async () => {
    const kit = await startTestDaemon({ limits: { concurrency: 1, deadlineMs: 60_000 } })
    const client = await inData(kit, 'a')
    client.send('Subject: half\r\n')
    await until(async () => (await kit.metrics()).get('ecluse_in_flight_messages') === 1)
    client.destroy()
    await expectFreed(kit)
    expect((await sendMail(await kit.greet(), { to })).dot[0]).toMatch(/^250 /)
    expect(kit.messages()).toHaveLength(1)
    expect(kit.mta.transactions).toHaveLength(1)
  })

  test('a client that goes away behind the dot does not stop its message', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner] })
    const client = await kit.greet()
    for (const line of ['MAIL FROM:<a@example.com>', 'RCPT TO:<r@example.org>', 'DATA'])
      await client.ask(line)
    client.send(`${HAM}.\r\n`)
    await until(() => held.length === 1)
    client.destroy()
    go.open()
    await until(() => kit.messages().length === 1)
    expect(kit.mta.transactions.map(({ complete }) => complete)).toEqual([true])
    await expectFreed(kit)
  })
})

test('connections: one too many is told 421 and closed, the others work', async () => {
  const kit = await startTestDaemon({ receiver: { connections: 2 } })
  const [first, second, third] = await Promise.all([kit.greet(), kit.greet(), kit.connect()])
  expect(await third.replies(2)).toEqual(['421 4.3.2 Too many connections, try again later', ''])
  expect((await sendMail(first, { to })).dot[0]).toMatch(/^250 /)
  await second.ask('QUIT')
  second.end()
  await until(async () => {
    const next = await kit.connect()
    const greeting = await next.reply()
    next.destroy()
    return greeting.startsWith('220')
  })
})

test('recipients: those beyond the limit get 452, the others their mail', async () => {
  const kit = await startTestDaemon({ receiver: { recipients: 2 } })
  const { rcpt, dot } = await sendMail(await kit.greet(), {
    to: ['a@example.org', 'b@example.org', 'c@example.org'],
  })
  expect(rcpt.map((reply) => reply.slice(0, 9))).toEqual(['250 2.1.5', '250 2.1.5', '452 4.5.3'])
  expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250'])
  expect(kit.mta.transactions.map(({ rcpt: got }) => got.length)).toEqual([2])
})

describe('size', () => {
  const receiver = { messageSizeBytes: 1000 }

  test('declared too large: 552 at MAIL', async () => {
    const kit = await startTestDaemon({ receiver })
    const client = await kit.greet()
    expect(await client.ask('MAIL FROM:<a@example.com> SIZE=1001')).toBe(
      '552 5.3.4 Declared message size (1001 B) exceeds size limit',
    )
    expect(await client.ask('MAIL FROM:<a@example.com> SIZE=1000')).toMatch(/^250 /)
  })

  test.each(['lmtp', 'smtp'] as const)(
    'really too large, %s: 552 at the dot, nothing is kept',
    async (protocol) => {
      const kit = await startTestDaemon({ receiver })
      const client = await kit.greet(protocol)
      const body = (bytes: number): string => `Subject: x\r\n\r\n${'x'.repeat(bytes - 16)}\r\n`
      const mail = { to: ['a@example.org', 'b@example.org'], protocol }
      const { dot } = await sendMail(client, { ...mail, content: body(1001) })
      const reply = '552 5.3.4 Message size (1001 B) exceeds size limit'
      expect(dot).toEqual(protocol === 'lmtp' ? [reply, reply] : [reply])
      expect(kit.mta.transactions).toEqual([])
      await expectFreed(kit)
      const { dot: next } = await sendMail(client, { ...mail, content: body(1000) })
      expect(next[0]).toMatch(/^250 /)
    },
  )
})

describe('room for files', () => {
  const NO_ROOM = '452 4.3.1 Insufficient system storage'
  const limits = { concurrency: 10, deadlineMs: 60_000, spoolBytes: 100_000 }
  const start = async (scanners = [scannerOf(async () => CLEAN)]): Promise<TestDaemon> =>
    await startTestDaemon({ limits, scanners, memoryBytes: 10_000 })
  const body = (bytes: number): string => `Subject: x\r\n\r\n${'x'.repeat(bytes - 16)}\r\n`

  test('a declared size that does not fit is refused at MAIL; small messages pass', async () => {
    const kit = await start()
    const first = await inData(kit, 'a', ' SIZE=60000')
    const other = await kit.greet()
    expect(await other.ask('MAIL FROM:<b@example.com> SIZE=40001')).toBe(NO_ROOM)
    expect(await other.ask('MAIL FROM:<b@example.com> SIZE=40000')).toMatch(/^250 /)
    await other.ask('RSET')
    expect((await sendMail(other, { to })).dot[0]).toMatch(/^250 /)
    expect((await kit.metrics()).get('ecluse_spool_bytes')).toBe(60_000)
    first.send(`${HAM}.\r\n`)
    expect(await first.reply()).toMatch(/^250 /)
    await expectFreed(kit)
    expect((await kit.metrics()).get('ecluse_refusals_total{reason="spool"}')).toBe(1)
  })

  test('two that fitted at MAIL do not both fit at DATA', async () => {
    const kit = await start()
    const [first, second] = [await kit.greet(), await kit.greet()]
    for (const client of [first, second]) {
      await client.ask('MAIL FROM:<a@example.com> SIZE=60000')
      await client.ask('RCPT TO:<r@example.org>')
    }
    expect(await first.ask('DATA')).toMatch(/^354 /)
    expect(await second.ask('DATA')).toBe(NO_ROOM)
    first.destroy()
    await expectFreed(kit)
  })

  test.each(['', ' SIZE=100'])(
    'what comes beyond it is thrown away and gets 452 at the dot: declared "%s"',
    async (declared) => {
      const { scanner, held, go } = holding()
      const kit = await start([scanner])
      const first = sendMail(await kit.greet(), { to, content: body(90_000) })
      await until(() => held.length === 1)
      const client = await inData(kit, 'a', declared)
      client.send(`${body(50_000)}.\r\n`)
      expect(masked(await client.reply())).toBe(`${NO_ROOM}, id=ID`)
      expect((await kit.metrics()).get('ecluse_spool_bytes')).toBe(90_000)
      go.open()
      expect((await first).dot[0]).toMatch(/^250 /)
      expect((await sendMail(client, { to, content: body(50_000) })).dot[0]).toMatch(/^250 /)
      await expectFreed(kit)
      expect(kit.mta.transactions).toHaveLength(2)
    },
  )

  test('one above the limit comes in when it is alone', async () => {
    const kit = await start()
    const { dot } = await sendMail(await kit.greet(), { to, content: body(200_000) })
    expect(dot[0]).toMatch(/^250 /)
    await expectFreed(kit)
  })

  test('a size that is declared and not sent is given back at the dot', async () => {
    const { scanner, held, go } = holding()
    const kit = await start([scanner])
    const client = await inData(kit, 'a', ' SIZE=99999')
    client.send(`${HAM}.\r\n`)
    await until(() => held.length === 1)
    expect((await kit.metrics()).get('ecluse_spool_bytes')).toBe(0)
    go.open()
    expect(await client.reply()).toMatch(/^250 /)
  })
})

describe('deadline', () => {
  test.each<EvilStage>(['mail', 'rcpt', 'data'])(
    '10025 silent at %s: 451, and no content goes out',
    async (stage) => {
      const kit = await startTestDaemon({
        mta: { act: (event) => (event.stage === stage ? { do: 'hang' } : undefined) },
        scanners: [],
        limits: { concurrency: 10, deadlineMs: 100 },
      })
      const { dot } = await sendMail(await kit.greet(), { to })
      expect(dot.map(masked)).toEqual(['451 4.4.2 Timed out while relaying, id=ID'])
      await until(() => kit.mta.open === 0)
      expect(kit.mta.transactions.filter(({ data }) => data.length > 0)).toEqual([])
      await expectFreed(kit)
    },
  )

  test('10025 does not read: 451, the dot is never sent, and every file is closed', async () => {
    const kit = await startTestDaemon({
      mta: { deaf: true },
      scanners: [],
      limits: { concurrency: 10, deadlineMs: 300 },
      memoryBytes: 1024,
    })
    const client = await kit.greet()
    const before = openFiles()
    const content = `Subject: large\r\n\r\n${`${'x'.repeat(998)}\r\n`.repeat(20_000)}`
    const { dot } = await sendMail(client, { to, content })
    expect(dot.map(masked)).toEqual(['451 4.4.2 Timed out while relaying, id=ID'])
    // Now it reads all that was sent to it.
    for (const { socket } of kit.mta.sessions) socket.resume()
    await until(() => kit.mta.open === 0)
    expect(kit.mta.transactions.filter(({ complete }) => complete)).toEqual([])
    await expectFreed(kit)
    await until(() => openFiles() <= before)
  })

  test('a scanner that does not heed its signal: 451, nothing is delivered when it answers at last', async () => {
    const { scanner, held, go } = holding()
    const kit = await startTestDaemon({ scanners: [scanner], limits: { concurrency: 1, deadlineMs: 500 } })
    const client = await kit.greet()
    const { dot } = await sendMail(client, { from: 'first@example.com', to })
    expect(dot.map(masked)).toEqual(['451 4.7.1 Content filter cannot check this message now, id=ID'])
    await expectFreed(kit)
    go.open()
    const { dot: next } = await sendMail(client, { from: 'second@example.com', to })
    expect(next[0]).toMatch(/^250 /)
    expect(held).toEqual(['first@example.com', 'second@example.com'])
    expect(kit.mta.transactions.map(({ mail }) => mail.slice(0, 31))).toEqual([
      'MAIL FROM:<second@example.com> ',
    ])
  })
})
