import {
  failpoint,
  FilterError,
  type DeliveryResult,
  type Envelope,
  type Recipient,
  type ReinjectStage,
} from '@ecluse/core'
import type { OutgoingMessage } from './outgoing.ts'
import {
  isInternational,
  mailCommand,
  rcptCommand,
  xforwardCommands,
  type Extensions,
} from './reinjectCommands.ts'
import type { Dialogue, ReinjectConnection } from './reinjectConnection.ts'
import { DotStuffer } from './reinjectData.ts'
import { codeOf, queueIdOf, replyLine } from './reinjectReply.ts'

/** What one transaction shall hand over, and for whom. */
export interface TransactionRequest {
  readonly envelope: Envelope
  readonly recipients: readonly Recipient[]
  readonly message: OutgoingMessage
  readonly allOrNothing: boolean
}

/** What became of it. */
export interface TransactionOutcome {
  /** One for each recipient, in order. */
  readonly results: readonly DeliveryResult[]
  /** Indexes of recipients that were too many for this transaction and can have one of their own. */
  readonly postponed: readonly number[]
  /** True when the connection was lost before it answered anything: the peer has seen nothing that counts. */
  readonly unheard: boolean
}

/** Hands a message over on a connection that is ready. Never rejects. */
export async function transact(
  connection: ReinjectConnection,
  request: TransactionRequest,
  signal: AbortSignal,
): Promise<TransactionOutcome> {
  return await new Promise((resolve) => {
    const abort = () => connection.fail(aborted(signal))
    const transaction = new Transaction(connection, request, (outcome) => {
      signal.removeEventListener('abort', abort)
      resolve(outcome)
    })
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    transaction.begin()
  })
}

/** Why a message is given up when its signal aborts. */
export function aborted(signal: AbortSignal): FilterError {
  return new FilterError('E_ABORTED', 'reinjection given up', { cause: signal.reason })
}

/** RFC 5321 section 4.5.3.1.10: the recipients that were taken stay, the others go into a further transaction. */
function isTooMany(reply: string, accepted: number): boolean {
  return reply.startsWith('452') && (accepted > 0 || reply.startsWith('4.5.3', 4))
}

class Transaction implements Dialogue {
  outstanding = 0

  readonly #connection: ReinjectConnection
  readonly #request: TransactionRequest
  readonly #done: (outcome: TransactionOutcome) => void
  readonly #results: (DeliveryResult | undefined)[]
  /** Indexes, in RCPT TO order. */
  readonly #accepted: number[] = []
  readonly #postponed: number[] = []
  /** XFORWARD…, MAIL, RCPT…, DATA: in the order of their replies. */
  #commands: string[] = []
  #xforwards = 0
  /** Replies so far; up to the end of the commands also the index of the next one. */
  #replies = 0
  #sent = 0
  #xforwardRefused = false
  #mailRefused = false
  #refusals = 0
  #stage: 'commands' | 'content' | 'dot' | 'done' = 'commands'
  /** Ends the reading of a message from its file when nobody wants it any more. */
  #stopReading: (() => void) | undefined

  constructor(
    connection: ReinjectConnection,
    request: TransactionRequest,
    done: (outcome: TransactionOutcome) => void,
  ) {
    this.#connection = connection
    this.#request = request
    this.#done = done
    this.#results = Array.from({ length: request.recipients.length })
  }

  begin(): void {
    const connection = this.#connection
    if (connection.failure) return this.onLost(connection.failure)
    try {
      this.#commands = this.#prepare(connection.extensions)
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      this.#failRest(error)
      return this.#finish('ready')
    }
    connection.used += 1
    connection.converse(this)
    // Where one refusal stops all, DATA waits for the answers: content cannot be taken back once it is asked for.
    const held = this.#request.allOrNothing && this.#request.recipients.length > 1
    const batch = held ? this.#commands.length - 1 : this.#commands.length
    this.#send(connection.extensions.pipelining ? batch : 1)
  }

  #prepare(extensions: Extensions): string[] {
    const { envelope, recipients, message } = this.#request
    if (!extensions.smtpUtf8 && needsSmtpUtf8(this.#request)) {
      throw new FilterError('E_REINJECT_PROTOCOL', `${this.#connection.mta}: SMTPUTF8 needed, not offered`, {
        hint: 'the after-filter smtpd must offer SMTPUTF8 when Postfix accepts such mail',
      })
    }
    const commands = xforwardCommands(envelope.client, extensions.xforward)
    this.#xforwards = commands.length
    commands.push(mailCommand(envelope, message.sizeBytes, extensions))
    for (const recipient of recipients) commands.push(rcptCommand(recipient, extensions))
    commands.push('DATA')
    return commands
  }

  /** Sends the next commands in one write. */
  #send(count: number): void {
    let batch = ''
    for (const command of this.#commands.slice(this.#sent, this.#sent + count)) batch += `${command}\r\n`
    this.#sent += count
    this.outstanding += count
    this.#connection.arm('commandMs')
    this.#connection.socket.write(batch, 'latin1')
  }

  onReply(reply: string): void {
    const index = this.#replies
    this.#replies += 1
    this.outstanding -= 1
    if (this.#stage === 'dot') return this.#onDotReply(reply)
    const code = codeOf(reply)
    if (index === this.#commands.length - 1) return this.#onDataReply(reply, code)
    if (code >= 300 && code < 400) throw impossible(reply)
    if (index < this.#xforwards) this.#xforwardRefused ||= code >= 400
    else if (index === this.#xforwards) this.#onMailReply(reply, code)
    else this.#onRcptReply(index - this.#xforwards - 1, reply, code)
    if (this.outstanding > 0) this.#connection.arm('commandMs')
    else this.#proceed()
  }

  /** Everything sent is answered, DATA is not sent yet. */
  #proceed(): void {
    const beforeData = this.#sent === this.#commands.length - 1
    if (this.#mailRefused || (beforeData && this.#accepted.length === 0)) return this.#finish('reset')
    if (beforeData && this.#request.allOrNothing && this.#refusals > 0) {
      for (const index of this.#accepted) this.#withhold(index)
      return this.#finish('reset')
    }
    this.#send(1)
  }

  #onMailReply(reply: string, code: number): void {
    failpoint('K13-envelope-answered')
    if (code < 300) return
    this.#mailRefused = true
    for (let index = 0; index < this.#results.length; index++) this.#refuse(index, reply, 'mail')
  }

  #onRcptReply(index: number, reply: string, code: number): void {
    // Without a sender these replies only say so.
    if (this.#mailRefused) return
    if (code < 300) {
      this.#accepted.push(index)
      return
    }
    this.#refuse(index, reply, 'rcpt')
    this.#refusals += 1
    if (!this.#request.allOrNothing && isTooMany(reply, this.#accepted.length)) this.#postponed.push(index)
  }

  #onDataReply(reply: string, code: number): void {
    if (code < 300) throw impossible(reply)
    if (this.#accepted.length === 0) {
      // A peer that asks for content that has nobody to go to gets none, nor a second message.
      if (code < 400) this.#connection.fail(impossible(reply))
      else this.#finish('reset')
      return
    }
    if (code >= 400) {
      for (const index of this.#accepted) this.#refuse(index, reply, 'data')
      return this.#finish('reset')
    }
    if (code !== 354) throw impossible(reply)
    this.#stage = 'content'
    const { chunks } = this.#request.message
    if (chunks) this.#sendChunks(chunks)
    else void this.#sendStream()
  }

  #onDotReply(reply: string): void {
    const code = codeOf(reply)
    if (code >= 300 && code < 400) throw impossible(reply)
    const lmtp = this.#connection.options.lmtp === true
    // RFC 2033 section 4.2: one reply for each recipient that was accepted, in order.
    const answered = lmtp
      ? this.#accepted.slice(-this.outstanding - 1, this.#accepted.length - this.outstanding)
      : this.#accepted
    const line = replyLine(reply)
    const queuedAs = code < 300 ? queueIdOf(line) : undefined
    for (const index of answered) {
      if (code >= 400) this.#refuse(index, reply, 'dot')
      else this.#relay(index, line, queuedAs)
    }
    if (this.outstanding === 0) this.#finish(this.#xforwardRefused ? 'leave' : 'ready')
    else this.#connection.arm('dotMs')
  }

  #sendChunks(chunks: readonly Buffer[]): void {
    const { socket } = this.#connection
    const stuffer = new DotStuffer()
    this.#connection.arm('dataMs')
    socket.cork()
    for (const chunk of chunks) if (chunk.length > 0) socket.write(stuffer.push(chunk))
    this.#sendDot(stuffer)
    socket.uncork()
  }

  /** A message in a file: read and sent piece by piece, as the peer takes it. */
  async #sendStream(): Promise<void> {
    const { socket } = this.#connection
    const { message } = this.#request
    const stuffer = new DotStuffer()
    let left = message.sizeBytes
    try {
      const source = message.open()
      this.#stopReading = () => source.destroy()
      this.#connection.disarm()
      for await (const chunk of source) {
        const bytes = chunk as Buffer // a byte stream, see OutgoingMessage
        left -= bytes.length
        if (!this.#sending() || left < 0) break
        if (!socket.write(stuffer.push(bytes))) await this.#drained()
        failpoint('K14-content-partly-sent')
      }
      if (this.#sending() && left !== 0) throw new RangeError('size differs from the announced one')
    } catch (cause) {
      // Without the dot the peer drops what it has: a message cut short is never delivered.
      this.#connection.fail(
        new FilterError('E_SPOOL', 'reading the message failed during its delivery', { cause }),
      )
    }
    if (!this.#sending()) return
    this.#connection.arm('dataMs')
    this.#sendDot(stuffer)
  }

  #sending(): boolean {
    return this.#stage === 'content'
  }

  async #drained(): Promise<void> {
    const { socket } = this.#connection
    this.#connection.arm('dataMs')
    await new Promise<void>((resolve) => {
      const settle = () => {
        socket.off('drain', settle)
        socket.off('close', settle)
        resolve()
      }
      socket.on('drain', settle)
      socket.on('close', settle)
    })
    this.#connection.disarm()
  }

  #sendDot(stuffer: DotStuffer): void {
    this.#stage = 'dot'
    this.outstanding = this.#connection.options.lmtp === true ? this.#accepted.length : 1
    this.#connection.socket.write(stuffer.end(), this.#onFlushed)
  }

  /** The peer has taken all that we sent: from here on it works on the message. */
  readonly #onFlushed = (): void => {
    if (this.#stage === 'dot') this.#connection.arm('dotMs')
    failpoint('K15-dot-sent')
  }

  onLost(error: FilterError): void {
    if (this.#stage === 'done') return
    const unheard = this.#replies === 0 && error.code === 'E_REINJECT_LOST'
    this.#failRest(error)
    this.#stage = 'done'
    this.#stopReading?.()
    this.#report(unheard)
  }

  #finish(how: 'ready' | 'reset' | 'leave'): void {
    this.#stage = 'done'
    // A refused XFORWARD does not hold up the mail, but what the peer remembers of the client is in doubt.
    this.#connection.endDialogue(this.#xforwardRefused ? 'leave' : how)
    this.#report(false)
  }

  #report(unheard: boolean): void {
    const { recipients } = this.#request
    const results = this.#results.map((result, index): DeliveryResult => {
      if (result) return result
      throw new TypeError(`recipient ${index} of ${recipients.length} has no result`)
    })
    // Without one accepted recipient a further transaction would end like this one.
    this.#done({ results, postponed: this.#accepted.length > 0 ? this.#postponed : [], unheard })
  }

  #failRest(error: FilterError): void {
    for (const [index, result] of this.#results.entries()) {
      if (!result) this.#set(index, { recipient: this.#recipient(index), outcome: 'failed', error })
    }
  }

  #refuse(index: number, reply: string, stage: ReinjectStage): void {
    const { mta } = this.#connection
    const line = replyLine(reply)
    this.#set(index, { recipient: this.#recipient(index), outcome: 'refused', mta, line, stage })
  }

  #relay(index: number, line: string, queuedAs: string | undefined): void {
    const { mta } = this.#connection
    const relayed = { recipient: this.#recipient(index), outcome: 'relayed', mta, line } as const
    this.#set(index, queuedAs === undefined ? relayed : { queuedAs, ...relayed })
  }

  #withhold(index: number): void {
    this.#set(index, { recipient: this.#recipient(index), outcome: 'withheld' })
  }

  #set(index: number, result: DeliveryResult): void {
    this.#results[index] = result
  }

  #recipient(index: number): Recipient {
    return this.#request.recipients[index] as Recipient // an index of ours
  }
}

/**
 * RFC 6531 section 3.1: a message with an address or a header beyond ASCII needs the extension all the way. A header
 * that is not in memory is taken for one that does, since Postfix asks for SMTPUTF8 only where it is needed.
 */
function needsSmtpUtf8({ envelope, recipients, message }: TransactionRequest): boolean {
  if (!envelope.smtpUtf8) return false
  if (isInternational(envelope.mailFrom)) return true
  if (recipients.some(({ address }) => isInternational(address))) return true
  if (!message.chunks) return true
  const bytes = Buffer.concat(message.chunks)
  const end = bytes.indexOf('\r\n\r\n')
  return bytes.subarray(0, end === -1 ? bytes.length : end).some((byte) => byte > 0x7f)
}

function impossible(reply: string): FilterError {
  return new FilterError('E_REINJECT_PROTOCOL', `impossible reply ${codeOf(reply)}`)
}
