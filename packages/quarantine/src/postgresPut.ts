import { addAbortSignal } from 'node:stream'
import { failpoint, FilterError, type Message } from '@ecluse/core'
import { headerSubject } from '@ecluse/mail'
import { formatFields } from './fields.ts'
import type { ToKeep } from './messageFile.ts'
import type { Postgres, Session } from './postgresLink.ts'
import { facetsOf, fieldsFrom, writeRecipients } from './postgresRow.ts'
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
  const facets = facetsOf(entry)
  const { id, category, storedAt } = entry
  const storedBytes = fields.length + sizeBytes
  // Where the same message is being kept by somebody else, this waits for the end of that.
  const added = await session.change(
    `insert into ecluse_message (id, category, stored_ms, score, rank, size_bytes, stored_bytes, digest, sender,
     sender_domain, subject, item, fields)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict (id) do nothing`,
    [
      id,
      category,
      storedAt.getTime(),
      facets.score,
      facets.rank,
      sizeBytes,
      storedBytes,
      digest,
      facets.sender,
      facets.senderDomain,
      facets.subject,
      facets.item,
      fields,
    ],
  )
  if (added === 0) return await checkSame(session, id, digest)
  await writeRecipients(session, id, facets.recipients)
  let place = 0
  for await (const data of chunksOf(message, signal)) {
    await session.change('insert into ecluse_chunk (message, place, data) values ($1, $2, $3)', [
      id,
      place++,
      data,
    ])
  }
  await session.change('insert into ecluse_total (files, bytes) values (1, $1)', [storedBytes])
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
