import { EventEmitter, once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { afterEach, expect, test } from '@jest/globals'
import { exchange, type Question } from './exchange.ts'

const NEVER = new AbortController().signal
const HEAD = Buffer.from('SCAN\r\n')
const BODY = Buffer.alloc(400_000, 'A line of mail.\r\n')
const WHOLE = HEAD.length + BODY.length

const releases: (() => void)[] = []
afterEach(() => {
  for (const release of releases.splice(0)) release()
})

/** Calls `answer` with each connection when so many bytes have come. */
async function startEngine(bytes: number, answer: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    let received = 0
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      const before = received
      received += chunk.length
      if (before < bytes && received >= bytes) answer(socket)
    })
    releases.push(() => socket.destroy())
  })
  releases.push(() => void server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** The pieces of a file; its end is seen when `end` resolves. */
function pieces(end?: Promise<unknown>): Readable {
  return Readable.from(
    (async function* () {
      for (let at = 0; at < BODY.length; at += 65_536) yield BODY.subarray(at, at + 65_536)
      await end
    })(),
    { objectMode: false },
  )
}

/** When the loop has come round so often, what both ends have written is read. */
function afterTurns(turns: number, then: () => void): void {
  if (turns === 0) then()
  else setImmediate(() => afterTurns(turns - 1, then))
}

function question(server: Server, open: () => Readable): Question {
  const { port } = server.address() as AddressInfo
  const message = { sizeBytes: BODY.length, open }
  return { address: { host: '127.0.0.1', port }, head: HEAD, message, maxReplyBytes: 1000 }
}

const ENDINGS: readonly [string, (socket: Socket) => void][] = [
  ['closes', (socket) => void socket.end('fine', () => socket.destroy())],
  ['half-closes', (socket) => void socket.end('fine')],
  ['closes when it has seen our end', (socket) => void socket.on('end', () => socket.end('fine'))],
]

test.each(ENDINGS.slice(0, 2))(
  'an engine that has read all, answers and %s at once is believed before our file has ended',
  async (_, answer) => {
    const answered = new EventEmitter()
    const seen = once(answered, 'seen')
    const server = await startEngine(WHOLE, (socket) => {
      answer(socket)
      afterTurns(20, () => answered.emit('seen'))
    })
    await expect(
      exchange(
        question(server, () => pieces(seen)),
        NEVER,
      ),
    ).resolves.toEqual(Buffer.from('fine'))
  },
)

test.each(ENDINGS)('an engine that has read all and %s is believed, every time', async (_, answer) => {
  const server = await startEngine(WHOLE, answer)
  for (let times = 0; times < 100; times++) {
    await expect(
      exchange(
        question(server, () => pieces()),
        NEVER,
      ),
    ).resolves.toEqual(Buffer.from('fine'))
  }
})

test.each(ENDINGS.slice(0, 2))(
  'an answer before the last byte, of one that %s, is none',
  async (_, answer) => {
    const server = await startEngine(HEAD.length, answer)
    const open = (): Readable =>
      Readable.from(
        (async function* () {
          yield BODY.subarray(0, 1000)
          await new Promise(() => undefined)
        })(),
        { objectMode: false },
      )
    await expect(exchange(question(server, open), NEVER)).rejects.toThrow(
      'reply before the end of the question',
    )
  },
)

test('one that ends the connection by a reset is lost', async () => {
  const server = await startEngine(1000, (socket) => void socket.resetAndDestroy())
  await expect(
    exchange(
      question(server, () => pieces()),
      NEVER,
    ),
  ).rejects.toMatchObject({
    code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/),
  })
})

test('nobody there is told as that', async () => {
  const server = await startEngine(0, () => undefined)
  const asked = question(server, () => pieces())
  server.close()
  await once(server, 'close')
  await expect(exchange(asked, NEVER)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})
