import { FilterError } from '@ecluse/core'
import { removeAll } from './postgresChange.ts'
import type { Postgres, Session } from './postgresLink.ts'
import { tryLock } from './postgresSchema.ts'
import { usageOf } from './postgresTotals.ts'
import type { Retention } from './retention.ts'
import type { Expired, ExpiryWork } from './store.ts'

/** Messages that are deleted in one transaction: so many large ones stay within the time of one answer. */
const BATCH = 100

interface Candidate {
  readonly id: string
  readonly bytes: number
}

/** Deletes what the retention says, in its order; nothing where another process is at it. */
export async function expireMessages(
  postgres: Postgres,
  retention: Retention,
  { now, limit, signal }: ExpiryWork,
): Promise<Expired> {
  const total = { files: 0, bytes: 0 }
  if (signal.aborted) throw new FilterError('E_ABORTED', 'nothing deleted')
  for (;;) {
    const count = Math.min(BATCH, limit - total.files)
    const batch = await postgres.transaction({
      run: (session) => expireSome(session, retention, { now, limit: count }),
      signal,
    })
    total.files += batch.files
    total.bytes += batch.bytes
    if (!batch.more || total.files >= limit || signal.aborted) return { ...total, more: batch.more }
  }
}

async function expireSome(
  session: Session,
  retention: Retention,
  work: Pick<ExpiryWork, 'now' | 'limit'>,
): Promise<Expired> {
  if (!(await tryLock(session, 'expire'))) return { files: 0, bytes: 0, more: false }
  const chosen = await choose(session, retention, work)
  const gone = await removeAll(
    session,
    chosen.slice(0, work.limit).map(({ id }) => id),
  )
  return { ...gone, more: chosen.length > work.limit }
}

/** What has to go, in the order of `compareForExpiry`; one more than the limit where there is more. */
async function choose(
  session: Session,
  retention: Retention,
  { now, limit }: Pick<ExpiryWork, 'now' | 'limit'>,
): Promise<readonly Candidate[]> {
  const count = limit + 1
  // Also where nobody needs it: it puts the rows of the totals together.
  const usage = await usageOf(session)
  const { condition, values } = overdueCondition(retention, now)
  const overdue = await session.query<{ id: string; bytes: number }>(
    `select id, stored_bytes as bytes from ecluse_message where ${condition} order by stored_ms, id limit ${count}`,
    values,
  )
  const { maxBytes } = retention
  if (maxBytes === undefined || overdue.length >= count) return overdue
  let left = usage.bytes - overdue.reduce((sum, { bytes }) => sum + bytes, 0)
  if (left <= maxBytes) return overdue
  const others = await session.query<{ id: string; bytes: number }>(
    `select id, stored_bytes as bytes from ecluse_message where not (${condition})
     order by rank, stored_ms, id limit ${count - overdue.length}`,
    values,
  )
  const surplus = others.filter(({ bytes }) => {
    if (left <= maxBytes) return false
    left -= bytes
    return true
  })
  return [...overdue, ...surplus]
}

/** As `isOverdue`. */
function overdueCondition(
  { keepMs }: Retention,
  now: Date,
): { readonly condition: string; readonly values: readonly (string | number)[] } {
  const values: (string | number)[] = []
  const terms = Object.entries(keepMs).map(([category, keep]) => {
    const begin = now.getTime() - keep
    return `(category = $${values.push(category)} and stored_ms < $${values.push(begin)}::bigint)`
  })
  return { condition: terms.length === 0 ? 'false' : `(${terms.join(' or ')})`, values }
}
