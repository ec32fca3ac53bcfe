import {
  failpoint,
  printable,
  SHUTTING_DOWN_REPLY,
  type Client,
  type Envelope,
  type MailProtocol,
  type Recipient,
  type SmtpReply,
} from '@ecluse/core'
import { decodePath } from './path.ts'
import type { ReceiveHandler, ReceiverEvent } from './receiveHandler.ts'
import { parseMail, parseRcpt, type Sender } from './receiveParameters.ts'
import { BROKEN, Reception } from './receiveReception.ts'
import { formatReply, isValidReply } from './receiveReply.ts'
import { COMMAND_OCTETS, type LineFault } from './receiveStream.ts'
import { applyXforward } from './xforward.ts'

/** What all dialogues of a listener share. */
export interface DialogueOptions {
  readonly protocol: MailProtocol
  readonly hostname: string
  /** For {@link Envelope}. */
  readonly listener: string
  readonly messageSizeBytes: number
  readonly recipients: number
  /** STARTTLS is offered. */
  readonly tls: boolean
  /** MAIL is refused without it. */
  readonly tlsRequired: boolean
}

/** The connection that a dialogue is held over. */
export interface Channel {
  /** Queues whole reply lines; they leave together when the input at hand has been read. */
  reply(lines: string): void
  /** What follows is a body. */
  startBody(): void
  startTls(): void
  /** Reads nothing more until {@link resume}. */
  suspend(): void
  resume(): void
  /** Sends what is queued and closes. */
  close(): void
}

/** Errors in a row that end the connection. */
const MAX_ERRORS = 20
/** RFC 5321 section 4.5.3.1.2 allows 255 for a domain; Postfix may be given more. */
const HELO_OCTETS = 300
// oxlint-disable-next-line no-control-regex -- refusing them is the purpose
const CONTROL = /[\x00-\x1f\x7f]/
/** Who reads a path looks at control characters itself. */
const WITH_PATH = /^(?:MAIL FROM|RCPT TO):/i
const HTTP = /^(?:CONNECT|DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT|TRACE) .* HTTP\/\d/i

interface Transaction extends Sender {
  readonly recipients: Recipient[]
}

/**
 * One LMTP or SMTP dialogue (RFC 2033, RFC 5321): commands and body in, replies out. It knows no socket. The envelope
 * is made anew for each transaction, so nothing of one message can reach the next one.
 */
export class Dialogue {
  readonly #options: DialogueOptions
  readonly #handler: ReceiveHandler
  readonly #channel: Channel
  readonly #log: (event: ReceiverEvent) => void
  readonly #peer: { readonly address?: string; readonly port?: number }
  #tls: string | undefined
  /** Absent: LHLO or EHLO has not come. */
  #helo: string | undefined
  #client: Client = {}
  #transaction: Transaction | undefined
  #reception: Reception | undefined
  #answering = false
  #shuttingDown = false
  #errors = 0

  constructor(
    options: DialogueOptions,
    handler: ReceiveHandler,
    connection: {
      readonly channel: Channel
      readonly peer: { readonly address?: string; readonly port?: number }
      readonly log: (event: ReceiverEvent) => void
    },
  ) {
    this.#options = options
    this.#handler = handler
    this.#channel = connection.channel
    this.#peer = connection.peer
    this.#log = connection.log
  }

  /** A message is coming in, or is with the sink, which has not answered yet. */
  get busy(): boolean {
    return this.#reception !== undefined || this.#answering
  }

  greet(): void {
    const { hostname, protocol } = this.#options
    const name = protocol === 'lmtp' ? 'LMTP' : 'ESMTP'
    this.#channel.reply(`220 ${hostname} ${name} ecluse service ready\r\n`)
  }

  /** A command line without its CRLF, one character for each octet. */
  line(line: string): void {
    if (CONTROL.test(line) && !WITH_PATH.test(line))
      return this.refuse(500, '5.5.2', 'Error: control character in command')
    const blank = line.indexOf(' ')
    const verb = (blank < 0 ? line : line.slice(0, blank)).toUpperCase()
    const args = blank < 0 ? '' : line.slice(blank + 1).trim()
    const command = COMMANDS.get(verb)
    if (command) command(this, args)
    else if (HTTP.test(line)) this.#hangUp('http', 'Error: this is not a web server')
    else this.refuse(500, '5.5.2', `Error: command ${printable(verb, 64)} not recognized`)
  }

  /** A line that cannot be a command. */
  fault(fault: LineFault): void {
    const text =
      fault === 'bare-lf'
        ? 'Error: a command ends with <CR><LF>'
        : `Error: command longer than ${COMMAND_OCTETS} octets`
    this.refuse(500, '5.5.2', text)
  }

  /** A piece of the body. A promise: the next one waits for it. It never rejects. */
  body(chunk: Buffer): Promise<void> | undefined {
    return this.#reception?.write(chunk)
  }

  /** The final dot. */
  endBody(): void {
    const reply = this.#reception?.end()
    // All of the transaction ends at the dot, whatever the answer will be.
    this.#reset()
    if (typeof reply === 'string') this.#finish(reply)
    else if (reply) void this.#finishLater(reply)
  }

  /** TLS is on: what was known from before does not count (RFC 3207 section 4.2). */
  secured(tls: string): void {
    this.#tls = tls
    this.#helo = undefined
    this.#reset()
  }

  /** No new transaction from now on; closes at once when none is running, else after it. */
  shutdown(): void {
    this.#shuttingDown = true
    this.#leaveIfIdle()
  }

  /** No more input will come. */
  abort(reason: string): void {
    this.#reception?.abort(reason)
    this.#reset()
  }

  hello(verb: string, args: string): void {
    const { protocol } = this.#options
    if ((verb === 'LHLO') !== (protocol === 'lmtp')) {
      return this.refuse(500, '', `Error: ${verb} not allowed in ${protocol.toUpperCase()}`)
    }
    if (args === '' || args.includes(' ') || args.length > HELO_OCTETS) {
      return this.refuse(501, '', `Syntax: ${verb} hostname`)
    }
    this.#helo = decodePath(args)
    this.#reset()
    this.#errors = 0
    this.#channel.reply(verb === 'HELO' ? `250 ${this.#options.hostname}\r\n` : this.#extensions())
  }

  xforward(args: string): void {
    if (!this.#greeted()) return
    if (this.#transaction) {
      return this.refuse(503, '5.5.1', 'Error: XFORWARD not allowed within transaction')
    }
    const client = applyXforward(this.#client, args)
    if (!client) return this.refuse(501, '5.5.4', 'Error: bad XFORWARD attribute')
    this.#client = client
    this.#accept('250 2.5.0 Ok XFORWARD\r\n')
  }

  mail(args: string): void {
    if (!this.#greeted()) return
    const { tlsRequired, messageSizeBytes } = this.#options
    if (this.#transaction) return this.refuse(503, '5.5.1', 'Error: nested MAIL command')
    if (tlsRequired && this.#tls === undefined) {
      return this.refuse(530, '5.7.0', 'Must issue a STARTTLS command first')
    }
    if (this.#shuttingDown) return this.#say(SHUTTING_DOWN_REPLY)
    const sender = parseMail(args)
    if ('code' in sender) return this.refuse(sender.code, sender.enhanced, sender.text)
    const { declaredBytes = 0 } = sender
    if (declaredBytes > messageSizeBytes) {
      const text = `Declared message size (${declaredBytes} B) exceeds size limit`
      return this.#say({ code: 552, enhanced: '5.3.4', text })
    }
    const { address: peer } = this.#peer
    const request = { declaredBytes, ...(peer !== undefined && { peer }) }
    const refusal = this.#ask(() => this.#handler.admit?.(request))
    if (refusal) return this.#say(refusal)
    this.#transaction = { recipients: [], ...sender }
    this.#accept(formatReply({ code: 250, enhanced: '2.1.0', text: `Sender <${sender.mailFrom}> OK` }))
  }

  rcpt(args: string): void {
    const transaction = this.#needTransaction()
    if (!transaction) return
    const { recipients } = transaction
    const recipient = parseRcpt(args)
    if ('code' in recipient) return this.refuse(recipient.code, recipient.enhanced, recipient.text)
    if (recipients.length >= this.#options.recipients) {
      return this.#say({ code: 452, enhanced: '4.5.3', text: 'Too many recipients' })
    }
    const refusal = this.#ask(() => this.#handler.acceptRecipient?.(recipient))
    if (refusal) return this.#say(refusal)
    // One entry for each 250, also for an address given twice: the client counts replies, not addresses.
    recipients.push(recipient)
    this.#accept(formatReply({ code: 250, enhanced: '2.1.5', text: `Recipient <${recipient.address}> OK` }))
  }

  data(): void {
    const transaction = this.#needTransaction()
    if (!transaction) return
    const lmtp = this.#options.protocol === 'lmtp'
    if (transaction.recipients.length === 0) {
      return this.refuse(lmtp ? 503 : 554, '5.1.1', 'Error (DATA): no valid recipients')
    }
    const begun = this.#ask(() => this.#handler.begin(this.#envelope(transaction))) ?? BROKEN
    if ('code' in begun) {
      this.#reset()
      this.#say(begun)
      return this.#leaveIfIdle()
    }
    const limits = {
      sizeBytes: this.#options.messageSizeBytes,
      replies: lmtp ? transaction.recipients.length : 1,
    }
    this.#reception = new Reception(begun, limits, this.#onBug)
    this.#channel.startBody()
    this.#accept('354 End data with <CR><LF>.<CR><LF>\r\n')
  }

  rset(): void {
    this.#reset()
    this.#accept('250 2.0.0 Ok RSET\r\n')
    this.#leaveIfIdle()
  }

  quit(): void {
    this.#channel.reply(`221 2.0.0 ${this.#options.hostname} ecluse closing transmission channel\r\n`)
    this.#channel.close()
  }

  starttls(): void {
    if (!this.#options.tls) return this.refuse(502, '5.5.1', 'Error: command STARTTLS not implemented')
    if (this.#tls !== undefined) return this.refuse(503, '5.5.1', 'Error: TLS already active')
    this.#channel.reply('220 2.0.0 Ready to start TLS\r\n')
    this.#channel.startTls()
  }

  /** A command that was understood and changes nothing. */
  noop(reply: string): void {
    this.#accept(reply)
  }

  /** A protocol error. Too many of them in a row end the connection. */
  refuse(code: number, enhanced: string, text: string): void {
    this.#errors += 1
    if (this.#errors >= MAX_ERRORS) return this.#hangUp('errors', 'Error: too many errors')
    // RFC 2034 section 4: replies to HELO and EHLO have no enhanced code.
    this.#channel.reply(
      enhanced === '' ? `${code} ${printable(text)}\r\n` : formatReply({ code, enhanced, text }),
    )
  }

  #accept(lines: string): void {
    this.#errors = 0
    this.#channel.reply(lines)
  }

  /** A refusal that is no error of the client. */
  #say(reply: SmtpReply): void {
    this.#channel.reply(formatReply(reply))
    if (reply.code === 421) this.#channel.close()
  }

  #hangUp(what: 'errors' | 'http', text: string): void {
    this.#log({ event: 'abuse', peer: this.#peer.address ?? 'unix', what })
    this.#say({ code: 421, enhanced: '4.7.0', text })
  }

  /** Asks the handler; a throw or a reply that is none becomes {@link BROKEN}. */
  #ask<T extends object>(question: () => T | undefined): T | SmtpReply | undefined {
    try {
      const answer = question()
      if (answer === undefined || !('code' in answer) || isValidReply(answer as SmtpReply & T)) return answer
      this.#onBug(new TypeError('the handler gave an invalid reply'))
    } catch (cause) {
      this.#onBug(cause)
    }
    return BROKEN
  }

  readonly #onBug = (cause: unknown): void => {
    this.#log({ event: 'bug', peer: this.#peer.address ?? 'unix', cause })
  }

  async #finishLater(reply: Promise<string>): Promise<void> {
    this.#answering = true
    this.#channel.suspend()
    const lines = await reply
    this.#answering = false
    this.#finish(lines)
    this.#channel.resume()
    failpoint('K18-replies-sent')
  }

  #finish(lines: string): void {
    this.#accept(lines)
    if (lines.startsWith('421')) this.#channel.close()
    this.#leaveIfIdle()
  }

  #leaveIfIdle(): void {
    if (this.#shuttingDown && !this.#transaction && !this.#answering) this.#say(SHUTTING_DOWN_REPLY)
  }

  #greeted(): boolean {
    if (this.#helo !== undefined) return true
    this.refuse(503, '5.5.1', `Error: send ${this.#options.protocol === 'lmtp' ? 'LHLO' : 'EHLO'} first`)
    return false
  }

  #needTransaction(): Transaction | undefined {
    if (this.#greeted() && !this.#transaction) this.refuse(503, '5.5.1', 'Error: need MAIL command')
    return this.#transaction
  }

  /** XFORWARD_README: what it said is for one transaction. */
  #reset(): void {
    this.#transaction = undefined
    this.#reception = undefined
    this.#client = {}
  }

  #envelope(transaction: Transaction): Envelope {
    const { protocol, listener } = this.#options
    const peer = { helo: this.#helo ?? '', ...this.#peer, ...(this.#tls !== undefined && { tls: this.#tls }) }
    return { protocol, client: this.#client, peer, listener, ...transaction }
  }

  #extensions(): string {
    const { hostname, messageSizeBytes, tls } = this.#options
    const lines = [
      hostname,
      'PIPELINING',
      `SIZE ${messageSizeBytes}`,
      'ENHANCEDSTATUSCODES',
      '8BITMIME',
      'SMTPUTF8',
      'DSN',
      ...(tls && this.#tls === undefined ? ['STARTTLS'] : []),
    ]
    const first = lines.map((line) => `250-${line}\r\n`).join('')
    return `${first}250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n`
  }
}

type Command = (dialogue: Dialogue, args: string) => void

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['LHLO', (dialogue, args) => dialogue.hello('LHLO', args)],
  ['EHLO', (dialogue, args) => dialogue.hello('EHLO', args)],
  ['HELO', (dialogue, args) => dialogue.hello('HELO', args)],
  ['XFORWARD', (dialogue, args) => dialogue.xforward(args)],
  ['MAIL', (dialogue, args) => dialogue.mail(args)],
  ['RCPT', (dialogue, args) => dialogue.rcpt(args)],
  ['DATA', withoutArguments('DATA', (dialogue) => dialogue.data())],
  ['RSET', withoutArguments('RSET', (dialogue) => dialogue.rset())],
  ['QUIT', withoutArguments('QUIT', (dialogue) => dialogue.quit())],
  ['STARTTLS', withoutArguments('STARTTLS', (dialogue) => dialogue.starttls())],
  ['NOOP', (dialogue) => dialogue.noop('250 2.0.0 Ok NOOP\r\n')],
  ['VRFY', (dialogue) => dialogue.noop('252 2.0.0 Argument not checked\r\n')],
  ['EXPN', (dialogue) => dialogue.refuse(502, '5.5.1', 'Error: command EXPN not implemented')],
])

function withoutArguments(verb: string, command: Command): Command {
  return (dialogue, args) => {
    if (args === '') command(dialogue, args)
    else dialogue.refuse(501, '5.5.4', `Syntax: ${verb}`)
  }
}
