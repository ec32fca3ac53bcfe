import { getEventListeners } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { CLEAN, type Envelope, type Message, type Scanner, type ScanRequest } from '@ecluse/core'
import { queued } from './queue.ts'

const NEVER = new AbortController().signal

/** A request that is known again by its sender. */
function request(mailFrom: string): ScanRequest {
  return { envelope: { mailFrom } as Envelope, message: {} as Message, hostname: 'h' }
}

/** A scanner that answers when it is told to. */
function manual(): {
  scanner: Scanner
  asked: string[]
  finish: (mailFrom: string, error?: Error) => void
  closed: () => boolean
} {
  const asked: string[] = []
  const finishers = new Map<string, (error?: Error) => void>()
  let closed = false
  return {
    asked,
    finish: (mailFrom, error) => finishers.get(mailFrom)?.(error),
    closed: () => closed,
    scanner: {
      scan: async ({ envelope }) =>
        await new Promise((resolve, reject) => {
          asked.push(envelope.mailFrom)
          finishers.set(envelope.mailFrom, (error) => (error ? reject(error) : resolve(CLEAN)))
        }),
      version: async () => ({ engine: 'manual' }),
      close: async () => {
        closed = true
      },
    },
  }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

describe('a scanner for two messages at a time', () => {
  test('is asked in order, as others get done or fail', async () => {
    const { scanner, asked, finish } = manual()
    const queue = queued(scanner, { name: 'q', atOnce: 2 })
    const scans = ['a', 'b', 'c', 'd', 'e'].map((name) => queue.scan(request(name), NEVER))
    await settle()
    expect(asked).toEqual(['a', 'b'])
    finish('b')
    await settle()
    expect(asked).toEqual(['a', 'b', 'c'])
    finish('a', new Error('broken'))
    await expect(scans[0]).rejects.toThrow('broken')
    finish('c')
    await settle()
    expect(asked).toEqual(['a', 'b', 'c', 'd', 'e'])
    finish('d')
    finish('e')
    expect(await Promise.all(scans.slice(1))).toEqual([CLEAN, CLEAN, CLEAN, CLEAN])
    void queue.scan(request('f'), NEVER)
    void queue.scan(request('g'), NEVER)
    await settle()
    expect(asked.slice(5)).toEqual(['f', 'g'])
  })

  test('is not asked about a message whose time is up, nor is its place lost', async () => {
    const { scanner, asked, finish } = manual()
    const queue = queued(scanner, { name: 'q', atOnce: 1 })
    const first = queue.scan(request('a'), NEVER)
    const controller = new AbortController()
    const late = queue.scan(request('late'), controller.signal)
    const next = queue.scan(request('next'), NEVER)
    await settle()
    controller.abort()
    await expect(late).rejects.toMatchObject({ code: 'E_SCANNER_BUSY' })
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    finish('a')
    await first
    await settle()
    expect(asked).toEqual(['a', 'next'])
    finish('next')
    expect(await next).toBe(CLEAN)
  })

  test('leaves no listener behind', async () => {
    const { scanner, finish } = manual()
    const queue = queued(scanner, { name: 'q', atOnce: 1 })
    const { signal } = new AbortController()
    const scans = [queue.scan(request('a'), signal), queue.scan(request('b'), signal)]
    await settle()
    finish('a')
    await settle()
    finish('b')
    await Promise.all(scans)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('tells its version without waiting, and is closed', async () => {
    const { scanner, closed } = manual()
    const queue = queued(scanner, { name: 'q', atOnce: 1 })
    void queue.scan(request('a'), NEVER)
    expect(await queue.version(NEVER)).toEqual({ engine: 'manual' })
    await queue.close?.()
    expect(closed()).toBe(true)
  })
})
