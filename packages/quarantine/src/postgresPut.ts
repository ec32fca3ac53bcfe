import { addAbortSignal } from 'node:stream'
import { failpoint, FilterError, type Message } from '@ecluse/core'
import { headerSubject } from '@ecluse/mail'
import { formatFields } from './fields.ts'
import type { ToKeep } from './messageFile.ts'
import type { Postgres, Session } from './postgresLink.ts'
import { facetsOf, fieldsFrom, RECIPIENT_COLUMNS, recipientValues } from './postgresRow.ts'
import type { QuarantineEntry } from './record.ts'
import { checkId, notWhole } from './storeError.ts'

/** What is held of a large message at a time, in either direction. */
const CHUNK_BYTES = 256 * 1024

/** Keeps it, in one transaction: nothing of it can be seen before. */
export async function putMessage(postgres: Postgres, keep: ToKeep, signal: AbortSignal): Promise<void> {
  checkId(keep.record.id)
  await postgres.transaction({
    run: async (session) => {
      await write(session, keep, signal)
      failpoint('K11-quarantine-written')
    },
    signal,
  })
  failpoint('K12-quarantine-renamed')
}

async function write(session: Session, { record, message }: ToKeep, signal: AbortSignal): Promise<void> {
  const { sizeBytes, digest } = message
  const subject = headerSubject(message.header)
  const fields = formatFields(record, { sizeBytes, digest, ...(subject !== undefined && { subject }) })
  const { entry } = fieldsFrom(record.id, fields)
  const { id } = entry
  const chunks = chunksOf(message, signal)
  try {
    const first = await chunks.next()
    const data = first.done === true ? null : first.value
    if (!(await addRow(session, { entry, fields, data }))) return await checkSame(session, id, digest)
    let place = 1
    for await (const more of chunks) {
      await session.change('insert into ecluse_chunk (message, place, data) values ($1, $2, $3)', [
        id,
        place++,
        more,
      ])
    }
  } finally {
    await chunks.return(undefined)
  }
}

interface NewRow {
  readonly entry: QuarantineEntry
  readonly fields: Buffer
  /** The first piece; null: the message has no byte. */
  readonly data: Buffer | null
}

/**
 * In one statement, for most messages have one piece: each statement is a way to the server and back. Where the same
 * message is being kept by somebody else, it waits for the end of that.
 *
 * @returns false: there is one of that id
 */
async function addRow(session: Session, { entry, fields, data }: NewRow): Promise<boolean> {
  const { item, rank, score, sender, senderDomain, subject, recipients } = facetsOf(entry)
  const { id, category, storedAt, sizeBytes, digest } = entry
  const [row] = await session.query<{ added: number }>(
    `with added as (
       insert into ecluse_message (id, category, stored_ms, score, rank, size_bytes, stored_bytes, digest, sender,
         sender_domain, subject, item, fields)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
       on conflict (id) do nothing returning id, stored_bytes
     ), to_whom as (
       insert into ecluse_recipient (message, place, address, domain, state)
       select added.id, r.place, r.address, r.domain, r.state
       from added, unnest($14::integer[], $15::bytea[], $16::bytea[], $17::text[]) as r (${RECIPIENT_COLUMNS})
     ), piece as (
       insert into ecluse_chunk (message, place, data)
       select id, 0, $18::bytea from added where $18::bytea is not null
     ), total as (
       insert into ecluse_total (files, bytes) select 1, stored_bytes from added
     )
     select count(*) as added from added`,
    [
      id,
      category,
      storedAt.getTime(),
      score,
      rank,
      sizeBytes,
      fields.length + sizeBytes,
      digest,
      sender,
      senderDomain,
      subject,
      item,
      fields,
      ...recipientValues(recipients),
      data,
    ],
  )
  return row?.added === 1
}

/** @throws FilterError E_QUARANTINE when what is kept under the id is another message */
async function checkSame(session: Session, id: string, digest: string): Promise<void> {
  const [kept] = await session.query<{ digest: string }>('select digest from ecluse_message where id = $1', [
    id,
  ])
  if (kept === undefined) throw new FilterError('E_QUARANTINE', `${id}: was deleted meanwhile`)
  if (kept.digest !== digest)
    throw new FilterError('E_QUARANTINE', `${id}: another message is kept under this id`)
}

/** Pieces of {@link CHUNK_BYTES}, the last one less; none for a message without a byte. */
async function* chunksOf(message: Message, signal: AbortSignal): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = []
  let have = 0
  let sent = 0
  for await (const chunk of addAbortSignal(signal, message.open()) as AsyncIterable<Buffer>) {
    waiting.push(chunk)
    have += chunk.length
    if (have < CHUNK_BYTES) continue
    let bytes = Buffer.concat(waiting)
    for (; bytes.length >= CHUNK_BYTES; bytes = bytes.subarray(CHUNK_BYTES)) {
      yield bytes.subarray(0, CHUNK_BYTES)
      sent += CHUNK_BYTES
    }
    waiting = [bytes]
    have = bytes.length
  }
  sent += have
  if (sent !== message.sizeBytes) throw notWhole(message.id)
  if (have > 0) yield Buffer.concat(waiting)
}
