import { CATEGORIES, FilterError } from '@ecluse/core'
import { asciiJson, readFields, type ReadFields } from './fields.ts'
import { addressKeys, subjectKey } from './postgresKeys.ts'
import type { Session } from './postgresLink.ts'
import { isSettled, itemOf, type QuarantineEntry, type QuarantineItem } from './record.ts'
import { sacrificeRank } from './retention.ts'

/** What of an item only its JSON says. */
type Rest = Pick<QuarantineItem, 'mailFrom' | 'recipients' | 'subject' | 'sizeBytes' | 'reasons'>

/** A row of a list. */
export interface ItemRow {
  readonly id: string
  readonly category: string
  readonly stored_ms: number
  readonly score: number | null
  readonly item: string
}

export const ITEM_COLUMNS = 'm.id, m.category, m.stored_ms, m.score, m.item'

/** @throws FilterError E_QUARANTINE for a row that is damaged */
export function itemFrom(row: ItemRow): QuarantineItem {
  const { id, stored_ms: storedMs, score } = row
  const category = CATEGORIES.find((each) => each === row.category)
  try {
    if (category === undefined) throw new RangeError('no such category')
    const rest = JSON.parse(row.item) as Rest
    return {
      id,
      category,
      storedAt: new Date(storedMs),
      ...(score !== null && { score }),
      ...rest,
    }
  } catch (cause) {
    throw new FilterError('E_QUARANTINE', `${id}: its row is damaged`, {
      cause,
      hint: 'delete it, or restore the database',
    })
  }
}

/** Fields as they were stored. @throws FilterError E_QUARANTINE when they are damaged, or those of another message */
export function fieldsFrom(id: string, bytes: Buffer): ReadFields {
  const fields = readFields(bytes)
  if (typeof fields === 'number') throw new FilterError('E_QUARANTINE', `${id}: has lost its fields`)
  if (fields.entry.id === id) return fields
  throw new FilterError('E_QUARANTINE', `${id}: has the fields of another message`)
}

/** What is kept for filters of a message as it is now. */
interface Facets {
  readonly item: string
  readonly rank: number
  readonly score: number | null
  readonly sender: Buffer
  readonly senderDomain: Buffer
  readonly subject: Buffer
  readonly recipients: QuarantineItem['recipients']
}

export function facetsOf(entry: QuarantineEntry): Facets {
  const item = itemOf(entry)
  const { mailFrom, recipients, subject, sizeBytes, reasons, score, category } = item
  const rest: Rest = { mailFrom, recipients, sizeBytes, reasons, ...(subject !== undefined && { subject }) }
  const sender = addressKeys(mailFrom)
  return {
    item: asciiJson(rest),
    rank: sacrificeRank({ category, settled: isSettled(item) }),
    score: score ?? null,
    sender: sender.address,
    senderDomain: sender.domain,
    subject: subjectKey(subject),
    recipients,
  }
}

/** Of a row of `ecluse_recipient`, behind its message. */
export const RECIPIENT_COLUMNS = 'place, address, domain, state'

/** An array for each of {@link RECIPIENT_COLUMNS}. */
export function recipientValues(
  recipients: QuarantineItem['recipients'],
): readonly (readonly (number | string | Buffer | null)[])[] {
  const keys = recipients.map(({ address }) => addressKeys(address))
  return [
    recipients.map((_, place) => place),
    keys.map(({ address }) => address),
    keys.map(({ domain }) => domain),
    recipients.map(({ state }) => state ?? null),
  ]
}

/** Writes what filters need, as the message is now; its row is there. */
export async function writeFacets(session: Session, entry: QuarantineEntry): Promise<void> {
  const { item, rank, score, sender, senderDomain, subject, recipients } = facetsOf(entry)
  const { id, category, storedAt } = entry
  await session.change(
    `update ecluse_message set category = $2, stored_ms = $3, score = $4, rank = $5, sender = $6,
     sender_domain = $7, subject = $8, item = $9 where id = $1`,
    [id, category, storedAt.getTime(), score, rank, sender, senderDomain, subject, item],
  )
  await session.change(
    `insert into ecluse_recipient (message, ${RECIPIENT_COLUMNS})
     select $1, ${RECIPIENT_COLUMNS}
     from unnest($2::integer[], $3::bytea[], $4::bytea[], $5::text[]) as r (${RECIPIENT_COLUMNS})
     on conflict (message, place) do update
     set address = excluded.address, domain = excluded.domain, state = excluded.state`,
    [id, ...recipientValues(recipients)],
  )
}
