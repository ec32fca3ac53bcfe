import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { SMTPConnection, type SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import { Dialogue, type Channel, type DialogueOptions } from './receiveDialogue.ts'
import type { ReceiveHandler, ReceiverEvent } from './receiveHandler.ts'
import { Pace, type Clock, type PaceLimits } from './receivePace.ts'
import { Places } from './receivePlaces.ts'
import { ProxyHeaders } from './receiveProxy.ts'
import { FilterStream } from './receiveStream.ts'

/** What a listener gives to each of its connections. */
export interface ListenerContext {
  readonly dialogue: DialogueOptions
  readonly handler: ReceiveHandler
  readonly log: (event: ReceiverEvent) => void
  /** Whether this IP address may talk to us; absent: a Unix socket, which its permissions guard. */
  readonly trusts?: (address: string) => boolean
  /** Whether connections from this IP address begin with a header of the PROXY protocol; absent: none do. */
  readonly isProxy?: (address: string) => boolean
  readonly connections: number
  readonly pace: PaceLimits
  readonly clock: Clock
}

/** How often connections are looked at. */
const LOOK_MS = 1000
/** Beyond those that have a place: who is being told to go, and who has been told and does not. */
const LEAVING_CONNECTIONS = 100

/**
 * smtp-server's listener with connections of ours. It does the accepting, the TLS contexts and the register of
 * connections; its own dialogue, which rewrites and merges addresses, is never reached.
 */
export class FilterServer extends SMTPServer {
  readonly #context: ListenerContext
  readonly #filterConnections = new Set<FilterConnection>()
  readonly #places: Places<FilterConnection>
  readonly #proxyHeaders: ProxyHeaders
  #stopWatching: () => void = () => undefined
  /** Who found no place since that was last told; `peer` is the last one. */
  #crowd: { readonly peer: string; readonly count: number } | undefined
  #crowdTold = false
  #closing = false
  #accepted = 0

  constructor(options: SMTPServerOptions, context: ListenerContext) {
    super(options)
    this.#context = context
    const { connections, log } = context
    this.#places = new Places(connections)
    this.#proxyHeaders = new ProxyHeaders({
      limit: connections,
      log,
      crowded: (peer) => this.crowded(peer),
    })
    // Those that wait for their client to hang up hold descriptors, too.
    this.server.maxConnections = 2 * connections + LEAVING_CONNECTIONS
    // Cut without a word by Node.
    this.server.on('drop', (cut) => this.crowded(cut?.remoteAddress ?? 'unix'))
  }

  /** Looks after slow clients from here on, until {@link drain}. */
  watch(): void {
    const { clock } = this.#context
    let last = clock.now()
    let attentiveMs = 0
    this.#stopWatching = clock.every(LOOK_MS, () => {
      const now = clock.now()
      // Where we come late ourselves, what clients sent meanwhile has not been read either.
      attentiveMs += Math.min(now - last, 2 * LOOK_MS)
      last = now
      this.#tellCrowd()
      this.#proxyHeaders.look(attentiveMs)
      const stressed = this.#places.ranOut()
      for (const connection of this.#filterConnections) connection.look({ now, attentiveMs, stressed })
    })
  }

  /** Whether there is a place for it, or one can be made. */
  seat(connection: FilterConnection): boolean {
    return this.#places.take(connection, this.#context.clock.now())
  }

  /** One line for the first one that finds no place, then one a second for all: thousands may come at once. */
  crowded(peer: string): void {
    this.#crowd = { peer, count: (this.#crowd?.count ?? 0) + 1 }
    if (!this.#crowdTold) this.#tellCrowd()
    this.#crowdTold = true
  }

  #tellCrowd(): void {
    this.#crowdTold = this.#crowd !== undefined
    if (this.#crowd) this.#context.log({ event: 'crowded', ...this.#crowd })
    this.#crowd = undefined
  }

  unseat(connection: FilterConnection): void {
    this.#places.release(connection)
  }

  /** The base class would emit it, which ends the process where nobody listens. One from listen() goes to its caller. */
  override _onError(cause: Error): void {
    if (this.server.listening) this.#context.log({ event: 'listener', cause })
  }

  /**
   * The base class reads version 1 only, takes more than a header for one, answers what is none, and knows proxies by
   * single addresses; and it draws a random number and waits for a turn where nothing is to be read.
   */
  override _handleProxy(...[socket, callback]: Parameters<SMTPServer['_handleProxy']>): void {
    this.#accepted += 1
    const id = String(this.#accepted)
    if (!this.#context.isProxy?.(socket.remoteAddress ?? '')) return callback(null, { id })
    this.#proxyHeaders.expect(socket, ({ source }) => {
      callback(null, { id, ...(source && { remoteAddress: source.address, remotePort: source.port }) })
    })
  }

  override connect(socket: Socket | TLSSocket, options?: SMTPConnectionOptions | null): void {
    if (socket.destroyed) return
    const connection = new FilterConnection(this, socket, { ...this.#context, options: options ?? {} })
    this.connections.add(connection)
    this.#filterConnections.add(connection)
    socket.once('close', () => this.#filterConnections.delete(connection))
    connection.init()
    if (this.#closing) connection.shutdown()
  }

  /** Stops listening and drains: idle clients go at once, the others after their transaction or when `signal` aborts. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#closing = true
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()))
    for (const connection of this.#filterConnections) connection.shutdown()
    const drop = (): void => {
      this.#proxyHeaders.drop()
      for (const connection of this.#filterConnections) connection.drop()
    }
    if (signal.aborted) drop()
    else signal.addEventListener('abort', drop, { once: true })
    await closed
    this.#stopWatching()
    this.#tellCrowd()
    signal.removeEventListener('abort', drop)
  }
}

/**
 * One connection. Kept of smtp-server: the socket's life (idle timer, half-closed sockets, STARTTLS with all that is
 * discarded there). Replaced: the greeting, which it holds back for 100 ms, the parser, and every command.
 */
export class FilterConnection extends SMTPConnection implements Channel {
  readonly #context: ListenerContext
  readonly #server: FilterServer
  readonly #dialogue: Dialogue
  readonly #pace: Pace
  readonly peer: string
  /** When a message was last on it, or it was opened, as far as somebody looked. */
  usedAt: number
  #replies = ''
  #failed = false
  #used = false

  constructor(
    server: FilterServer,
    socket: Socket | TLSSocket,
    context: ListenerContext & { readonly options: SMTPConnectionOptions },
  ) {
    super(server, socket, context.options)
    this.#context = context
    this.#server = server
    this.#pace = new Pace(context.pace)
    this.usedAt = context.clock.now()
    this.peer = this.remoteAddress || 'unix'
    this.#dialogue = new Dialogue(context.dialogue, context.handler, {
      channel: this,
      peer: context.trusts ? { address: this.remoteAddress, port: this.remotePort } : {},
      log: context.log,
    })
  }

  override init(): void {
    const { trusts, log } = this.#context
    this._setListeners(() => {
      if (trusts && !trusts(this.remoteAddress)) {
        log({ event: 'untrusted', peer: this.peer })
        this.reply('554 5.7.1 Access denied\r\n')
        this.close()
      } else if (!this.#server.seat(this)) {
        this.#server.crowded(this.peer)
        this.reply('421 4.3.2 Too many connections, try again later\r\n')
        this.close()
        // Not half-closed until the client leaves, too: it has said nothing that could still be on its way.
        this._socket.destroySoon()
      } else {
        this.#dialogue.greet()
        this.#send()
      }
    })
  }

  /** The base class asks for it in its constructor, before any field of ours is there: hence the detours. */
  override _createParser(): FilterStream {
    return new FilterStream({
      line: (line) => this.#dialogue.line(line),
      fault: (fault) => this.#dialogue.fault(fault),
      body: (chunk) => {
        this.#pace.received(chunk.length)
        return this.#dialogue.body(chunk)
      },
      endBody: () => {
        this.#pace.endBody()
        this.#dialogue.endBody()
      },
      flush: () => this.#flush(),
    })
  }

  reply(lines: string): void {
    this.#replies += lines
  }

  startBody(): void {
    this.#pace.startBody()
    this.#used = true
    this.#stream?.startBody()
  }

  suspend(): void {
    this.#stream?.suspend()
  }

  resume(): void {
    this.#stream?.continue()
  }

  startTls(): void {
    this.#send()
    this.upgrade(() => undefined)
  }

  /** Sends what is queued and closes; a body that is coming in will not be complete. */
  override close(): void {
    this.#dialogue.abort('the connection was closed')
    this.#send()
    super.close()
    this.#server.unseat(this)
  }

  /** A message is on it: it is not to be closed to make room. */
  get busy(): boolean {
    return this.#dialogue.busy
  }

  /** Makes room for another one. */
  giveWay(): void {
    this.#context.log({ event: 'unused', peer: this.peer })
    this.reply('421 4.3.2 Too many connections, closing the one that is used least\r\n')
    this.close()
  }

  /** Looks whether the client keeps up, by the time in which we were there to read. */
  look({ now, attentiveMs, stressed }: { now: number; attentiveMs: number; stressed: boolean }): void {
    if (this.#used || this.busy) this.usedAt = now
    this.#used = false
    const stream = this.#stream
    if (!stream || this._closing) return
    const owes = !stream.suspended || this._socket.writableNeedDrain
    const what = this.#pace.look(attentiveMs, { inLine: stream.inLine, owes, stressed })
    if (!what) return
    this.#context.log({ event: 'slow', peer: this.peer, what })
    this.reply('421 4.4.2 Too slow, closing channel\r\n')
    this.close()
  }

  shutdown(): void {
    this.#dialogue.shutdown()
    this.#send()
  }

  /** Ends the connection at once. A message behind its dot is the sink's affair. */
  drop(): void {
    this.#dialogue.abort('shutting down')
    this._socket.destroy()
  }

  override _onTimeout(): void {
    // Half-closed by us, and the client never closed its side.
    if (this._closing) {
      this._socket.destroy()
      return
    }
    // RFC 5321 section 4.5.3.2 has the client wait minutes for us; the timer counts while it owes us input.
    if (this.#stream?.suspended && !this._socket.writableNeedDrain) {
      this._armTimeout()
      return
    }
    this.reply('421 4.4.2 Idle too long, closing channel\r\n')
    this.close()
  }

  override _onClose(): void {
    super._onClose()
    this.#server.unseat(this)
    this.#dialogue.abort('the client went away')
  }

  /** A client that is gone is nothing to report: what it left behind is seen to when the socket closes. */
  override _onError(cause: Error): void {
    // The TLS socket tells of one failure in several events.
    if (this._upgrading && !this.#failed) this.#context.log({ event: 'tls', peer: this.peer, cause })
    this.#failed = true
    if (!this._socket.destroyed) this._socket.destroy()
  }

  /** The base class calls it once the TLS handshake is done. */
  override _resetSession(): void {
    const socket = this._socket
    if (!('getCipher' in socket)) return
    this.#dialogue.secured(`${socket.getProtocol() ?? 'TLS'} ${socket.getCipher().name}`)
  }

  get #stream(): FilterStream | undefined {
    return this._parser instanceof FilterStream ? this._parser : undefined
  }

  /** One write for all replies. While the handshake runs the socket is the raw one, and nothing may be written. */
  #send(): void {
    const socket = this._socket
    if (this.#replies !== '' && socket.writable && !this._upgrading) socket.write(this.#replies, 'latin1')
    this.#replies = ''
  }

  /** A client that sends commands and reads no replies must not fill our memory: a promise to wait for. */
  #flush(): Promise<void> | undefined {
    this.#send()
    const socket = this._socket
    return socket.writableNeedDrain && !socket.destroyed ? drained(socket) : undefined
  }
}

async function drained(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      resolve()
    }
    socket.on('drain', done).on('close', done)
  })
}
