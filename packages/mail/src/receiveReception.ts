import { failpoint, FilterError, type SmtpReply } from '@ecluse/core'
import type { BodySink } from './receiveHandler.ts'
import { formatReply, isValidReply } from './receiveReply.ts'

/** The answer to whatever of ours is broken: the client keeps the message and comes again. */
export const BROKEN: SmtpReply = { code: 451, enhanced: '4.5.0', text: 'Error in processing' }

/** The body of one message on its way into a sink, which is ended or aborted exactly once. */
export class Reception {
  /** Absent: the sink has been ended or aborted, and what still comes is thrown away. */
  #sink: BodySink | undefined
  #sizeBytes = 0
  #oversized = false
  readonly #limits: { readonly sizeBytes: number; readonly replies: number }
  readonly #onBug: (cause: unknown) => void

  /** @param limits `replies`: how many the dot is answered with */
  constructor(
    sink: BodySink,
    limits: { readonly sizeBytes: number; readonly replies: number },
    onBug: (cause: unknown) => void,
  ) {
    this.#sink = sink
    this.#limits = limits
    this.#onBug = onBug
  }

  /** Hands on a piece of the body. A promise: the next one waits for it. It never rejects. */
  write(chunk: Buffer): Promise<void> | undefined {
    this.#sizeBytes += chunk.length
    const sink = this.#sink
    if (!sink) return undefined
    if (this.#sizeBytes > this.#limits.sizeBytes) {
      this.#oversized = true
      this.abort('the message exceeds the size limit')
      return undefined
    }
    try {
      failpoint('K1-content-begins')
      const taken = sink.write(chunk)
      failpoint('K2-content-midway')
      return taken && this.#settled(taken)
    } catch (cause) {
      this.#break(cause)
      return undefined
    }
  }

  /** Ends the sink: the reply lines, or a promise of them, which never rejects. */
  end(): string | Promise<string> {
    const sink = this.#sink
    if (sink) return this.#answer(sink)
    const text = `Message size (${this.#sizeBytes} B) exceeds size limit`
    return this.#forAll(this.#oversized ? { code: 552, enhanced: '5.3.4', text } : BROKEN)
  }

  /** No dot will come, or none that counts. Without effect after {@link end}. */
  abort(reason: string): void {
    const sink = this.#sink
    this.#sink = undefined
    try {
      sink?.abort(new FilterError('E_ABORTED', reason))
    } catch (cause) {
      this.#onBug(cause)
    }
  }

  async #answer(sink: BodySink): Promise<string> {
    this.#sink = undefined
    try {
      const replies = await sink.end()
      if (replies.length === this.#limits.replies && replies.every(isValidReply)) {
        return replies.map(formatReply).join('')
      }
      this.#onBug(new TypeError(`${replies.length} replies, or invalid ones, to ${this.#limits.replies}`))
    } catch (cause) {
      this.#onBug(cause)
    }
    return this.#forAll(BROKEN)
  }

  async #settled(taken: Promise<void>): Promise<void> {
    try {
      await taken
    } catch (cause) {
      this.#break(cause)
    }
  }

  #break(cause: unknown): void {
    // A sink that was aborted while it wrote rejects for that reason.
    if (!this.#sink) return
    this.#onBug(cause)
    this.abort('the sink failed')
  }

  #forAll(reply: SmtpReply): string {
    return formatReply(reply).repeat(this.#limits.replies)
  }
}
