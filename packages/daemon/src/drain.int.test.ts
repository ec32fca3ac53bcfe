import { afterEach, expect, test } from '@jest/globals'
import { CLEAN } from '@ecluse/core'
import { connectLmtp } from '@ecluse/fixtures'
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
} from './daemon.testkit.ts'

afterEach(releaseAll)

const to = ['a@example.org', 'b@example.org']
const SHUTTING_DOWN = '421 4.3.2 Service shutting down, closing channel'

/** A scanner that lets a message go on when it is told to, and counts. */
function holding() {
  const go = gate()
  let held = 0
  const scanner = scannerOf(async () => {
    held += 1
    await go.promise
    return CLEAN
  })
  onRelease(() => go.open())
  return { scanner, go, held: () => held }
}

test('what runs is finished and answered, everyone else is told to go', async () => {
  const { scanner, go, held } = holding()
  const kit = await startTestDaemon({ scanners: [scanner] })
  const [idle, inTransaction, inData, running] = await Promise.all([
    kit.greet(),
    kit.greet(),
    kit.greet(),
    kit.greet(),
  ])
  await inTransaction.ask('MAIL FROM:<late@example.com>')
  for (const line of ['MAIL FROM:<a@example.com>', 'RCPT TO:<a@example.org>', 'DATA']) await inData.ask(line)
  const result = sendMail(running, { to })
  await until(() => held() === 1)

  let closed = false
  const closing = (async () => {
    await kit.daemon.close()
    closed = true
  })()
  expect(await idle.replies(2)).toEqual([SHUTTING_DOWN, ''])
  // Begun is begun: it may go on to DATA, where it is refused.
  await inTransaction.ask('RCPT TO:<late@example.org>')
  expect(await inTransaction.ask('DATA')).toBe(SHUTTING_DOWN)
  expect(await inTransaction.reply()).toBe('')
  await expect(connectLmtp(addressOf(kit.daemon.addresses[0]))).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })

  inData.send(`${HAM}.\r\n`)
  await until(() => held() === 2)
  expect(closed).toBe(false)
  go.open()
  expect((await result).dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250'])
  expect(await running.replies(2)).toEqual([SHUTTING_DOWN, ''])
  expect(await inData.reply()).toMatch(/^250 2\.0\.0 from MTA/)
  expect(await inData.replies(2)).toEqual([SHUTTING_DOWN, ''])
  await closing
  expect(kit.mta.transactions.map(({ complete }) => complete)).toEqual([true, true])
  await until(() => kit.mta.open === 0)
})

test('a scanner that hangs holds up the end no longer than drainMs, and its message gets a 4xx', async () => {
  const { scanner, held } = holding()
  const kit = await startTestDaemon({ scanners: [scanner], drainMs: 200 })
  const client = await kit.greet()
  const result = sendMail(client, { to })
  await until(() => held() === 1)
  await kit.daemon.close()
  const reply = '451 4.7.1 Content filter cannot check this message now, id=ID'
  expect((await result).dot.map(masked)).toEqual([reply, reply])
  expect(await client.replies(2)).toEqual([SHUTTING_DOWN, ''])
  expect(kit.messages()).toHaveLength(1)
  expect(kit.mta.transactions).toEqual([])
})

test('a next hop that hangs at the dot: the message gets a 4xx', async () => {
  const reached = gate()
  const kit = await startTestDaemon({
    mta: {
      act: ({ stage }) => {
        if (stage !== 'dot') return undefined
        reached.open()
        return { do: 'hang' }
      },
    },
    drainMs: 200,
  })
  const result = sendMail(await kit.greet(), { to })
  await reached.promise
  await kit.daemon.close()
  const reply = '451 4.4.2 Timed out while relaying, id=ID'
  expect((await result).dot.map(masked)).toEqual([reply, reply])
  await until(() => kit.mta.open === 0)
})

test('a body that does not come to its end: dropped after drainMs, nothing is delivered', async () => {
  const kit = await startTestDaemon({ drainMs: 200 })
  const client = await kit.greet()
  for (const line of ['MAIL FROM:<a@example.com>', 'RCPT TO:<a@example.org>', 'DATA']) await client.ask(line)
  client.send('Subject: half\r\n')
  await kit.daemon.close()
  expect(await client.reply()).toBe('')
  expect(kit.mta.transactions).toEqual([])
  expect(kit.messages()).toEqual([])
})

test('a next hop that does not answer QUIT does not hold up the end', async () => {
  const kit = await startTestDaemon({
    mta: { act: ({ stage }) => (stage === 'quit' ? { do: 'hang' } : undefined) },
    drainMs: 200,
  })
  const { dot } = await sendMail(await kit.greet(), { to })
  expect(dot[0]).toMatch(/^250 /)
  await kit.daemon.close()
})

test('closing twice is closing once', async () => {
  const kit = await startTestDaemon()
  await Promise.all([kit.daemon.close(), kit.daemon.close()])
  await kit.daemon.close()
  await expect(connectLmtp(addressOf(kit.daemon.addresses[0]))).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })
})

/** @param listening `lmtp 127.0.0.1:PORT` */
function addressOf(listening = ''): { host: string; port: number } {
  return { host: '127.0.0.1', port: Number(listening.split(':').at(-1)) }
}
