import { CATEGORIES, FilterError } from '@ecluse/core'
import { conditionOf } from './postgresFilter.ts'
import type { Postgres, Session } from './postgresLink.ts'
import { findMessage } from './postgresRead.ts'
import { writeFacets } from './postgresRow.ts'
import { takeLock, tryLock } from './postgresSchema.ts'
import type { QuarantineFilter, QuarantineStats, QuarantineUsage } from './store.ts'

/** Rows of totals that are left as they are. */
const SPARE_ROWS = 100
/** Ids that are read together. */
const IDS_AT_ONCE = 1000

/** The figures of what the filter lets through. */
export async function statsOf(session: Session, filter: QuarantineFilter): Promise<QuarantineStats> {
  const { text, values } = conditionOf(filter)
  const rows = await session.query<{
    category: string
    files: number
    bytes: number
    oldest: number
    newest: number
    settled: number
  }>(
    `select m.category, count(*) as files, sum(m.stored_bytes)::bigint as bytes, min(m.stored_ms) as oldest,
     max(m.stored_ms) as newest, count(*) filter (where m.rank = 0) as settled
     from ecluse_message m where ${text} group by m.category`,
    values,
  )
  const categories = CATEGORIES.flatMap((category) => {
    const row = rows.find((each) => each.category === category)
    if (row === undefined) return []
    const { files, bytes, oldest, newest } = row
    return [{ category, files, bytes, oldest: new Date(oldest), newest: new Date(newest) }]
  })
  return {
    files: categories.reduce((sum, { files }) => sum + files, 0),
    bytes: categories.reduce((sum, { bytes }) => sum + bytes, 0),
    categories,
    settled: rows.reduce((sum, { settled }) => sum + settled, 0),
  }
}

/** The sum of what was added and deleted; now and then its rows are put together. */
export async function usageOf(session: Session): Promise<QuarantineUsage> {
  const [sum] = await session.query<QuarantineUsage & { rows: number }>(
    `select coalesce(sum(files), 0)::bigint as files, coalesce(sum(bytes), 0)::bigint as bytes, count(*) as rows
     from ecluse_total`,
  )
  const { files = 0, bytes = 0, rows = 0 } = sum ?? {}
  // One at a time: two that delete the same rows would each put their sum in the place of them.
  if (rows > SPARE_ROWS && (await tryLock(session, 'count'))) {
    await session.change(
      `with old as (delete from ecluse_total returning files, bytes)
       insert into ecluse_total (files, bytes) select sum(files), sum(bytes) from old having count(*) > 0`,
    )
  }
  return { files, bytes }
}

/** Makes what filters and totals need anew, message by message. */
export async function rebuildAll(
  postgres: Postgres,
  onDamaged?: (error: unknown) => void,
): Promise<QuarantineUsage> {
  let after = ''
  for (;;) {
    const last = after
    const rows = await postgres.transaction({
      run: (session) =>
        session.query<{ id: string }>(
          `select id from ecluse_message where id > $1 order by id limit ${IDS_AT_ONCE}`,
          [last],
        ),
    })
    for (const { id } of rows) await rebuildOne(postgres, id, onDamaged)
    if (rows.length < IDS_AT_ONCE) break
    after = rows.at(-1)?.id ?? last
  }
  return await recount(postgres)
}

async function rebuildOne(
  postgres: Postgres,
  id: string,
  onDamaged: ((error: unknown) => void) | undefined,
): Promise<void> {
  await postgres.transaction({
    run: async (session) => {
      const [there] = await session.query('select from ecluse_message where id = $1 for update', [id])
      // Deleted since.
      if (there === undefined) return
      let entry
      try {
        ;({ entry } = await findMessage(session, id))
      } catch (err) {
        // Where it was the connection, the commit fails.
        if (!(err instanceof FilterError)) throw err
        onDamaged?.(err)
        return
      }
      await writeFacets(session, entry)
    },
  })
}

/** In one statement, that is of one state: what is added or deleted meanwhile adds its own row, and waits for nobody. */
async function recount(postgres: Postgres): Promise<QuarantineUsage> {
  return await postgres.transaction({
    run: async (session) => {
      await takeLock(session, 'count')
      const [sum] = await session.query<{ files: number; bytes: number }>(
        `with old as (delete from ecluse_total)
         insert into ecluse_total (files, bytes)
         select count(*), coalesce(sum(stored_bytes), 0) from ecluse_message returning files, bytes`,
      )
      return sum ?? { files: 0, bytes: 0 }
    },
  })
}
