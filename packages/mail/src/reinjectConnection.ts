import type { NetConnectOpts, Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { FilterError, formatAddress, printable } from '@ecluse/core'
import SMTPConnection, { type SMTPConnectionOptions } from 'nodemailer/lib/smtp-connection'
import type { ReinjectOptions } from './reinject.ts'
import { readExtensions, type Extensions } from './reinjectCommands.ts'
import { codeOf, ReplyReader } from './reinjectReply.ts'

/**
 * What we rely on of nodemailer 10.6.0 beyond its public face: how it opens, greets, says EHLO and upgrades to TLS,
 * one queue of functions waiting for replies, one place where errors end up (`_onError`), one where the end does
 * (`_destroy`). The transaction itself is ours: nodemailer tells recipients apart by their text, trims it and
 * refuses what is quoted.
 */
interface Internals {
  _responseActions: ((reply: string) => void)[]
  _destroyed: boolean
  _connectionDeadline: number
  _connectToHost(options: NetConnectOpts, secure: boolean): void
  _onData(chunk: Buffer): void
  _onEnd(): void
  _onClose(): void
  _onError(cause: unknown, type: string, reply?: string | false, command?: string): void
  _destroy(): void
  _actionGreeting(reply: string): void
  _actionEHLO(reply: string): void
  _parseEhloExtensions(reply: string): void
}

// The declarations hide these members, the code has them.
const Base = SMTPConnection as unknown as new (
  options: SMTPConnectionOptions,
) => Omit<SMTPConnection, '_socket'> & Internals & { _socket: Socket }

/** Who gets the replies: one transaction, or the RSET after it. */
export interface Dialogue {
  /** Replies to commands that are on their way. */
  readonly outstanding: number
  /** @throws FilterError when the reply cannot be: the connection is given up, and `onLost` called. */
  onReply(reply: string): void
  /** The connection is gone. Nothing follows. */
  onLost(error: FilterError): void
}

/** Whoever keeps the connection. */
export interface ConnectionOwner {
  /** It can take the next transaction. */
  onReady(connection: ReinjectConnection): void
  /** It is gone, whatever the reason. */
  onClosed(connection: ReinjectConnection, error: FilterError): void
}

/**
 * One connection to the next hop: connect, greeting, STARTTLS and EHLO as nodemailer does them, then one
 * {@link Dialogue} after the other. A reply that nothing waits for, one that is malformed, or silence ends it.
 */
export class ReinjectConnection extends Base {
  readonly mta: string
  /** The text of the greeting; '' before it came. */
  banner = ''
  extensions: Extensions = readExtensions('')
  /** It has waited for work after its first use, so that the peer may have closed it in the meantime. */
  kept = false
  /** Transactions begun. */
  used = 0

  readonly #reader = new ReplyReader()
  readonly #timeouts: ReinjectOptions['timeouts']
  readonly #connect: NetConnectOpts
  readonly #owner: ConnectionOwner
  #state: 'opening' | 'ready' | 'leaving' | 'gone' = 'opening'
  #failure: FilterError | undefined
  #dialogue: Dialogue | undefined
  #deadline = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: ReinjectOptions, owner: ConnectionOwner) {
    super(clientOptions(options))
    this.mta = mtaName(options)
    this.#timeouts = options.timeouts
    this.#owner = owner
    this.#connect = { ...options.address, noDelay: true }
  }

  /** The owner hears `onReady` when the session is set up, or `onClosed`. */
  open(): void {
    this._connectionDeadline = Date.now() + this.#timeouts.connectMs
    this.once('connect', () => this.#onSession())
    this.arm('connectMs')
    // Straight to the socket: connect() resolves names past /etc/hosts, and knows no Unix sockets.
    this._connectToHost(this.#connect, false)
  }

  get socket(): Socket {
    return this._socket
  }

  /** What ended it; undefined: it lives. */
  get failure(): FilterError | undefined {
    return this.#failure
  }

  /** Gives all replies to the dialogue from now on; one that is gone already calls `onLost` at once. */
  converse(dialogue: Dialogue): void {
    if (this.#failure) return dialogue.onLost(this.#failure)
    this.#dialogue = dialogue
  }

  /**
   * Ends the dialogue; the connection is ready for the next one when it is in no doubt.
   *
   * @param how 'reset' when the peer may still have an open transaction, 'leave' when it may hold other remains.
   */
  endDialogue(how: 'ready' | 'reset' | 'leave'): void {
    this.#dialogue = undefined
    if (this.#state !== 'ready') return
    if (how === 'leave') return this.leave()
    if (how === 'reset') return this.#reset()
    this.kept = true
    this.arm('idleMs')
    this.#owner.onReady(this)
  }

  /** Says QUIT, waits for its reply or the end. */
  leave(): void {
    if (this.#state === 'opening') return this.fail(new FilterError('E_ABORTED', `${this.mta}: closed`))
    if (this.#state !== 'ready') return
    this.#state = 'leaving'
    this.arm('commandMs')
    this.quit()
  }

  /** Drops the connection without another byte: what is not sent yet is never sent. */
  fail(error: FilterError): void {
    if (this.#failure) return
    this.#failure = error
    this.close()
  }

  /** The peer has this long from now on. One timer for each connection; setting the time costs no new one. */
  arm(what: 'connectMs' | 'commandMs' | 'dataMs' | 'dotMs' | 'idleMs'): void {
    this.#deadline = Date.now() + this.#timeouts[what]
    this.#timer ??= setTimeout(this.#onTimer, this.#tickMs())
  }

  /** Nothing is expected of the peer: we are the ones who take time. */
  disarm(): void {
    this.#deadline = Number.POSITIVE_INFINITY
  }

  /** Never longer than the shortest of the times, so that the timer cannot be late for any. */
  #tickMs(): number {
    const { connectMs, commandMs, dataMs, dotMs, idleMs } = this.#timeouts
    return Math.min(connectMs, commandMs, dataMs, dotMs, idleMs)
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    const left = this.#deadline - Date.now()
    if (left > 0) {
      this.#timer = setTimeout(this.#onTimer, Math.min(left, this.#tickMs()))
    } else if (this.#state === 'ready' && this.#dialogue === undefined) {
      this.leave()
    } else {
      this.fail(new FilterError('E_REINJECT_TIMEOUT', `${this.mta}: no answer in time`))
    }
  }

  #onSession(): void {
    // Our own timer watches from here on; nodemailer's would be touched with every read and write.
    this._socket.setTimeout(0)
    this.#state = 'ready'
    this.arm('idleMs')
    this.#owner.onReady(this)
  }

  #reset(): void {
    this.#dialogue = {
      outstanding: 1,
      onReply: (reply) => this.endDialogue(codeOf(reply) < 300 ? 'ready' : 'leave'),
      onLost: () => undefined,
    }
    this.arm('commandMs')
    this._socket.write('RSET\r\n', 'latin1')
  }

  /** Replaces nodemailer's reader, which takes nearly anything for a reply and hands one on for each event loop turn. */
  override _onData(chunk: Buffer): void {
    if (this._destroyed) return
    // A reply that is here before its command left answers something else: only what is outstanding now counts.
    let due = this.#dialogue?.outstanding ?? this._responseActions.length
    try {
      this.#reader.push(chunk)
      for (let reply = this.#reader.next(); reply !== undefined; reply = this.#reader.next()) {
        this.#take(reply, due-- > 0)
        if (this._destroyed) return
      }
      // RFC 3207 section 6: bytes in clear text behind the reply to STARTTLS could be anyone's.
      if (this.upgrading === true && this.#reader.pending) throw outOfTurn()
    } catch (cause) {
      this._onError(cause, 'EPROTOCOL')
    }
  }

  #take(reply: string, due: boolean): void {
    if (this.#state === 'opening' || this.#state === 'leaving') {
      const action = this._responseActions.shift()
      if (!due || action === undefined || this.upgrading === true) throw outOfTurn()
      action.call(this, reply)
    } else if (this.#dialogue === undefined) {
      // RFC 5321 section 3.8: 421 may come at any time. Nobody waits, so nobody has to hear of it.
      this.close()
    } else if (codeOf(reply) === 421) {
      throw new FilterError('E_REINJECT_LOST', `${this.mta}: the peer ended the session (421)`)
    } else if (due) {
      this.#dialogue.onReply(reply)
    } else {
      throw outOfTurn()
    }
  }

  override _actionGreeting(reply: string): void {
    this.banner = printable(reply.slice(4))
    super._actionGreeting(reply)
  }

  override _actionEHLO(reply: string): void {
    // No HELO after a refused EHLO: a next hop without extensions would lose XFORWARD, DSN and SMTPUTF8 silently.
    if (codeOf(reply) >= 300) return this._onError(undefined, 'ECONNECTION', reply)
    super._actionEHLO(reply)
  }

  override _parseEhloExtensions(reply: string): void {
    this.extensions = readExtensions(reply)
    super._parseEhloExtensions(reply)
  }

  /** The peer said that nothing follows: no half-open connection is of use to us. */
  override _onEnd(): void {
    this._onClose()
  }

  override _onClose(): void {
    if (this.#state === 'leaving' || (this.#state === 'ready' && this.#dialogue === undefined)) this.close()
    else this._onError(undefined, 'ECONNECTION')
  }

  override _onError(cause: unknown, type: string, reply?: string | false): void {
    if (cause instanceof FilterError) return this.fail(cause)
    const refused = typeof reply === 'string' && reply !== '' ? ` (${printable(reply)})` : ''
    const opening = this.#state === 'opening'
    if (type === 'ETIMEDOUT') {
      this.fail(new FilterError('E_REINJECT_TIMEOUT', `${this.mta}: no answer in time`, { cause }))
    } else if (opening) {
      this.fail(
        new FilterError('E_REINJECT_CONNECT', `${this.mta}: cannot open a session${refused}`, { cause }),
      )
    } else {
      this.fail(new FilterError('E_REINJECT_LOST', `${this.mta}: connection lost`, { cause }))
    }
  }

  /** The one end of every connection: frees the timer, tells the dialogue and the owner, once each. */
  override _destroy(): void {
    if (this._destroyed) return
    super._destroy()
    clearTimeout(this.#timer)
    this.#state = 'gone'
    this.#failure ??= new FilterError('E_REINJECT_LOST', `${this.mta}: connection closed`)
    const dialogue = this.#dialogue
    this.#dialogue = undefined
    dialogue?.onLost(this.#failure)
    this.#owner.onClosed(this, this.#failure)
  }
}

/** `smtp:[127.0.0.1]:10025`, `lmtp:[unix:/path]`, as it stands in replies. */
function mtaName({ protocol, address }: Pick<ReinjectOptions, 'protocol' | 'address'>): string {
  if ('path' in address) return `${protocol}:[${formatAddress(address)}]`
  return `${protocol}:[${address.host}]:${address.port}`
}

function clientOptions({
  protocol,
  address,
  hostname,
  tls,
  timeouts,
}: ReinjectOptions): SMTPConnectionOptions {
  const mode = tls?.mode ?? 'off'
  const secured: ConnectionOptions = {
    // Without `require` TLS keeps eavesdroppers out at best; refusing a certificate would only delay mail.
    rejectUnauthorized: tls?.rejectUnauthorized ?? mode === 'require',
  }
  if (tls?.ca !== undefined) secured.ca = tls.ca
  return {
    host: 'host' in address ? address.host : 'localhost',
    port: 'port' in address ? address.port : 25,
    // Port 465 would otherwise mean TLS from the first byte.
    secure: false,
    name: hostname,
    lmtp: protocol === 'lmtp',
    ignoreTLS: mode === 'off',
    opportunisticTLS: mode === 'may',
    requireTLS: mode === 'require',
    ...(tls?.servername === undefined ? {} : { servername: tls.servername }),
    tls: secured,
    connectionTimeout: timeouts.connectMs,
    greetingTimeout: timeouts.connectMs,
    // close() must destroy: an orderly end would still send what is in the buffers, the final dot with it.
    socketCloseTimeout: 0,
  }
}

function outOfTurn(): FilterError {
  return new FilterError('E_REINJECT_PROTOCOL', 'a reply without a command')
}
