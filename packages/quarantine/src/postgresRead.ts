import { Readable } from 'node:stream'
import { FilterError } from '@ecluse/core'
import { applyEvents, readEvent } from './events.ts'
import { conditionOf } from './postgresFilter.ts'
import type { Postgres, Session } from './postgresLink.ts'
import { fieldsFrom, ITEM_COLUMNS, itemFrom, type ItemRow } from './postgresRow.ts'
import type { QuarantineEntry, QuarantineItem } from './record.ts'
import type { QuarantinedMessage, QuarantineFilter, QuarantinePage } from './store.ts'
import { checkId, notWhole, unknownId } from './storeError.ts'

/** Rows that are fetched together, the first time and later: who looks at one page does not wait for many. */
const FIRST_ROWS = 100
const MORE_ROWS = 1000

/** A message as it is now. */
interface Found {
  readonly entry: QuarantineEntry
  /** How many there are: those that are damaged are counted and not known. */
  readonly events: number
}

/**
 * @param lock whether nobody else may change it before the transaction ends
 * @throws FilterError E_QUARANTINE when there is none of that id, or it is damaged
 */
export async function findMessage(session: Session, id: string, lock = false): Promise<Found> {
  checkId(id)
  const [row] = await session.query<{ fields: Buffer }>(
    `select fields from ecluse_message where id = $1${lock ? ' for update' : ''}`,
    [id],
  )
  if (row === undefined) throw unknownId(id)
  const { entry } = fieldsFrom(id, row.fields)
  const events = await session.query<{ event: Buffer }>(
    'select event from ecluse_event where message = $1 order by place',
    [id],
  )
  const known = events.flatMap(({ event }) => readEvent(event.toString('utf8')) ?? [])
  return { entry: applyEvents(entry, known), events: events.length }
}

/** The original; its reader holds no connection between two pieces, however slowly it is read. */
export async function openMessage(postgres: Postgres, id: string): Promise<QuarantinedMessage> {
  return await postgres.transaction({
    run: async (session) => {
      const { entry } = await findMessage(session, id)
      const [has] = await session.query<{ bytes: number; chunks: number }>(
        `select coalesce(sum(octet_length(data)), 0)::bigint as bytes, count(*) as chunks
         from ecluse_chunk where message = $1`,
        [id],
      )
      const { sizeBytes } = entry
      if (has === undefined || has.bytes !== sizeBytes) throw notWhole(id)
      const { chunks } = has
      const open = (): Readable =>
        Readable.from(original(postgres, { id, chunks, sizeBytes }), { objectMode: false })
      return { entry, sizeBytes, open }
    },
  })
}

interface Pieces {
  readonly id: string
  readonly chunks: number
  readonly sizeBytes: number
}

async function* original(postgres: Postgres, { id, chunks, sizeBytes }: Pieces): AsyncGenerator<Buffer> {
  let left = sizeBytes
  for (let place = 0; place < chunks; place++) {
    const rows = await postgres.transaction({
      run: (session) =>
        session.query<{ data: Buffer }>('select data from ecluse_chunk where message = $1 and place = $2', [
          id,
          place,
        ]),
    })
    const data = rows[0]?.data
    if (data === undefined) throw notWhole(id)
    left -= data.length
    if (left < 0) throw notWhole(id)
    yield data
  }
  if (left !== 0) throw notWhole(id)
}

/** Where in the list a message stands. */
interface Place {
  readonly id: string
  readonly stored_ms: number
}

/** The newest first, some at a time: no connection is held while somebody looks at them. */
export async function* listMessages(
  postgres: Postgres,
  filter: QuarantineFilter,
  page: QuarantinePage,
): AsyncGenerator<QuarantineItem> {
  const { limit = Infinity } = page
  let after = page.after === undefined ? undefined : await placeOf(postgres, page.after)
  let offset = Math.min(page.offset ?? 0, Number.MAX_SAFE_INTEGER)
  let count = FIRST_ROWS
  for (let left = limit; left > 0;) {
    const rows = await rowsOf(postgres, filter, { after, offset, count: Math.min(count, left) })
    for (const row of rows) {
      const item = readItem(row, page)
      if (item !== undefined) yield item
    }
    after = rows.at(-1)
    if (rows.length < Math.min(count, left)) return
    left -= rows.length
    offset = 0
    count = MORE_ROWS
  }
}

function readItem(row: ItemRow, { onDamaged }: QuarantinePage): QuarantineItem | undefined {
  try {
    return itemFrom(row)
  } catch (err) {
    if (!(err instanceof FilterError)) throw err
    onDamaged?.(err)
    return undefined
  }
}

async function placeOf(postgres: Postgres, id: string): Promise<Place> {
  checkId(id)
  const rows = await postgres.transaction({
    run: (session) =>
      session.query<{ id: string; stored_ms: number }>(
        'select id, stored_ms from ecluse_message where id = $1',
        [id],
      ),
  })
  const [place] = rows
  if (place === undefined) throw unknownId(id)
  return place
}

async function rowsOf(
  postgres: Postgres,
  filter: QuarantineFilter,
  { after, offset, count }: { after: Place | undefined; offset: number; count: number },
): Promise<readonly ItemRow[]> {
  const { text, values } = conditionOf(filter)
  const terms = [text]
  const all: (string | number | Buffer | readonly string[])[] = [...values]
  const parameter = (value: string | number): string => `$${all.push(value)}`
  if (after !== undefined) {
    const time = parameter(after.stored_ms)
    // The first part alone is what the index goes by.
    terms.push(
      `m.stored_ms <= ${time}::bigint and (m.stored_ms < ${time}::bigint or m.id > ${parameter(after.id)})`,
    )
  }
  return await postgres.transaction({
    run: (session) =>
      session.query<ItemRow & { [column: string]: unknown }>(
        `select ${ITEM_COLUMNS} from ecluse_message m where ${terms.join(' and ')}
         order by m.stored_ms desc, m.id limit ${parameter(count)} offset ${parameter(offset)}`,
        all,
      ),
  })
}
