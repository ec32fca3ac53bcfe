import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { frameCheck } from './postgresFrames.ts'
import { createPostgresStore } from './postgresStore.ts'

function frame(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body)
  const header = Buffer.alloc(5)
  header.write(type, 'latin1')
  header.writeUInt32BE(bytes.length + 4, 1)
  return Buffer.concat([header, bytes])
}

const ERROR = frame('E', 'SFATAL\0C28P01\0Mpassword\0\0')
const READY = frame('Z', 'I')

/** Whether it passes in pieces of that size. */
function passes(bytes: Buffer, size: number): boolean {
  const check = frameCheck()
  try {
    for (let at = 0; at < bytes.length; at += size) check(bytes.subarray(at, at + size))
    return true
  } catch {
    return false
  }
}

describe('messages of a server', () => {
  test.each([
    [
      'of every kind',
      Buffer.concat([frame('R', Buffer.alloc(8)), ERROR, READY, frame('n', ''), ERROR]),
      true,
    ],
    ['an error without fields', frame('E', '\0'), true],
    ['an error without an end', frame('E', 'SFATAL\0'), false],
    ['an error whose field has no end', frame('E', 'SFATAL'), false],
    ['an error with an end in its midst', frame('E', 'Sx\0\0y\0'), false],
    ['an empty error', Buffer.concat([frame('E', ''), READY]), false],
    ['a notice without an end', frame('N', 'Sx\0'), false],
    ['a length that does not count itself', Buffer.from('Z\0\0\0\x03I', 'latin1'), false],
    ['a length without bounds', Buffer.from('D\x7f\xff\xff\xff', 'latin1'), false],
    ['an error of 2 MiB', Buffer.from('E\0\x20\0\0', 'latin1'), false],
    ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), false],
  ])('%s: %#', (_, bytes, expected) => {
    for (let size = 1; size <= bytes.length; size++) expect(passes(bytes, size)).toBe(expected)
  })
})

let server: Server | undefined

afterEach(() => {
  server?.close()
})

/** Asks a server that sends these bytes to whoever comes, and hangs up. */
async function ask(bytes: Buffer): Promise<unknown> {
  const listening = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(bytes))
  })
  server = listening
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const address = listening.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const where = { host: '127.0.0.1', port, user: 'u', password: 'p', database: 'd' }
  const store = createPostgresStore({ ...where, connections: 1, timeoutMs: 30_000 })
  try {
    return await store.check().catch((err: unknown) => err)
  } finally {
    await store.close()
    listening.close()
  }
}

describe('a server that is none', () => {
  test.each([
    ['HTTP/1.1 400 Bad Request\r\n\r\n', 'is no PostgreSQL'],
    ['220 mail.example.org ESMTP\r\n', 'is no PostgreSQL'],
    [frame('E', 'SFATAL\0'), 'is no PostgreSQL'],
    // An authentication request without its kind.
    [frame('R', ''), 'PostgreSQL 127.0.0.1:'],
    [frame('T', '\x7f\xff'), 'PostgreSQL 127.0.0.1:'],
    [ERROR, 'the password is wrong, 28P01'],
    ['', 'the connection was ended'],
  ])('fails what is asked, and nothing else: %#', async (bytes, expected) => {
    expect(await ask(Buffer.from(bytes))).toMatchObject({
      code: 'E_QUARANTINE',
      message: expect.stringContaining(expected),
    })
  })

  const message = fc
    .tuple(fc.constantFrom(...'RSKZETDC123sIntNHWGdcAv'.split('')), fc.uint8Array({ maxLength: 12 }))
    .map(([type, body]) => frame(type, Buffer.from(body)))

  test('never ends the process, nor keeps it busy, whatever it says', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { maxLength: 6 }),
        fc.uint8Array({ maxLength: 6 }),
        async (all, rest) => {
          // As far as a login, for most of what can be said comes behind it.
          const login = [frame('R', Buffer.alloc(4)), READY]
          for (const begin of [[], login]) {
            const failure = await ask(Buffer.concat([...begin, ...all, Buffer.from(rest)]))
            expect(failure).toMatchObject({ code: 'E_QUARANTINE' })
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})
