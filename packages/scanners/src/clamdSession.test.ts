import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, expect, test } from '@jest/globals'
import { ClamdSessions, instream } from './clamdSession.ts'

const NEVER = new AbortController().signal
const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0)) await release()
})

interface Peer {
  readonly sessions: ClamdSessions
  /** Everything received, one entry for each connection. */
  readonly received: string[]
  readonly sockets: Socket[]
}

/** A peer that answers each write with the next of these texts, over all connections; with none left, not at all. */
async function start(answers: readonly string[]): Promise<Peer> {
  const left = [...answers]
  const received: string[] = []
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    const at = sockets.push(socket) - 1
    received.push('')
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      received[at] += chunk.toString('latin1')
      const answer = left.shift()
      if (answer !== undefined) socket.write(Buffer.from(answer, 'latin1'))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const sessions = new ClamdSessions({ host: '127.0.0.1', port })
  releases.push(() => {
    sessions.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { sessions, received, sockets }
}

/** By FIN or by RST. */
async function closed(socket: Socket | undefined): Promise<void> {
  if (!socket || socket.destroyed) return
  await new Promise((resolve) => socket.resume().on('close', resolve))
}

const scan = (text: string): Buffer[] => instream(Buffer.from(text))

test('one message after the other goes over one connection, each with the bytes of INSTREAM', async () => {
  const { sessions, received } = await start(['1: stream: OK\0', '2: stream: A FOUND\0', '3: stream: OK\0'])
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: OK\0')
  expect(await sessions.ask(scan('yz'), NEVER)).toBe('stream: A FOUND\0')
  expect(await sessions.ask(scan(''), NEVER)).toBe('stream: OK\0')
  expect(received).toEqual([
    'zIDSESSION\0zINSTREAM\0\0\0\0\x01x\0\0\0\0zINSTREAM\0\0\0\0\x02yz\0\0\0\0zINSTREAM\0\0\0\0\0',
  ])
})

test('an answer in pieces is one, and so are several lines of it', async () => {
  const { sessions, sockets } = await start(['1: str', '2: stream: A FOUND\x002: stream: B FOUND\0'])
  const first = sessions.ask(scan('x'), NEVER)
  while (sockets.length === 0) await new Promise(setImmediate)
  sockets[0]?.once('data', () => sockets[0]?.write('eam: OK\0'))
  expect(await first).toBe('stream: OK\0')
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: A FOUND\0stream: B FOUND\0')
})

test.each([
  ['that has no number', 'stream: OK\0'],
  ['with the number of another question', '2: stream: OK\0'],
  ['that came late, before its own', '0: stream: A FOUND\x001: stream: OK\0'],
  ['of which a line has no number', '1: stream: A FOUND\0stream: OK\0'],
  ['of an older clamd', 'UNKNOWN COMMAND\0'],
  ['without end', `1: ${'x'.repeat(70_000)}`],
  ['that is nothing', '\0'],
])('an answer %s counts for nothing, and ends the session', async (_, answer) => {
  const { sessions, received } = await start([answer, '1: stream: OK\0'])
  expect(await sessions.ask(scan('x'), NEVER)).toBeUndefined()
  expect(sessions.known).toBe(false)
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: OK\0')
  expect(sessions.known).toBe(true)
  expect(received).toHaveLength(2)
})

test('what comes unasked ends the session: it could pass for the next answer', async () => {
  const { sessions, sockets, received } = await start(['1: stream: OK\0', '1: stream: A FOUND\0'])
  await sessions.ask(scan('x'), NEVER)
  sockets[0]?.write('2: stream: OK\0')
  await closed(sockets[0])
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: A FOUND\0')
  expect(received).toHaveLength(2)
})

test('an answer while the message is still being sent counts for nothing', async () => {
  const { sessions, sockets } = await start(['1: stream: OK\0'])
  const asked = sessions.ask(instream(Buffer.alloc(50_000_000)), NEVER)
  while (sockets.length === 0) await new Promise(setImmediate)
  sockets[0]?.once('data', () => sockets[0]?.pause())
  expect(await asked).toBeUndefined()
})

test('a session that clamd ended while it was idle is not asked again', async () => {
  const { sessions, sockets, received } = await start(['1: stream: OK\0', '1: stream: OK\0'])
  await sessions.ask(scan('x'), NEVER)
  await closed(sockets[0]?.end())
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: OK\0')
  expect(sessions.known).toBe(true)
  expect(received).toHaveLength(2)
})

test('one that clamd ends in the midst of a question gives nothing', async () => {
  const { sessions, sockets } = await start(['1: stream: OK\0'])
  await sessions.ask(scan('x'), NEVER)
  const asked = sessions.ask(scan('y'), NEVER)
  sockets[0]?.destroy()
  expect(await asked).toBeUndefined()
  expect(sessions.known).toBe(true)
})

test('two messages at once have two sessions', async () => {
  const { sessions, received } = await start(['1: stream: OK\0', '1: stream: A FOUND\0', '2: x\0', '2: y\0'])
  const both = async (): Promise<unknown[]> =>
    await Promise.all([sessions.ask(scan('x'), NEVER), sessions.ask(scan('y'), NEVER)])
  expect(new Set(await both())).toEqual(new Set(['stream: A FOUND\0', 'stream: OK\0']))
  expect(new Set(await both())).toEqual(new Set(['x\0', 'y\0']))
  expect(received).toHaveLength(2)
})

test('an abort ends the session, and rejects with its reason', async () => {
  const { sessions, sockets } = await start([])
  const controller = new AbortController()
  const asked = sessions.ask(scan('x'), controller.signal)
  while (sockets.length === 0) await new Promise(setImmediate)
  controller.abort(new Error('enough'))
  await expect(asked).rejects.toThrow('enough')
  await closed(sockets[0])
  await expect(sessions.ask(scan('x'), controller.signal)).rejects.toThrow('enough')
})

test('nothing is there to be asked', async () => {
  const sessions = new ClamdSessions({ path: '/nonexistent/clamd.sock' })
  expect(await sessions.ask(scan('x'), NEVER)).toBeUndefined()
})

test('closing ends what is idle, and keeps nothing after that', async () => {
  const { sessions, sockets } = await start(['1: stream: OK\0', '1: stream: OK\0'])
  await sessions.ask(scan('x'), NEVER)
  sessions.close()
  await closed(sockets[0])
  expect(await sessions.ask(scan('x'), NEVER)).toBe('stream: OK\0')
  await closed(sockets[1])
})
