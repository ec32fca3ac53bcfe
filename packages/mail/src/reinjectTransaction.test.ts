import { Readable } from 'node:stream'
import { afterEach, describe, expect, test } from '@jest/globals'
import type { OutgoingMessage } from './outgoing.ts'
import {
  PATIENT,
  TEXT,
  brief,
  closeAll,
  deliverOne,
  fromStream,
  inMemory,
  start,
  until,
} from './reinject.testkit.ts'

afterEach(closeAll)

describe('the content', () => {
  const NASTY =
    'Subject: x\r\n\r\n.\r\n..\r\n.a\na\r.\r\nnul \0 \xe9 \xff\n.\r\n\r\r\n.\n\n.\r\r.\r\nMAIL FROM:<evil@x>\r\nend'

  test.each([true, false])('has no bare CR, no bare LF and one end, in memory %p', async (memory) => {
    const bytes = Buffer.from(NASTY, 'latin1')
    const pieces = Array.from(bytes, (byte) => Buffer.of(byte))
    const message = memory
      ? { ...inMemory(NASTY), chunks: pieces }
      : fromStream(Readable.from(pieces), bytes.length)
    const { mta, reinjector } = await start()
    expect(brief(await deliverOne(reinjector, message))).toEqual(['relayed'])
    expect(mta.transactions).toHaveLength(1)
    expect(mta.transactions[0]?.data.toString('latin1')).toBe(
      'Subject: x\r\n\r\n..\r\n...\r\n..a\r\na\r\n..\r\nnul \0 \xe9 \xff\r\n..\r\n\r\n\r\n..\r\n\r\n..\r\n\r\n..\r\nMAIL FROM:<evil@x>\r\nend\r\n.\r\n',
    )
  })

  test('of 1 MB comes through from a stream as it is', async () => {
    const line = Buffer.from(`${'x'.repeat(76)}\r\n`)
    const bytes = Buffer.concat(Array.from({ length: 13_000 }, () => line))
    const chunks = Array.from({ length: 16 }, (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536))
    const { mta, reinjector } = await start()
    const message = fromStream(Readable.from(chunks), bytes.length)
    expect(brief(await deliverOne(reinjector, message))).toEqual(['relayed'])
    const data = mta.transactions[0]?.data ?? Buffer.alloc(0)
    expect(data.subarray(0, -3).equals(bytes)).toBe(true)
    expect(data.subarray(-3).toString()).toBe('.\r\n')
  })

  test.each<[string, () => OutgoingMessage]>([
    ['fails', () => fromStream(Readable.from(failing()), 100)],
    ['ends early', () => fromStream(Readable.from([Buffer.from(TEXT)]), TEXT.length + 1)],
    ['goes on too long', () => fromStream(Readable.from([Buffer.from(TEXT)]), TEXT.length - 1)],
    [
      'cannot be opened',
      () => ({
        sizeBytes: 1,
        open: () => {
          throw new RangeError('gone')
        },
      }),
    ],
  ])('gets no dot when reading it %s', async (_, message) => {
    const { mta, reinjector } = await start()
    expect(brief(await deliverOne(reinjector, message()))).toEqual(['failed:E_SPOOL'])
    expect(mta.transactions.filter(({ complete }) => complete)).toHaveLength(0)
    expect(brief(await deliverOne(reinjector))).toEqual(['relayed'])
  })

  test.each([
    ['552 5.3.4 too big', 'failed:E_REINJECT_PROTOCOL'],
    ['421 4.3.2 shutting down', 'failed:E_REINJECT_LOST'],
    [{ do: 'drop' } as const, 'failed:E_REINJECT_LOST'],
    [{ do: 'end' } as const, 'failed:E_REINJECT_LOST'],
  ])('is given up when the peer says %j before its end, and its reader is closed', async (act, expected) => {
    const { reinjector } = await start({ act: ({ stage }) => (stage === 'content' ? act : undefined) })
    const source = endless(1)
    expect(brief(await deliverOne(reinjector, fromStream(source, 1_000_000)))).toEqual([expected])
    expect(source.destroyed).toBe(true)
  })

  test('times out when the peer does not take it, though it is in memory', async () => {
    const { mta, reinjector } = await start({ deaf: true }, { timeouts: { ...PATIENT, dataMs: 50 } })
    expect(brief(await deliverOne(reinjector, inMemory('x'.repeat(20_000_000))))).toEqual([
      'failed:E_REINJECT_TIMEOUT',
    ])
    expect(mta.transactions[0]?.complete).toBe(false)
  })

  test('times out when the peer takes no more of it', async () => {
    const { reinjector } = await start({ deaf: true }, { timeouts: { ...PATIENT, dataMs: 50 } })
    const source = endless(Number.POSITIVE_INFINITY)
    expect(brief(await deliverOne(reinjector, fromStream(source, 1e12)))).toEqual([
      'failed:E_REINJECT_TIMEOUT',
    ])
    expect(source.destroyed).toBe(true)
  })
})

describe('an abort', () => {
  test('before the start sends nothing', async () => {
    const { mta, reinjector } = await start()
    expect(brief(await deliverOne(reinjector, undefined, AbortSignal.abort()))).toEqual(['failed:E_ABORTED'])
    expect(mta.sessions).toHaveLength(0)
    await expect(reinjector.probe(AbortSignal.abort())).rejects.toMatchObject({ code: 'E_ABORTED' })
  })

  test('inside DATA never sends the dot of a message in memory that the peer has not taken', async () => {
    const { mta, reinjector } = await start({ deaf: true })
    const giveUp = new AbortController()
    const bytes = Buffer.alloc(20_000_000, 'x')
    let asked = false
    const message: OutgoingMessage = {
      ...inMemory(''),
      sizeBytes: bytes.length,
      get chunks() {
        asked = true
        return [bytes]
      },
    }
    const results = deliverOne(reinjector, message, giveUp.signal)
    // Everything is written to the socket in the same turn, and the peer takes only what its buffers hold.
    await until(() => asked)
    giveUp.abort()
    expect(brief(await results)).toEqual(['failed:E_ABORTED'])
    mta.sessions[0]?.socket.resume()
    await until(() => mta.open === 0)
    expect(mta.transactions[0]?.complete).toBe(false)
  })

  test('inside DATA never sends the dot of a message that is still read', async () => {
    const { mta, reinjector } = await start()
    const source = endless(3)
    const giveUp = new AbortController()
    const results = deliverOne(reinjector, fromStream(source, 1_000_000), giveUp.signal)
    await until(() => (mta.transactions[0]?.data.length ?? 0) > 0)
    giveUp.abort()
    expect(brief(await results)).toEqual(['failed:E_ABORTED'])
    expect(source.destroyed).toBe(true)
    await until(() => mta.open === 0)
    expect(mta.transactions[0]?.complete).toBe(false)
  })

  test('while waiting for a connection or for a reply frees the place', async () => {
    const { mta, reinjector } = await start(
      { act: ({ stage, session }) => (stage === 'dot' && session === 1 ? { do: 'hang' } : undefined) },
      { connections: 1 },
    )
    const busy = new AbortController()
    const waiting = new AbortController()
    const first = deliverOne(reinjector, undefined, busy.signal)
    await until(() => mta.transactions[0]?.complete === true)
    const second = deliverOne(reinjector, undefined, waiting.signal)
    const third = deliverOne(reinjector)
    waiting.abort()
    expect(brief(await second)).toEqual(['failed:E_ABORTED'])
    busy.abort()
    expect(brief(await first)).toEqual(['failed:E_ABORTED'])
    expect(brief(await third)).toEqual(['relayed'])
  })

  test('while connecting keeps the connection for the next message', async () => {
    const { mta, reinjector } = await start()
    const giveUp = new AbortController()
    const results = deliverOne(reinjector, undefined, giveUp.signal)
    giveUp.abort()
    expect(brief(await results)).toEqual(['failed:E_ABORTED'])
    expect(brief(await deliverOne(reinjector))).toEqual(['relayed'])
    expect(mta.sessions).toHaveLength(1)
  })

  test('leaves no listener on a signal that lives on', async () => {
    const { reinjector } = await start()
    const controller = new AbortController()
    let listeners = 0
    const { signal } = controller
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1
      remove(...args)
    }
    await Promise.all([
      deliverOne(reinjector, undefined, signal),
      deliverOne(reinjector, undefined, signal),
      deliverOne(reinjector, undefined, signal),
    ])
    expect(listeners).toBe(0)
  })
})

async function* failing(): AsyncGenerator<Buffer> {
  yield Buffer.from('Subject: x\r\n')
  await Promise.resolve()
  throw new RangeError('disk gone')
}

/** So many chunks of 64 KiB, and then nothing more, and no end. */
function endless(chunks: number): Readable {
  let left = chunks
  return new Readable({
    read() {
      if (left-- > 0) this.push(Buffer.alloc(65_536, 'x'))
    },
  })
}
