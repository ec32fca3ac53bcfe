import { formatAddress, type Address, type MailProtocol } from '@ecluse/core'
import type { SMTPServerOptions } from 'smtp-server'
import { FilterServer, type ListenerContext } from './receiveConnection.ts'
import type { DialogueOptions } from './receiveDialogue.ts'
import type { ReceiveHandler, ReceiverEvent } from './receiveHandler.ts'
import { listen, networkTest } from './receiveListen.ts'
import { ANY_PACE, CLOCK, type Clock, type PaceLimits } from './receivePace.ts'

export type { BodySink, MailRequest, ReceiveHandler, ReceiverEvent } from './receiveHandler.ts'
export type { Clock, PaceLimits } from './receivePace.ts'

/** Where and how to listen. */
export interface ReceiverOptions {
  readonly protocol: MailProtocol
  readonly address: Address
  /** Permission bits of a Unix socket, e.g. 0o660; absent: what the umask leaves. */
  readonly mode?: number
  /** Our name in the greeting and in replies. */
  readonly hostname: string
  /** Networks (CIDR) that may talk to us; others get 554 at once. Peers on a Unix socket are always trusted. */
  readonly trust: readonly string[]
  /**
   * Networks (CIDR) of which each connection must begin with a header of the PROXY protocol, version 1 or 2; the address
   * in it is the one that must be trusted, and that has a share of `connections`. Absent or empty: there are none.
   */
  readonly proxies?: readonly string[]
  /** Absent: STARTTLS is not offered. */
  readonly tls?: {
    readonly key: Buffer
    readonly cert: Buffer
    readonly ca?: Buffer
    /** Refuse clients without a certificate signed by `ca`; TLS is required then. */
    readonly requireClientCertificate?: boolean
    /** MAIL is refused before STARTTLS. */
    readonly required?: boolean
  }
  /** RFC 1870, as announced: bytes after removing dots. */
  readonly messageSizeBytes: number
  /** Accepted in one transaction; more get 452 4.5.3, and come again. */
  readonly recipients: number
  /**
   * At the same time. For one more, the one that has been without a message for longest is closed; more than that get
   * 421 4.3.2. Half of them are kept for all addresses in equal parts, while there are several.
   */
  readonly connections: number
  /** How long a client that owes us input may keep silent. */
  readonly idleMs: number
  /** How slow a client may be, which is told 421 4.4.2; absent: as slow as it likes. */
  readonly pace?: PaceLimits
  /** Absent: the real one. */
  readonly clock?: Clock
}

/** A listener at work. */
export interface Receiver {
  /** Bound address, port filled in. */
  readonly address: Address
  /**
   * Stops listening and tells idle clients 421 4.3.2; running transactions may finish until `signal` aborts, then they
   * are dropped. Fulfilled when the last connection is closed.
   */
  close(signal: AbortSignal): Promise<void>
}

/**
 * Listens for mail. Every message is answered by its sink; nothing is ever accepted on its behalf.
 *
 * @param log gets what happens to connections, never single messages
 * @throws FilterError E_LISTEN with a hint (port in use, missing folder, no permission); E_CONFIG for a bad network.
 */
export async function createReceiver(
  options: ReceiverOptions,
  handler: ReceiveHandler,
  log: (event: ReceiverEvent) => void,
): Promise<Receiver> {
  const { address, tls, proxies = [] } = options
  // Filled in below: with port 0 the name of the listener is known only when it listens.
  const dialogue: { -readonly [Key in keyof DialogueOptions]: DialogueOptions[Key] } = {
    protocol: options.protocol,
    hostname: options.hostname,
    listener: formatAddress(address),
    messageSizeBytes: options.messageSizeBytes,
    recipients: options.recipients,
    tls: tls !== undefined,
    tlsRequired: tls?.required === true || tls?.requireClientCertificate === true,
  }
  const context: ListenerContext = {
    dialogue,
    handler,
    log,
    connections: options.connections,
    pace: options.pace ?? ANY_PACE,
    clock: options.clock ?? CLOCK,
    ...(!('path' in address) && { trusts: networkTest(options.trust) }),
    ...(!('path' in address) && proxies.length > 0 && { isProxy: networkTest(proxies) }),
  }
  const server = new FilterServer(serverOptions(options), context)
  const bound = await listen(server.server, address, options.mode)
  // Otherwise it keeps its name in the configuration, which policies may ask for.
  if ('port' in address && address.port === 0) dialogue.listener = formatAddress(bound)
  server.watch()
  return { address: bound, close: async (signal) => await server.drain(signal) }
}

function serverOptions({ hostname, tls, idleMs }: ReceiverOptions): SMTPServerOptions {
  return {
    // Without it each connection asks the system for its name.
    name: hostname,
    noDelay: true,
    socketTimeout: idleMs,
    logger: false,
    ...(tls && {
      key: tls.key,
      cert: tls.cert,
      ...(tls.ca && { ca: tls.ca }),
      ...(tls.requireClientCertificate && { requestCert: true, rejectUnauthorized: true }),
    }),
  }
}
