import { afterEach, describe, expect, test } from '@jest/globals'
import type { SmtpReply } from '@ecluse/core'
import { connectLmtp, type LmtpClient } from '@ecluse/fixtures'
import { createReceiver, type Clock, type Receiver, type ReceiverEvent } from './receive.ts'

const OK: SmtpReply = { code: 250, enhanced: '2.0.0', text: 'Ok' }
const SLOW = '421 4.4.2 Too slow, closing channel'
const CROWDED = '421 4.3.2 Too many connections, try again later'
const GIVE_WAY = '421 4.3.2 Too many connections, closing the one that is used least'

let releasers: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releasers.toReversed()) await release()
  releasers = []
})

/** A clock that stands still until it is told. */
function stoppedClock(): Clock & {
  pass(seconds: number): void
  /** As after a blocked event loop: time has passed, and nobody has looked meanwhile. */
  jump(seconds: number): void
  readonly tasks: number
} {
  let now = 0
  const tasks = new Set<() => void>()
  return {
    now: () => now,
    every(_, task) {
      tasks.add(task)
      return () => tasks.delete(task)
    },
    pass(seconds) {
      for (let second = 0; second < seconds; second++) {
        now += 1000
        for (const task of tasks) task()
      }
    },
    jump(seconds) {
      now += seconds * 1000
      for (const task of tasks) task()
    },
    get tasks() {
      return tasks.size
    },
  }
}

interface Kit {
  readonly receiver: Receiver
  readonly events: ReceiverEvent[]
  readonly clock: ReturnType<typeof stoppedClock>
  /** Bytes of bodies so far. */
  readonly received: () => number
  readonly connect: (localAddress?: string) => Promise<LmtpClient>
}

/** A receiver that wants 500 bytes a second, with a grace of 30 s, and answers Ok. */
async function start(connections: number): Promise<Kit> {
  const clock = stoppedClock()
  const events: ReceiverEvent[] = []
  let received = 0
  const receiver = await createReceiver(
    {
      protocol: 'lmtp',
      address: { host: '127.0.0.1', port: 0 },
      hostname: 'mx.example',
      trust: ['127.0.0.0/8'],
      messageSizeBytes: 1_000_000,
      recipients: 3,
      connections,
      idleMs: 60_000,
      pace: { bytesPerSecond: 500, graceMs: 30_000, receiveMs: 900_000 },
      clock,
    },
    {
      begin: () => ({
        write(chunk) {
          received += chunk.length
          return undefined
        },
        end: async () => [OK],
        abort: () => undefined,
      }),
    },
    (event) => events.push(event),
  )
  releasers.push(() => receiver.close(AbortSignal.abort()))
  if ('path' in receiver.address) throw new TypeError('expected TCP')
  const { host, port } = receiver.address
  const connect = async (localAddress = '127.0.0.1'): Promise<LmtpClient> => {
    const client = await connectLmtp({ host, port, localAddress })
    releasers.push(() => client.destroy())
    return client
  }
  return { receiver, events, clock, received: () => received, connect }
}

async function greeted(client: LmtpClient): Promise<LmtpClient> {
  await client.reply()
  await client.ask('LHLO mail.example')
  return client
}

/** A client inside DATA. */
async function inBody(client: LmtpClient): Promise<LmtpClient> {
  await greeted(client)
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  return client
}

async function sendWhole(client: LmtpClient): Promise<string> {
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n')
  await client.replies(3)
  client.send('Subject: x\r\n\r\nx\r\n.\r\n')
  return await client.reply()
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

test('a body of a byte a second is dropped after the grace, with one event', async () => {
  const { connect, clock, events, received } = await start(10)
  const client = await inBody(await connect())
  for (let second = 1; second <= 29; second++) {
    client.send('x')
    await until(() => received() === second)
    clock.pass(1)
  }
  expect(events).toEqual([])
  clock.pass(3)
  expect(await client.replies(2)).toEqual([SLOW, ''])
  expect(events).toEqual([{ event: 'slow', peer: '127.0.0.1', what: 'body' }])
})

test('a body that keeps the rate has the time of a message, and not more', async () => {
  const { connect, clock, events, received } = await start(10)
  const client = await inBody(await connect())
  for (let second = 1; second <= 90; second++) {
    client.send('x'.repeat(5000))
    await until(() => received() === second * 5000)
    clock.pass(10)
  }
  expect(events).toEqual([])
  clock.pass(2)
  expect(await client.replies(2)).toEqual([SLOW, ''])
  expect(events).toEqual([{ event: 'slow', peer: '127.0.0.1', what: 'message' }])
})

test('a command that does not come to its end is dropped after the grace', async () => {
  const { connect, clock, events } = await start(10)
  const client = await greeted(await connect())
  client.send('NOOP\r\nMAIL FR')
  await client.reply()
  clock.pass(31)
  expect(events).toEqual([])
  clock.pass(1)
  expect(await client.replies(2)).toEqual([SLOW, ''])
  expect(events).toEqual([{ event: 'slow', peer: '127.0.0.1', what: 'command' }])
})

test('the time in which we did not look is not held against anybody', async () => {
  const { connect, clock, events } = await start(10)
  const body = await inBody(await connect())
  const command = await greeted(await connect())
  command.send('NOOP\r\nNO')
  await command.reply()
  clock.pass(2)
  for (let round = 0; round < 5; round++) clock.jump(3600)
  expect(events).toEqual([])
  body.send('x\r\n.\r\n')
  expect(await body.reply()).toBe('250 2.0.0 Ok')
  expect(await command.ask('OP')).toBe('250 2.0.0 Ok NOOP')
})

test('silence between commands is not slow', async () => {
  const { connect, clock, events } = await start(10)
  const client = await greeted(await connect())
  clock.pass(400)
  expect(await sendWhole(client)).toBe('250 2.0.0 Ok')
  expect(events).toEqual([])
})

test('a hundred slow ones and twenty others: the others pass, every place comes back', async () => {
  const { connect, clock, events, receiver } = await start(120)
  const slow = await Promise.all(Array.from({ length: 100 }, async () => await inBody(await connect())))
  const others = await Promise.all(Array.from({ length: 20 }, async () => await greeted(await connect())))
  const answers = await Promise.all(others.map(sendWhole))
  expect(answers.filter((answer) => answer === '250 2.0.0 Ok')).toHaveLength(20)
  // All places are taken: the slow ones have a tenth of the grace.
  clock.pass(5)
  const ends = await Promise.all(slow.map(async (client) => await client.replies(2)))
  expect(ends.filter(([last]) => last === SLOW)).toHaveLength(100)
  expect(events.filter(({ event }) => event === 'slow')).toHaveLength(100)
  for (const client of others) client.destroy()
  const next = await Promise.all(Array.from({ length: 120 }, async () => await greeted(await connect())))
  expect(await Promise.all(next.map(sendWhole))).toEqual(next.map(() => '250 2.0.0 Ok'))
  await receiver.close(AbortSignal.abort())
  expect(clock.tasks).toBe(0)
})

describe('when places run out', () => {
  test('the connection that has been without a message for longest gives way', async () => {
    const { connect, clock, events } = await start(3)
    const [oldest, used, young] = [
      await greeted(await connect()),
      await greeted(await connect()),
      await inBody(await connect()),
    ]
    clock.pass(1)
    await sendWhole(used)
    clock.pass(2)
    const next = await greeted(await connect())
    expect(await oldest.replies(2)).toEqual([GIVE_WAY, ''])
    expect(await sendWhole(used)).toBe('250 2.0.0 Ok')
    expect(await sendWhole(next)).toBe('250 2.0.0 Ok')
    young.send('x\r\n.\r\n')
    expect(await young.reply()).toBe('250 2.0.0 Ok')
    expect(events).toEqual([{ event: 'unused', peer: '127.0.0.1' }])
  })

  test('nobody gives way who has just come, or has a message', async () => {
    const { connect, clock, events } = await start(2)
    await inBody(await connect())
    clock.pass(3)
    await greeted(await connect())
    expect(await (await connect()).replies(2)).toEqual([CROWDED, ''])
    expect(events).toEqual([{ event: 'crowded', peer: '127.0.0.1', count: 1 }])
  })

  test('many that are refused are one line, and one more each second', async () => {
    const { connect, clock, events, receiver } = await start(1)
    await inBody(await connect())
    const refuse = async (count: number): Promise<void> => {
      for (let round = 0; round < count; round++) await (await connect()).reply()
    }
    await refuse(50)
    clock.pass(1)
    await refuse(20)
    clock.pass(3)
    await refuse(2)
    await receiver.close(AbortSignal.abort())
    const counts = events.flatMap((event) => (event.event === 'crowded' ? [event.count] : []))
    expect(counts).toEqual([1, 49, 20, 1, 1])
  })

  test('one address does not keep another one out', async () => {
    const { connect, clock } = await start(8)
    const many = await Promise.all(Array.from({ length: 8 }, async () => await greeted(await connect())))
    clock.pass(3)
    const other = await greeted(await connect('127.0.0.2'))
    expect(await sendWhole(other)).toBe('250 2.0.0 Ok')
    // The first one comes again at once: it makes room for itself, not among the places of the other one.
    for (let round = 0; round < 8; round++) {
      await connect()
      clock.pass(3)
    }
    expect(await sendWhole(other)).toBe('250 2.0.0 Ok')
    expect(many).toHaveLength(8)
  })

  test('a part is kept free for an address that was refused', async () => {
    const { connect } = await start(8)
    const many = await Promise.all(Array.from({ length: 8 }, async () => await inBody(await connect())))
    expect(await (await connect('127.0.0.2')).reply()).toBe(CROWDED)
    many[0]?.send('x\r\n.\r\nQUIT\r\n')
    await many[0]?.replies(3)
    expect(await (await connect()).reply()).toBe(CROWDED)
    expect(await sendWhole(await greeted(await connect('127.0.0.2')))).toBe('250 2.0.0 Ok')
  })
})
