import { FilterError } from '@ecluse/core'
import type { Session } from './postgresLink.ts'
import { INDEXED_BYTES } from './postgresKeys.ts'

/** Ours, for advisory locks: any number that nobody else in the database is likely to take. */
const LOCKS = 0x45_43_4c

/** What is done by one process at a time. */
const LOCK = { migrate: 1, expire: 2, count: 3 } as const
type LockName = keyof typeof LOCK

/** Takes it until the end of the transaction. @returns false: somebody else has it */
export async function tryLock(session: Session, name: LockName): Promise<boolean> {
  const [row] = await session.query<{ taken: boolean }>('select pg_try_advisory_xact_lock($1, $2) as taken', [
    LOCKS,
    LOCK[name],
  ])
  return row?.taken === true
}

/** The same, and waits for it. */
export async function takeLock(session: Session, name: LockName): Promise<void> {
  await session.query('select pg_advisory_xact_lock($1, $2)', [LOCKS, LOCK[name]])
}

/*
 * Steps from one version to the next: what is there is never changed, new ones come behind. Step 1 makes version 1.
 *
 * `fields` is the truth about a message, and its events are what has become of it; all other columns of ecluse_message,
 * and ecluse_recipient, are made of these, for lists and filters.
 */
const STEPS: readonly (readonly string[])[] = [
  [
    `create table ecluse_message (
      id text collate "C" primary key,
      category text not null,
      stored_ms bigint not null,
      score double precision,
      rank smallint not null,
      size_bytes bigint not null,
      stored_bytes bigint not null,
      digest text not null,
      sender bytea not null,
      sender_domain bytea not null,
      subject bytea not null,
      item text not null,
      fields bytea not null
    )`,
    `comment on column ecluse_message.rank is '0: nobody waits for it any more; the lowest goes first where there is too much'`,
    `create index ecluse_message_newest on ecluse_message (stored_ms desc, id)`,
    `create index ecluse_message_category on ecluse_message (category, stored_ms desc, id)`,
    `create index ecluse_message_rank on ecluse_message (rank, stored_ms, id)`,
    `create index ecluse_message_score on ecluse_message (score)`,
    `create index ecluse_message_sender on ecluse_message (substring(sender from 1 for ${INDEXED_BYTES}))`,
    `create index ecluse_message_sender_domain on ecluse_message (substring(sender_domain from 1 for ${INDEXED_BYTES}))`,
    `create table ecluse_recipient (
      message text collate "C" not null references ecluse_message on delete cascade,
      place integer not null,
      address bytea not null,
      domain bytea not null,
      state text,
      primary key (message, place)
    )`,
    `create index ecluse_recipient_address on ecluse_recipient (substring(address from 1 for ${INDEXED_BYTES}))`,
    `create index ecluse_recipient_domain on ecluse_recipient (substring(domain from 1 for ${INDEXED_BYTES}))`,
    `create table ecluse_chunk (
      message text collate "C" not null references ecluse_message on delete cascade,
      place integer not null,
      data bytea not null,
      primary key (message, place)
    )`,
    `create table ecluse_event (
      message text collate "C" not null references ecluse_message on delete cascade,
      place integer not null,
      event bytea not null,
      primary key (message, place)
    )`,
    `create table ecluse_lease (name text primary key, holder text not null, until timestamptz not null)`,
    `create table ecluse_total (files bigint not null, bytes bigint not null)`,
    `comment on table ecluse_total is 'The sum of all rows is what is kept: who adds or deletes adds a row, and waits for nobody'`,
  ],
]
/** The version that this program reads and writes. */
const VERSION = STEPS.length

/**
 * Makes the tables, or brings those of an older version to ours; does nothing where they are ours. Who comes at the same
 * time waits.
 *
 * @throws FilterError E_QUARANTINE for tables of a newer version
 */
export async function migrate(session: Session): Promise<void> {
  // A role that may not create tables can use those that are there.
  if ((await versionOf(session)) === VERSION) return
  await takeLock(session, 'migrate')
  const found = await versionOf(session)
  if (found > VERSION) throw tooNew(found)
  if (found === 0) await session.change('create table ecluse_schema (version integer not null)')
  for (const step of STEPS.slice(found)) for (const statement of step) await session.change(statement)
  if (found === 0) await session.change('insert into ecluse_schema values ($1)', [VERSION])
  else await session.change('update ecluse_schema set version = $1', [VERSION])
}

/**
 * Whether the tables are those that this program knows.
 *
 * @throws FilterError E_QUARANTINE with the cure where they are not
 */
export async function checkVersion(session: Session): Promise<void> {
  const found = await versionOf(session)
  if (found > VERSION) throw tooNew(found)
  if (found === VERSION) return
  const what = found === 0 ? 'has no tables of ours' : `has tables of version ${found}, not ${VERSION}`
  throw new FilterError('E_QUARANTINE', `PostgreSQL: the database ${what}`, {
    hint: 'start `ecluse serve`: it makes them',
  })
}

/** 0: there are no tables. */
async function versionOf(session: Session): Promise<number> {
  // Not to_regclass: it may go by what the connection remembers of before it waited for the lock.
  const [there] = await session.query(
    `select from pg_catalog.pg_class where relname = 'ecluse_schema' and pg_catalog.pg_table_is_visible(oid)`,
  )
  if (there === undefined) return 0
  const [row] = await session.query<{ version: number }>('select max(version) as version from ecluse_schema')
  return row?.version ?? 0
}

function tooNew(found: number): FilterError {
  return new FilterError(
    'E_QUARANTINE',
    `PostgreSQL: the tables are of version ${found}, of a newer Écluse than this, which knows ${VERSION}`,
    { hint: 'update this Écluse, or give it another database' },
  )
}
