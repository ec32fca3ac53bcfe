import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { CATEGORIES } from '@ecluse/core'
import { fitsFacets, fitsText } from '../src/filter.ts'
import { itemOf, RECIPIENT_STATES, type QuarantineEntry, type QuarantineItem } from '../src/record.ts'
import type { QuarantineFilter } from '../src/store.ts'
import { envelope, ID, message, record, SPAM, VIRUS } from './sample.ts'
import { day, listed, MAIL, never, numbered, release, type Current } from './storeKit.ts'

/** In which order, and which page. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function lists({ store }: Current): void {
  test('lists the newest first, by category and age', async () => {
    for (const date of [3, 1, 4, 2]) {
      const id = numbered(date)
      const assessment = date === 2 ? { assessment: VIRUS } : {}
      await store().put(record({ id, storedAt: day(date), ...assessment }), message(MAIL, { id }), never)
    }
    expect(await listed(store())).toEqual([4, 3, 2, 1].map(numbered))
    expect(await listed(store(), { categories: ['spam'] })).toEqual([4, 3, 1].map(numbered))
    expect(await listed(store(), { storedBefore: day(3) })).toEqual([2, 1].map(numbered))
    expect(await listed(store(), { categories: [] })).toEqual([])
  })

  test('shows the same of each message as its entry says', async () => {
    await store().put(record(), message(MAIL), never)
    await store().markReleased(ID, release())
    const items: QuarantineItem[] = []
    for await (const item of store().list()) items.push(item)
    expect(items).toEqual([itemOf(await store().get(ID))])
  })

  test('gives every page of 250 messages, of which many are of the same time', async () => {
    const ids = Array.from({ length: 250 }, (_, index) => numbered(index))
    await Promise.all(
      ids.map(async (id, index) => {
        await store().put(record({ id, storedAt: day(index % 3) }), message(id, { id }), never)
      }),
    )
    const all = await listed(store())
    const later = (a: number, b: number): number => (b % 3) - (a % 3) || (numbered(a) < numbered(b) ? -1 : 1)
    expect(all).toEqual([...ids.keys()].toSorted(later).map(numbered))
    expect(await listed(store(), {}, { limit: 7, offset: 3 })).toEqual(all.slice(3, 10))
    expect(await listed(store(), {}, { limit: 0 })).toEqual([])
    expect(await listed(store(), {}, { offset: 249 })).toEqual(all.slice(249))
    expect(await listed(store(), {}, { offset: 1000 })).toEqual([])
    const paged: string[] = []
    for (let after: string | undefined; ;) {
      const page = await listed(store(), {}, { limit: 60, ...(after !== undefined && { after }) })
      paged.push(...page)
      after = page.at(-1)
      if (after === undefined) break
    }
    expect(paged).toEqual(all)
  })
}

const text = fc.oneof(
  fc.constantFrom('', 'a', 'Ab', 'é', 'É', 'İ', '😀', '\0', '\udc80', '\ud83d', '%', '_', '\\'),
  fc.string({ maxLength: 3, unit: 'binary' }),
)
const domain = fc.oneof(
  fc.constantFrom('example.org', 'Sub.Example.ORG', 'x.sub.example.org', 'xexample.org', 'é.example', ''),
  text,
)
const address = fc.oneof(
  fc.constant(''),
  text,
  fc.tuple(text, domain).map(([local, name]) => `${local}@${name}`),
  fc.constant(`${'a'.repeat(300)}@${'b.'.repeat(150)}example.org`),
)
const wantedAddress = fc.oneof(
  address,
  domain,
  domain.map((name) => `.${name}`),
  domain.map((name) => `@${name}`),
  fc.constantFrom('<>', '@', '.', `.${'b.'.repeat(120)}example.org`),
)
const subject = fc.array(text, { maxLength: 4 }).map((parts) => parts.join(''))
const score = fc.constantFrom(-1.5, 0, 4.25, 6, 12.5)
const date = fc.integer({ min: 1, max: 4 }).map(day)

const optional = { requiredKeys: [] as [] }
const wantedFilter: fc.Arbitrary<QuarantineFilter> = fc.record(
  {
    categories: fc.subarray([...CATEGORIES]),
    storedBefore: date,
    storedSince: date,
    minScore: score,
    maxScore: score,
    recipient: wantedAddress,
    sender: wantedAddress,
    subject: text,
    states: fc.subarray([...RECIPIENT_STATES]),
  },
  optional,
)
const keptMail = fc.record({
  storedAt: date,
  mailFrom: address,
  recipients: fc.array(address, { minLength: 1, maxLength: 3 }),
  subject,
  virus: fc.boolean(),
  scores: fc.array(score, { maxLength: 2 }),
  released: fc.array(fc.nat(2), { maxLength: 2 }),
  deleted: fc.array(fc.nat(2), { maxLength: 1 }),
})

/** Which of them. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function filters({ store }: Current): void {
  /** Keeps it, and lets happen to it what is to happen. */
  async function keep(
    id: string,
    mail: typeof keptMail extends fc.Arbitrary<infer T> ? T : never,
  ): Promise<void> {
    const recipients = mail.recipients.map((each) => ({ address: each }))
    const assessment = { ...(mail.virus ? VIRUS : SPAM), scores: mail.scores }
    const content = `Subject: =?utf-8?b?${Buffer.from(mail.subject).toString('base64')}?=\r\n\r\n${id}`
    const kept = record({
      id,
      assessment,
      storedAt: mail.storedAt,
      envelope: envelope({ mailFrom: mail.mailFrom, recipients }),
    })
    await store().put(kept, message(content, { id }), never)
    const addressesOf = (places: readonly number[]): string[] =>
      places.flatMap((place) => recipients[place]?.address ?? [])
    const released = addressesOf(mail.released)
    if (released.length > 0) await store().markReleased(id, release({ to: released }))
    const deleted = addressesOf(mail.deleted)
    if (deleted.length > 0) await store().delete(id, deleted)
  }

  test('let through what a plain look at each message lets through', async () => {
    // An id is never used again.
    let count = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(keptMail, { minLength: 1, maxLength: 6 }),
        fc.array(wantedFilter, { minLength: 1, maxLength: 12 }),
        async (mails, wanted) => {
          for (const id of await listed(store())) await store().delete(id)
          for (const mail of mails) await keep(numbered(count++), mail)
          const entries: QuarantineEntry[] = []
          for (const id of await listed(store())) entries.push(await store().get(id))
          for (const filter of [{}, ...wanted]) {
            const expected = entries.filter((entry) => fits(itemOf(entry), filter)).map(({ id }) => id)
            expect(await listed(store(), filter)).toEqual(expected)
            expect((await store().stats(filter)).files).toBe(expected.length)
          }
        },
      ),
      { numRuns: 40 },
    )
  })
}

function fits(item: QuarantineItem, filter: QuarantineFilter): boolean {
  return fitsFacets({ ...item, storedAtMs: item.storedAt.getTime() }, filter) && fitsText(item, filter)
}
