import type { Socket } from 'node:net'
import { ProxyHeaderReader, type ProxyHeader } from './proxyHeader.ts'
import type { ReceiverEvent } from './receiveHandler.ts'

/** What those that wait for a header share. */
export interface ProxyHeadersOptions {
  /** How many may wait at the same time; more are closed without a word. */
  readonly limit: number
  readonly log: (event: ReceiverEvent) => void
  /** Told of one that found no place. */
  readonly crowded: (peer: string) => void
}

/** smtpd_upstream_proxy_timeout of Postfix. The header is in the first segment: this is for one that was lost. */
const HEADER_MS = 5000

interface Waiting {
  /** By the time in which we were there to read; absent: not looked at yet. */
  since?: number
  refuse(what: 'malformed' | 'late'): void
  /** Closes it without a word, in the log either. */
  drop(): void
}

/**
 * Connections of proxies whose header has yet to come. Nothing is said to them before it, and to what is no header
 * nothing at all: whoever sends something else speaks another protocol.
 */
export class ProxyHeaders {
  readonly #options: ProxyHeadersOptions
  readonly #waiting = new Map<Socket, Waiting>()

  constructor(options: ProxyHeadersOptions) {
    this.#options = options
  }

  /** Reads the header of a fresh connection. `onHeader` is called at most once, with all that is behind it unread. */
  expect(socket: Socket, onHeader: (header: ProxyHeader) => void): void {
    const peer = socket.remoteAddress ?? ''
    if (this.#waiting.size >= this.#options.limit) {
      this.#options.crowded(peer)
      socket.on('error', ignore).destroy()
      return
    }
    const reader = new ProxyHeaderReader()
    let begun = false
    const settle = (): void => {
      this.#waiting.delete(socket)
      socket.off('readable', read).off('end', gone).off('close', gone).off('error', gone)
    }
    const drop = (): void => {
      settle()
      socket.on('error', ignore).destroy()
    }
    const refuse = (what: 'malformed' | 'late'): void => {
      drop()
      this.#options.log({ event: 'proxy', peer, what })
    }
    // A check that only connects is nothing to report.
    const gone = (): void => {
      if (begun) refuse('malformed')
      else drop()
    }
    const read = (): void => {
      for (let chunk: Buffer | null; (chunk = socket.read() as Buffer | null) !== null;) {
        begun = true
        const reading = reader.read(chunk)
        if (reading === 'incomplete') continue
        if (reading === 'malformed') return refuse(reading)
        settle()
        if (reading.rest.length > 0) socket.unshift(reading.rest)
        return onHeader(reading.header)
      }
    }
    this.#waiting.set(socket, { refuse, drop })
    socket.on('readable', read).on('end', gone).on('close', gone).on('error', gone)
  }

  /** Looks for those that take too long. @param attentiveMs time in which we were there to read, rising */
  look(attentiveMs: number): void {
    for (const waiting of this.#waiting.values()) {
      waiting.since ??= attentiveMs
      if (attentiveMs - waiting.since >= HEADER_MS) waiting.refuse('late')
    }
  }

  /** Closes all of them. */
  drop(): void {
    for (const waiting of this.#waiting.values()) waiting.drop()
  }
}

function ignore(): void {
  // Of a connection that is being closed nothing more is of interest.
}
