import {
  applyEvents,
  formatEvent,
  isDeletedForAll,
  MAX_EVENTS,
  tooManyEvents,
  type QuarantineEvent,
} from './events.ts'
import type { Session } from './postgresLink.ts'
import { findMessage } from './postgresRead.ts'
import { writeFacets } from './postgresRow.ts'
import type { QuarantineEntry } from './record.ts'
import { checkId, unknownId } from './storeError.ts'

/** Adds what has happened to a message. @returns the entry as it is then */
export async function addEvent(
  session: Session,
  id: string,
  event: QuarantineEvent,
): Promise<QuarantineEntry> {
  const found = await findMessage(session, id, true)
  if (found.events >= MAX_EVENTS) throw tooManyEvents(id)
  await session.change('insert into ecluse_event (message, place, event) values ($1, $2, $3)', [
    id,
    found.events + 1,
    Buffer.from(formatEvent(event)),
  ])
  const entry = applyEvents(found.entry, [event])
  await writeFacets(session, entry)
  return entry
}

/** Deletes it for these; altogether when nobody is left for whom it was kept. */
export async function removeFor(session: Session, id: string, recipients: readonly string[]): Promise<void> {
  const entry = await addEvent(session, id, { event: 'deleted', at: new Date(), recipients })
  if (isDeletedForAll(entry)) await remove(session, id)
}

/** @throws FilterError E_QUARANTINE when there is none of that id */
export async function remove(session: Session, id: string): Promise<void> {
  checkId(id)
  const { files } = await removeAll(session, [id])
  if (files === 0) throw unknownId(id)
}

/** Deletes those of them that are there. */
export async function removeAll(
  session: Session,
  ids: readonly string[],
): Promise<{ files: number; bytes: number }> {
  const [gone] = await session.query<{ files: number; bytes: number }>(
    `with gone as (delete from ecluse_message where id = any($1::text[]) returning stored_bytes),
     counted as (select count(*) as files, coalesce(sum(stored_bytes), 0)::bigint as bytes from gone),
     told as (insert into ecluse_total (files, bytes) select -files, -bytes from counted where files > 0)
     select files, bytes from counted`,
    [ids],
  )
  return gone ?? { files: 0, bytes: 0 }
}
