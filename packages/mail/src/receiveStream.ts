import { SMTPStream } from 'smtp-server/lib/smtp-stream.js'

/**
 * Longest command line taken, in octets without its CRLF. RFC 5321 section 4.5.3.1.4 demands 512 and more for each
 * extension. Postfix takes a path of 2,000 octets and adds it as ORCPT, where xtext has three for one, and RFC 6533 six:
 * a refusal would become a notice to the sender.
 */
export const COMMAND_OCTETS = 16_384

/** Why a line is no command. */
export type LineFault = 'too-long' | 'bare-lf'

/** Takes what the stream reads, in the order of the bytes. */
export interface StreamReader {
  /** A command line without its CRLF, one character for each octet. */
  line(line: string): void
  /** A line that must not be looked at; it has been skipped. */
  fault(fault: LineFault): void
  /** A piece of the body, dots unstuffed. A promise: nothing more is read until it is settled. It never rejects. */
  body(chunk: Buffer): Promise<void> | undefined
  /** The final dot was seen; commands follow. */
  endBody(): void
  /** All input that there is has been read: time to send the replies. A promise: wait for it before reading on. */
  flush(): Promise<void> | undefined
}

const CR = 0x0d
const LF = 0x0a
const DOT = 0x2e
const NOTHING = Buffer.alloc(0)
const CRLF_DOT = Buffer.from('\r\n.')

/**
 * Splits what the client sends into command lines and message bodies. The same bytes give the same lines and bodies,
 * however they are cut into segments.
 *
 * Of smtp-server's parser only the place in the connection is kept. Its own reading knows no bare LF, copies each
 * chunk through a PassThrough, loops over its bytes, and needs a turn of the event loop for each dot-stuffed line.
 */
export class FilterStream extends SMTPStream {
  readonly #reader: StreamReader
  #chunk: Buffer = NOTHING
  #position = 0
  #next: ((error?: Error | null) => void) | undefined
  #suspended = false

  /** The beginning of a command line whose end has not come yet. */
  #partialLine = ''
  /** The line is over the limit: nothing of it is kept. */
  #skipping = false
  /** A bare LF went before in this line. */
  #tainted = false

  #inBody = false
  /** The next byte of the body is the first of a line, that is: follows CRLF or begins the body. */
  #lineStart = false
  /** The last byte of the body was CR. */
  #afterCr = false
  /** `.` or `.CR` at the start of a line, which the next byte decides about. */
  #held: Buffer | undefined
  /** The final dot has been read, but the sink has yet to take what came before it. */
  #ended = false

  constructor(reader: StreamReader) {
    super()
    this.#reader = reader
  }

  /** What follows the current line is a body. */
  startBody(): void {
    this.#inBody = true
    this.#lineStart = true
    this.#afterCr = false
    this.#held = undefined
  }

  /** Reads nothing more until {@link continue}. */
  suspend(): void {
    this.#suspended = true
  }

  get suspended(): boolean {
    return this.#suspended
  }

  /** A command line has begun whose end has not come. */
  get inLine(): boolean {
    return !this.#inBody && (this.#skipping || this.#partialLine !== '')
  }

  override continue(): void {
    if (!this.#suspended) return
    this.#suspended = false
    if (this.#next) this.#run()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding | 'buffer', next: () => void): void {
    this.#chunk = chunk
    this.#position = 0
    this.#next = next
    this.#run()
  }

  /** A line without its end is no command: the base class would run it when the client hangs up. */
  override _flushData(): void {
    this.#partialLine = ''
  }

  #run(): void {
    if (this.#ended && !this.isClosed) this.#endBody()
    while (!this.isClosed && !this.#suspended && this.#position < this.#chunk.length) {
      if (this.#inBody) this.#readBody()
      else this.#readLine()
    }
    const flushed = this.isClosed ? undefined : this.#reader.flush()
    if (flushed) this.#waitFor(flushed)
    if (this.#suspended && !this.isClosed) return
    const next = this.#next
    this.#next = undefined
    this.#chunk = NOTHING
    this.#position = 0
    next?.()
  }

  #waitFor(promise: Promise<void>): void {
    this.suspend()
    void promise.then(() => this.continue())
  }

  #readLine(): void {
    const chunk = this.#chunk
    const start = this.#position
    const lf = chunk.indexOf(LF, start)
    const end = lf < 0 ? chunk.length : lf
    this.#position = lf < 0 ? end : lf + 1
    // One more than the limit: the CR.
    if (this.#partialLine.length + end - start > COMMAND_OCTETS + 1) {
      this.#skipping = true
      // Whether the LF is bare is decided by the last octet alone.
      this.#partialLine = end > start ? chunk.toString('latin1', end - 1, end) : this.#partialLine.slice(-1)
    } else if (this.#skipping) {
      if (end > start) this.#partialLine = chunk.toString('latin1', end - 1, end)
    } else {
      this.#partialLine += chunk.toString('latin1', start, end)
    }
    if (lf >= 0) this.#endLine()
  }

  /**
   * A line ends at LF, but counts only between two CRLFs: what stands before or behind a bare LF is refused, each
   * part with a reply of its own, lest a command hide in the argument of another.
   */
  #endLine(): void {
    const line = this.#partialLine
    const skipped = this.#skipping
    const tainted = this.#tainted
    this.#partialLine = ''
    this.#skipping = false
    this.#tainted = !line.endsWith('\r')
    if (tainted || this.#tainted) this.#reader.fault('bare-lf')
    else if (skipped || line.length > COMMAND_OCTETS + 1) this.#reader.fault('too-long')
    else this.#reader.line(line.slice(0, -1))
  }

  /** Hands on what the chunk holds of the body as one piece. */
  #readBody(): void {
    if (this.#held) {
      this.#chunk = Buffer.concat([this.#held, this.#chunk.subarray(this.#position)])
      this.#position = 0
      this.#held = undefined
    }
    const begin = this.#position
    const end = this.#unstuff(this.#chunk, begin)
    if (end > begin) {
      const taken = this.#reader.body(this.#chunk.subarray(begin, end))
      if (taken) return this.#waitFor(taken)
    }
    if (this.#ended) this.#endBody()
  }

  /** Removes the dots in place (nobody else holds the chunk), and gives the end of what is left of the body. */
  #unstuff(chunk: Buffer, begin: number): number {
    let read = begin
    if (this.#afterCr && chunk[read] === LF) {
      this.#lineStart = true
      read += 1
    }
    this.#afterCr = false
    let write = read
    while (read < chunk.length) {
      if (this.#lineStart && chunk[read] === DOT) {
        if (this.#endsAt(chunk, read)) break
        read += 1
      }
      const found = chunk.indexOf(CRLF_DOT, read)
      const stop = found < 0 ? chunk.length : found + 2
      // Before the bytes move: what is left may overlap the last two.
      this.#lineStart = endsLine(chunk, read, stop)
      this.#afterCr = chunk[stop - 1] === CR
      if (write !== read) chunk.copyWithin(write, read, stop)
      write += stop - read
      read = stop
    }
    this.#position = this.#ended ? read + 3 : chunk.length
    return write
  }

  /** Whether the dot at the start of a line stands for itself no more: it ends the body, or what follows has to come. */
  #endsAt(chunk: Buffer, dot: number): boolean {
    const known = chunk.length - dot
    const mayEnd = known < 2 || chunk[dot + 1] === CR
    if (mayEnd && known < 3) {
      // A copy: the piece of the chunk before it now belongs to the sink.
      this.#held = Buffer.from(chunk.subarray(dot))
      return true
    }
    this.#ended = mayEnd && chunk[dot + 2] === LF
    return this.#ended
  }

  #endBody(): void {
    this.#ended = false
    this.#inBody = false
    this.#reader.endBody()
  }
}

function endsLine(chunk: Buffer, from: number, to: number): boolean {
  return to - from >= 2 && chunk[to - 1] === LF && chunk[to - 2] === CR
}
