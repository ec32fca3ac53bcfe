import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { FilterError, type PostgresUrl } from '@ecluse/core'
import { Client, Connection, Pool, types, type ClientConfig, type PoolClient, type QueryResultRow } from 'pg'
import { ENDED, postgresError, TIMEOUT } from './postgresError.ts'
import { frameCheck } from './postgresFrames.ts'

/*
 * The one module that speaks to pg. What we rely on, and what it needs for that:
 *
 * - A client without a listener for 'error' ends the process, and the pool takes its own off while a client is lent.
 * - A client that does not answer is cut off, never given back: the next reply on it would be the late one.
 * - What is not said to it, it takes from the environment (PGPASSWORD) and from ~/.pgpass: so all is said.
 * - What no PostgreSQL sends keeps its parser busy for ever, or ends the process: see postgresFrames.ts.
 * - It gives int8 as text.
 */

/** Where a PostgreSQL is, and who we are there. */
export interface PostgresPlace extends Omit<PostgresUrl, 'tls'> {
  /** Absent: without TLS. `ca`: PEM; absent: the system's authorities. */
  readonly tls?: Pick<NonNullable<PostgresUrl['tls']>, 'verify'> & { readonly ca?: Buffer }
}

/** How it is spoken to. */
export interface PostgresOptions extends PostgresPlace {
  /** Connections at most. */
  readonly connections: number
  /** How long one answer, or a free connection, is waited for. */
  readonly timeoutMs: number
}

type Value = string | number | Buffer | null | readonly (string | number | Buffer | null)[]

/** Within a transaction. Errors are FilterError E_QUARANTINE. */
export interface Session {
  /** One statement; all that is not ours stands in `values`. */
  query<Row extends QueryResultRow>(text: string, values?: readonly Value[]): Promise<readonly Row[]>
  /** The same. @returns the number of rows that it has changed */
  change(text: string, values?: readonly Value[]): Promise<number>
}

/** A transaction. */
export interface Work<T> {
  readonly run: (session: Session) => Promise<T>
  readonly signal?: AbortSignal
}

/** Connections to one PostgreSQL. */
export interface Postgres {
  /** For people, without the password. */
  readonly where: string
  /**
   * Runs it, and resolves when it is committed and durable. Whatever fails, it has not happened, but for a connection
   * that is lost during the commit: then nobody knows.
   *
   * @throws FilterError E_QUARANTINE, also when the signal aborts; what `run` throws
   */
  transaction<T>(work: Work<T>): Promise<T>
  /** Ends all connections, also those that are in use. Never rejects. */
  close(): Promise<void>
}

const IDLE_MS = 30_000
/** So that the server's own timeout comes first: then it knows of it. */
const GRACE_MS = 1000
const INT8 = 20

/** What pg has and its types do not: it reads what comes over this stream, which is the one of TLS where there is TLS. */
interface Reading {
  readonly attachListeners: (this: Connection, stream: Listened) => void
}

interface Listened {
  on(event: string, listener: (value: Buffer) => void): unknown
}

/** A connection that ends, and nothing else with it, where the server sends what pg cannot read. */
class GuardedConnection extends Connection {
  attachListeners(stream: Duplex): void {
    // The declarations hide this member, the code has it.
    const { attachListeners } = Connection.prototype as unknown as Reading
    attachListeners.call(this, {
      on: (event, listener) => stream.on(event, event === 'data' ? guarded(stream, listener) : listener),
    })
  }
}

function guarded(stream: Duplex, read: (bytes: Buffer) => void): (bytes: Buffer) => void {
  const check = frameCheck()
  return (bytes) => {
    if (stream.destroyed) return
    try {
      check(bytes)
      read(bytes)
    } catch (cause) {
      stream.destroy(new Error('not the protocol', { cause }))
    }
  }
}

/** A client that can be cut off at once, whatever it is doing. */
class CuttableClient extends Client {
  readonly #socket: Socket

  constructor(config: ClientConfig = {}) {
    const socket = new Socket()
    const connection = new GuardedConnection({ ...config, stream: () => socket })
    // The pool hides the password from a spread. The types do not know of `connection`.
    super({ ...config, password: config.password, connection } as ClientConfig)
    this.#socket = socket
    this.on('error', () => {
      // Whoever uses it is told by the rejection of the query; nobody does: the pool throws it away.
    })
  }

  cut(): void {
    this.#socket.destroy()
  }
}

/** Connects when somebody needs it; opens nothing before. */
export function openPostgres(options: PostgresOptions): Postgres {
  const where = placeName(options)
  const pool = new Pool(poolOptions(options))
  // The pool says which idle connections were lost: it has thrown them away by then.
  pool.on('error', () => undefined)
  // Not one signal for all: it would have as many listeners as messages wait.
  const running = new Set<AbortController>()
  let closed: Promise<void> | undefined
  return {
    where,
    async transaction({ run, signal }) {
      const stop = new AbortController()
      const onAbort = (): void => stop.abort()
      signal?.addEventListener('abort', onAbort)
      if (signal?.aborted || closed) stop.abort()
      running.add(stop)
      try {
        return await transact(run, await lend(pool, { where, timeoutMs: options.timeoutMs }, stop.signal))
      } finally {
        running.delete(stop)
        signal?.removeEventListener('abort', onAbort)
      }
    },
    close() {
      for (const stop of running) stop.abort()
      closed ??= pool.end().catch(() => undefined)
      return closed
    },
  }
}

async function transact<T>(run: Work<T>['run'], lent: Lent): Promise<T> {
  try {
    await lent.begin()
    const result = await run(lent.session)
    await lent.commit()
    return result
  } catch (err) {
    await lent.undo()
    throw err
  } finally {
    lent.giveBack()
  }
}

function placeName({ host, port, database }: PostgresPlace): string {
  return `${host}${host.startsWith('/') ? '' : `:${port}`}/${database}`.replace(/\p{Cc}/gu, '?')
}

function poolOptions(options: PostgresOptions): ConstructorParameters<typeof Pool>[0] {
  const { host, port, user, password, database, tls, connections, timeoutMs } = options
  return {
    Client: CuttableClient,
    host,
    port,
    user,
    password: password ?? (() => ''),
    database,
    ssl: tls === undefined ? false : tlsOptions(tls),
    sslnegotiation: 'postgres',
    application_name: 'ecluse',
    max: connections,
    connectionTimeoutMillis: timeoutMs,
    idleTimeoutMillis: IDLE_MS,
    allowExitOnIdle: true,
    keepAlive: true,
    types: {
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
    },
  }
}

function tlsOptions({ verify, ca }: NonNullable<PostgresPlace['tls']>) {
  return {
    rejectUnauthorized: verify !== 'nothing',
    ...(ca !== undefined && { ca }),
    ...(verify === 'authority' && { checkServerIdentity: () => undefined }),
  }
}

/**
 * All that a transaction needs is set within it: so it holds behind a pool of connections that does not keep settings of
 * a session, and whatever the role or the database has as its default.
 */
function beginning(timeoutMs: number): string {
  return [
    'begin isolation level read committed read write',
    `set local statement_timeout = ${timeoutMs}`,
    `set local lock_timeout = ${timeoutMs}`,
    // Ends what a client leaves behind that hangs: a lock on the row of its message would keep the next try out.
    `set local idle_in_transaction_session_timeout = ${timeoutMs + GRACE_MS}`,
    // Off answers before the disk has it. What asks for more than on, such as remote_apply, stays.
    `select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'`,
  ].join('; ')
}

function rolledBack(where: string): FilterError {
  return new FilterError('E_QUARANTINE', `PostgreSQL ${where}: the transaction was rolled back`, {
    hint: 'see the log of the server',
  })
}

interface Lent {
  readonly session: Session
  begin(): Promise<void>
  /** Resolves when it is durable. */
  commit(): Promise<void>
  /** Rolls back; what cannot be rolled back is cut off. Never rejects. */
  undo(): Promise<void>
  giveBack(): void
}

interface LinkFacts {
  readonly where: string
  readonly timeoutMs: number
}

async function lend(pool: Pool, facts: LinkFacts, signal: AbortSignal): Promise<Lent> {
  const client = await freeClient(pool, facts, signal)
  let broken: FilterError | undefined
  const cut = (why: { readonly what: string; readonly hint?: string }): void => {
    broken ??= failure(facts, why)
    if (client instanceof CuttableClient) client.cut()
  }
  const onAbort = (): void => cut(ABORTED)
  signal.addEventListener('abort', onAbort)

  async function ask<Row extends QueryResultRow>(text: string, values?: readonly Value[]) {
    if (broken) throw broken
    const timer = setTimeout(() => cut(TIMEOUT), facts.timeoutMs + GRACE_MS)
    try {
      const answer = await client.query<Row>(text, values === undefined ? undefined : [...values])
      // Several statements have several answers, which the types do not say.
      return Array.isArray(answer) ? (answer.at(-1) as typeof answer) : answer
    } catch (err) {
      throw (broken ??= postgresError(err, facts.where))
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    session: {
      query: async <Row extends QueryResultRow>(text: string, values?: readonly Value[]) =>
        (await ask<Row>(text, values)).rows,
      change: async (text, values) => (await ask(text, values)).rowCount ?? 0,
    },
    begin: async () => void (await ask(beginning(facts.timeoutMs))),
    async commit() {
      // A transaction in which something failed answers ROLLBACK to COMMIT, and that is no error.
      if ((await ask('commit')).command !== 'COMMIT') throw rolledBack(facts.where)
    },
    async undo() {
      if (broken) return
      try {
        await ask('rollback')
      } catch {
        // It is broken: then it is cut off, and the server rolls back by itself.
      }
    },
    giveBack() {
      signal.removeEventListener('abort', onAbort)
      if (broken) cut(ENDED)
      client.release(broken !== undefined)
    },
  }
}

const ABORTED = { what: 'aborted' }

function failure(
  { where }: LinkFacts,
  { what, hint }: { readonly what: string; readonly hint?: string },
): FilterError {
  return new FilterError('E_QUARANTINE', `PostgreSQL ${where}: ${what}`, {
    ...(hint !== undefined && { hint }),
  })
}

/** One that comes when nobody waits for it any more goes back at once. */
async function freeClient(pool: Pool, facts: LinkFacts, signal: AbortSignal): Promise<PoolClient> {
  if (signal.aborted) throw failure(facts, ABORTED)
  const asked = pool.connect()
  let onAbort = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(failure(facts, ABORTED))
    signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([asked, aborted])
  } catch (err) {
    asked.then(
      (client) => client.release(),
      () => undefined,
    )
    throw postgresError(err, facts.where)
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
