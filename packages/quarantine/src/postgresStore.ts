import { addEvent, remove, removeFor } from './postgresChange.ts'
import { expireMessages } from './postgresExpiry.ts'
import { withLease } from './postgresLease.ts'
import { openPostgres, type PostgresOptions, type Session, type Work } from './postgresLink.ts'
import { putMessage } from './postgresPut.ts'
import { findMessage, listMessages, openMessage } from './postgresRead.ts'
import { checkVersion, migrate } from './postgresSchema.ts'
import { rebuildAll, statsOf, usageOf } from './postgresTotals.ts'
import type { QuarantineStore } from './store.ts'
import { within } from './storeError.ts'

/** What is to be known of the server that messages are kept in. */
export interface PostgresHealth {
  /** Such as `15.14 (Debian 15.14-0+deb12u1)`. */
  readonly version: string
  /** Milliseconds that one answer takes. */
  readonly answerMs: number
  /** Whether what is committed survives a power cut: fsync. */
  readonly durable: boolean
}

/** Keeps messages in PostgreSQL. */
export interface PostgresStore extends QuarantineStore {
  /** Asks the server about itself, and changes nothing. @throws FilterError E_QUARANTINE, for other tables than ours too */
  health(): Promise<PostgresHealth>
}

/**
 * Keeps messages in the tables `ecluse_*` of a PostgreSQL, version 12 or newer, which `prepare` makes. Any number of
 * processes may share it. Opens no connection before one is needed.
 */
export function createPostgresStore(options: PostgresOptions): PostgresStore {
  const link = openPostgres(options)
  let known = false
  const postgres = {
    ...link,
    // Once for a process: tables of another version would be read wrongly.
    transaction: <T>(work: Work<T>): Promise<T> =>
      link.transaction({
        ...work,
        run: async (session) => {
          if (!known) await checkVersion(session)
          known = true
          return await work.run(session)
        },
      }),
  }
  const run = <T>(work: (session: Session) => Promise<T>): Promise<T> => postgres.transaction({ run: work })
  return {
    async prepare() {
      await link.transaction({ run: migrate })
      // Where nobody looks at figures, and nothing expires, their rows are put together here.
      await run(usageOf)
      await run(assertWritable)
    },
    check: () => run(assertWritable),
    put: (record, message, signal) =>
      within(`${record.id}: cannot be kept in PostgreSQL ${link.where}`, () =>
        putMessage(postgres, { record, message }, signal),
      ),
    list: (filter = {}, page = {}) => listMessages(postgres, filter, page),
    get: async (id) => (await run((session) => findMessage(session, id))).entry,
    open: (id) => openMessage(postgres, id),
    delete: (id, recipients) =>
      run((session) => (recipients === undefined ? remove(session, id) : removeFor(session, id, recipients))),
    markReleased: (id, release) =>
      run(async (session) => {
        await addEvent(session, id, { event: 'released', release })
      }),
    markInfected: (id, infection) =>
      run(async (session) => {
        await addEvent(session, id, { event: 'infected', ...infection })
      }),
    stats: (filter = {}) => run((session) => statsOf(session, filter)),
    usage: () => run(usageOf),
    expire: (retention, work) => expireMessages(postgres, retention, work),
    alone: (name, work) => withLease(postgres, name, work),
    rebuild: (onDamaged) => rebuildAll(postgres, onDamaged),
    close: () => link.close(),
    health: () => run(healthOf),
  }
}

/** A row that counts nothing, and a commit: a server whose replica is gone, or whose disk is full, fails here. */
async function assertWritable(session: Session): Promise<void> {
  await session.change('insert into ecluse_total (files, bytes) values (0, 0)')
  await session.change('delete from ecluse_total where files = 0 and bytes = 0')
}

async function healthOf(session: Session): Promise<PostgresHealth> {
  const begin = performance.now()
  const [row] = await session.query<{ version: string; fsync: string }>(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync`,
  )
  const answerMs = performance.now() - begin
  const { version = '', fsync } = row ?? {}
  return { version: version.replace(/\P{ASCII}|\p{Cc}/gu, '?'), answerMs, durable: fsync === 'on' }
}
