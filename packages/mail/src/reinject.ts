import { FilterError, type Address, type DeliveryResult, type MailProtocol } from '@ecluse/core'
import type { Envelope, Recipient } from '@ecluse/core'
import type { OutgoingMessage } from './outgoing.ts'
import { ReinjectConnection } from './reinjectConnection.ts'
import { ReinjectPool } from './reinjectPool.ts'
import { aborted, transact, type TransactionOutcome } from './reinjectTransaction.ts'

/** Where messages go back to, and how patiently. */
export interface ReinjectOptions {
  readonly protocol: MailProtocol
  readonly address: Address
  /** Most open at once; at least 1. */
  readonly connections: number
  /** What we call ourselves in EHLO or LHLO. */
  readonly hostname: string
  /** STARTTLS; absent: off. */
  readonly tls?: {
    /** `may`: when it is offered and not refused. `require`: not without. */
    readonly mode: 'off' | 'may' | 'require'
    /** PEM; absent: those that Node trusts. */
    readonly ca?: Buffer
    /** The name in the certificate; absent: the host of the address. */
    readonly servername?: string
    /** Absent: true for `require`, false for `may`. */
    readonly rejectUnauthorized?: boolean
  }
  readonly timeouts: {
    /** From the first packet to the reply to EHLO. */
    readonly connectMs: number
    /** For each reply before the content. */
    readonly commandMs: number
    /** While we send, how long the peer may take nothing. */
    readonly dataMs: number
    /** For each reply after the dot. */
    readonly dotMs: number
    /** An unused connection is closed after this; keep it below the peer's own limit (Postfix: 300 s). */
    readonly idleMs: number
    /** Absent: no limit. */
    readonly messagesPerConnection?: number
  }
}

/** One copy of a message, for those who get this very copy. */
export interface ReinjectRequest {
  readonly id: string
  readonly envelope: Envelope
  /** At least one. */
  readonly recipients: readonly Recipient[]
  readonly message: OutgoingMessage
  /** SMTP in: after any refused recipient nothing may be sent (RFC 5321 has one reply for all). */
  readonly allOrNothing: boolean
}

/** What stands between us and the after-filter smtpd. */
export interface Reinjector {
  /**
   * One result for each recipient, in order. Never rejects. When `signal` aborts, unfinished ones are failed with
   * E_ABORTED; a message inside DATA never gets its dot.
   *
   * A 2xx after the dot is the only thing that makes `relayed`; a fault of transport never makes `refused`.
   */
  deliver(request: ReinjectRequest, signal: AbortSignal): Promise<DeliveryResult[]>
  /**
   * Connects, says EHLO and QUIT, on a connection of its own: for readiness. Banner and lines are printable.
   *
   * @throws FilterError E_REINJECT_CONNECT, E_REINJECT_TIMEOUT, E_REINJECT_PROTOCOL, E_ABORTED.
   */
  probe(signal: AbortSignal): Promise<{ readonly banner: string; readonly extensions: readonly string[] }>
  /** Ends idle connections at once and the others when they are done. */
  close(): Promise<void>
}

/** Opens nothing yet: connections are made when messages come, and kept for the next ones. */
export function createReinjector(options: ReinjectOptions): Reinjector {
  const pool = new ReinjectPool(options)
  return {
    deliver: async (request, signal) => await deliver(pool, request, signal),
    probe: async (signal) => await probe(options, signal),
    close: async () => await pool.close(),
  }
}

async function deliver(
  pool: ReinjectPool,
  request: ReinjectRequest,
  signal: AbortSignal,
): Promise<DeliveryResult[]> {
  const first = await attempt(pool, request, signal)
  const results = [...first.results]
  let postponed = first.postponed
  // Each round has at least one recipient accepted, so there are at most as many rounds as recipients.
  while (postponed.length > 0) {
    const places = postponed
    const recipients = places.flatMap((place) => request.recipients[place] ?? [])
    const next = await attempt(pool, { ...request, recipients }, signal)
    for (const [index, place] of places.entries()) results[place] = next.results[index] as DeliveryResult // as many
    postponed = next.postponed.flatMap((index) => places[index] ?? [])
  }
  return results
}

/** One transaction, begun again on another connection when a kept one turns out to be dead. */
async function attempt(
  pool: ReinjectPool,
  request: ReinjectRequest,
  signal: AbortSignal,
): Promise<TransactionOutcome> {
  try {
    const connection = await pool.acquire(signal)
    const { kept } = connection
    const outcome = await transact(connection, request, signal)
    // Safe: not even the first command was answered, so the peer has no content. The normal case after its own
    // idle limit or a restart. Once only, since a fresh connection that ends like this is a fault.
    if (!kept || !outcome.unheard) return outcome
    pool.dismissIdle()
    return await transact(await pool.acquire(signal), request, signal)
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    const results = request.recipients.map((recipient) => ({ recipient, outcome: 'failed', error }) as const)
    return { results, postponed: [], unheard: false }
  }
}

async function probe(
  options: ReinjectOptions,
  signal: AbortSignal,
): Promise<{ banner: string; extensions: readonly string[] }> {
  if (signal.aborted) throw aborted(signal)
  return await new Promise((resolve, reject) => {
    const abort = () => connection.fail(aborted(signal))
    const connection = new ReinjectConnection(options, {
      onReady: ({ banner, extensions }) => {
        resolve({ banner, extensions: extensions.lines })
        connection.leave()
      },
      onClosed: (_, error) => {
        signal.removeEventListener('abort', abort)
        reject(error)
      },
    })
    signal.addEventListener('abort', abort, { once: true })
    connection.open()
  })
}
