import { expect, test } from '@jest/globals'
import { envelope, POLICY, record } from '../test/sample.ts'
import { applyEvents, formatEvent, isDeletedForAll, readEvent, type QuarantineEvent } from './events.ts'
import { formatFields, readFields } from './fields.ts'
import type { QuarantineEntry } from './record.ts'

const AT = new Date('2026-11-24T09:00:00Z')

/** Kept for anna and bob, and not for carl, whom it reached. */
function entry(): QuarantineEntry {
  const recipients = ['anna', 'bob', 'carl'].map((name) => ({ address: `${name}@example.org` }))
  const policies = [POLICY, POLICY, { ...POLICY, killLevel: 99, tag2Level: 99 }]
  const fields = readFields(
    formatFields(record({ envelope: envelope({ recipients }), policies }), { sizeBytes: 1, digest: 'd' }),
  )
  if (typeof fields === 'number') throw new Error('too few bytes')
  return fields.entry
}

const released = (...to: string[]): QuarantineEvent => ({
  event: 'released',
  release: { at: AT, by: 'root', to: to.map((name) => `${name}@example.org`), as: 'resend' },
})
const deleted = (...names: string[]): QuarantineEvent => ({
  event: 'deleted',
  at: AT,
  recipients: names.map((name) => `${name}@example.org`),
})

test.each<[string, QuarantineEvent[], (string | undefined)[], boolean]>([
  ['nothing', [], ['kept', 'kept', undefined], false],
  ['a release', [released('anna')], ['released', 'kept', undefined], false],
  ['a release to others', [released('boss')], ['kept', 'kept', undefined], false],
  ['a release to whom it had reached', [released('carl')], ['kept', 'kept', 'released'], false],
  ['a deletion', [deleted('anna')], ['deleted', 'kept', undefined], false],
  ['a deletion for whom none is kept', [deleted('carl', 'boss')], ['kept', 'kept', undefined], false],
  [
    'a release, and then a deletion',
    [released('bob'), deleted('bob')],
    ['kept', 'deleted', undefined],
    false,
  ],
  [
    'a deletion, and then a release',
    [deleted('bob'), released('bob')],
    ['kept', 'released', undefined],
    false,
  ],
  ['deletions for all', [deleted('bob'), deleted('anna')], ['deleted', 'deleted', undefined], true],
])('after %s', (_, events, states, gone) => {
  const after = applyEvents(entry(), events)
  expect(after.outcomes.map(({ state }) => state)).toEqual(states)
  expect(after.releases).toHaveLength(events.filter(({ event }) => event === 'released').length)
  expect(isDeletedForAll(after)).toBe(gone)
})

const infected = (...names: string[]): QuarantineEvent => ({
  event: 'infected',
  at: AT,
  recipients: names.map((name) => `${name}@example.org`),
  reason: 'INFECTED: Late-Signature',
})

test('a virus that is found later makes a virus of it, for whom it is one', () => {
  const { outcomes, category } = applyEvents(entry(), [infected('anna')])
  expect(outcomes.map((outcome) => [outcome.category, outcome.reason.slice(0, 8), outcome.state])).toEqual([
    ['virus', 'INFECTED', 'kept'],
    ['spam', expect.any(String), 'kept'],
    ['clean', expect.any(String), undefined],
  ])
  expect(category).toBe('spam')
})

test.each([released('anna', 'bob'), deleted('anna'), infected('anna', 'bob')])(
  'is read as it was written: %j',
  (event) => {
    expect(formatEvent(event)).toMatch(/^\{[^\n]*\}\n$/)
    expect(readEvent(formatEvent(event))).toEqual(event)
  },
)

test('is nothing when it was cut off anywhere', () => {
  const text = formatEvent(released('anna')).trimEnd()
  for (let at = 0; at < text.length; at++) expect(readEvent(text.slice(0, at))).toBeUndefined()
})

test.each([
  'null',
  '[]',
  '7',
  '{"event":"released","at":"x","by":"a","to":[],"as":"plain"}',
  '{"event":"released","at":"2026-11-24T09:00:00Z","by":"a","to":[1],"as":"plain"}',
  '{"event":"released","at":"2026-11-24T09:00:00Z","by":"a","to":[],"as":"parcel"}',
  '{"event":"released","at":"2026-11-24T09:00:00Z","to":[],"as":"plain"}',
  '{"event":"deleted","at":"2026-11-24T09:00:00Z","recipients":"a"}',
  '{"event":"eaten","at":"2026-11-24T09:00:00Z"}',
])('is nothing that we know: %s', (text) => {
  expect(readEvent(text)).toBeUndefined()
})
