import { connect, type Socket } from 'node:net'
import type { Address } from '@ecluse/core'

/**
 * Kept connections to clamd: IDSESSION of clamd(8), in which each answer begins with the number of its question. A
 * connection of its own for each small message costs clamd and us more than the sending of it.
 *
 * One question at a time in each session, and whatever is odd about an answer ends the session, so that no answer is
 * ever taken for that of another message.
 */
export class ClamdSessions {
  readonly #address: Address
  readonly #idle: Session[] = []
  #known = false
  #closed = false

  constructor(address: Address) {
    this.#address = address
  }

  /** Whether the clamd that was asked last speaks IDSESSION. */
  get known(): boolean {
    return this.#known
  }

  /**
   * Asks in a session that is free, or in a new one.
   *
   * @param command sent as it is, in one write
   * @returns the whole answer without its number, as on a connection of its own; absent: nothing that could be relied
   * on came, and the question may be asked again elsewhere
   * @throws the reason of `signal` when it aborts
   */
  async ask(command: readonly Buffer[], signal: AbortSignal): Promise<string | undefined> {
    signal.throwIfAborted()
    const kept = this.#idle.pop()
    const session = kept ?? new Session(this.#address, (ended) => this.#forget(ended))
    const answer = await session.ask(command, signal)
    if (answer !== undefined) this.#known = true
    // A kept one may have been too old for clamd; a new one is what clamd can do.
    else if (!kept) this.#known = false
    if (answer === undefined || this.#closed || this.#idle.length >= MAX_IDLE) session.end()
    else this.#keep(session)
    return answer
  }

  /** Ends the free ones at once, the others after their answer. */
  close(): void {
    this.#closed = true
    for (const session of this.#idle.splice(0)) session.end()
  }

  #keep(session: Session): void {
    if (session.rest(IDLE_MS)) this.#idle.push(session)
  }

  #forget(session: Session): void {
    const at = this.#idle.indexOf(session)
    if (at !== -1) this.#idle.splice(at, 1)
  }
}

/** INSTREAM for a message in memory: one chunk, then the end of the data. */
export function instream(bytes: Buffer): Buffer[] {
  if (bytes.length === 0) return [INSTREAM, END_OF_DATA]
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return [INSTREAM, length, bytes, END_OF_DATA]
}

const INSTREAM = Buffer.from('zINSTREAM\0')
const IDSESSION = Buffer.from('zIDSESSION\0')
const END_OF_DATA = Buffer.alloc(4)
const MAX_IDLE = 16
/** clamd ends what is silent for its IdleTimeout, 30 s. */
const IDLE_MS = 5000
const MAX_REPLY_BYTES = 65_536

class Session {
  readonly #socket: Socket
  #received: Buffer[] = []
  #receivedBytes = 0
  #asked = 0
  #answer: ((received: Buffer | undefined) => void) | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param onEnd told when it cannot be asked any more */
  constructor(address: Address, onEnd: (session: Session) => void) {
    this.#socket = connect(address)
    this.#socket.setNoDelay(true)
    this.#socket
      .on('data', (chunk: Buffer) => this.#take(chunk))
      // Why it ended makes no difference: the question is asked again elsewhere, and that gives the reason.
      .on('error', () => undefined)
      .on('end', () => this.#socket.destroy())
      .on('close', () => {
        onEnd(this)
        this.#answer?.(undefined)
      })
  }

  async ask(command: readonly Buffer[], signal: AbortSignal): Promise<string | undefined> {
    clearTimeout(this.#timer)
    this.#socket.ref()
    this.#asked += 1
    const abort = (): void => this.end()
    signal.addEventListener('abort', abort, { once: true })
    try {
      const received = await new Promise<Buffer | undefined>((resolve) => {
        this.#answer = resolve
        this.#write(this.#asked === 1 ? [IDSESSION, ...command] : command)
        if (this.#socket.destroyed) resolve(undefined)
      })
      signal.throwIfAborted()
      return received && this.#isSent() ? withoutNumber(received.toString('latin1'), this.#asked) : undefined
    } finally {
      this.#answer = undefined
      signal.removeEventListener('abort', abort)
    }
  }

  /** Waits for the next question, for at most so long. False: it is over already. */
  rest(idleMs: number): boolean {
    if (this.#socket.destroyed) return false
    this.#socket.unref()
    this.#timer = setTimeout(() => this.end(), idleMs)
    this.#timer.unref()
    return true
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#socket.destroy()
  }

  #write(parts: readonly Buffer[]): void {
    this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    this.#socket.uncork()
  }

  /** An answer to a question that has not left yet is none. */
  #isSent(): boolean {
    return this.#socket.writableLength === 0
  }

  #take(chunk: Buffer): void {
    this.#receivedBytes += chunk.length
    // Nobody asked, or far too much: the next answer could not be told from the rest of this.
    if (!this.#answer || this.#receivedBytes > MAX_REPLY_BYTES) return this.end()
    this.#received.push(chunk)
    if (chunk[chunk.length - 1] !== 0) return
    const whole = Buffer.concat(this.#received)
    this.#received = []
    this.#receivedBytes = 0
    this.#answer(whole)
    this.#answer = undefined
  }
}

/** `1: stream: OK\0` without its number, each line of it; absent: it answers another question. */
function withoutNumber(answer: string, number: number): string | undefined {
  const prefix = `${number}: `
  const lines = answer.slice(0, -1).split('\0')
  if (!lines.every((line) => line.startsWith(prefix))) return undefined
  return lines.map((line) => `${line.slice(prefix.length)}\0`).join('')
}
