import { expect, test } from '@jest/globals'
import type { Policy } from '@ecluse/core'
import { envelope, POLICY, record, VIRUS, type SampleOptions } from '../test/sample.ts'
import { formatFields, readFields } from './fields.ts'
import type { QuarantineEntry } from './record.ts'
import { releasePlan, resentFields } from './release.ts'

function entry(options: SampleOptions = {}): QuarantineEntry {
  const fields = readFields(formatFields(record(options), { sizeBytes: 1, digest: 'd' }))
  if (typeof fields === 'number') throw new Error('too few bytes')
  return fields.entry
}

const recipients = (of: ReturnType<typeof releasePlan>): unknown =>
  of.action === 'release' ? of.envelope.recipients : of.reason

const LENIENT = { ...POLICY, killLevel: 99 }

test('goes to the blocked recipients, with the original envelope', () => {
  const sent = envelope({
    mailFrom: '',
    envid: 'x',
    recipients: [{ address: 'a@x' }, { address: 'b@x', notify: ['NEVER'] }, { address: 'c@x' }],
  })
  const plan = releasePlan(entry({ envelope: sent, policies: [LENIENT] }))
  expect(plan).toEqual({
    action: 'release',
    envelope: { ...sent, recipients: [{ address: 'b@x', notify: ['NEVER'] }, { address: 'c@x' }] },
    as: 'plain',
  })
})

const DEFERRING: Policy = { ...POLICY, destiny: { ...POLICY.destiny, spam: 'tempfail' } }

test('goes to those whom we refused, too', () => {
  const refusing: Policy = { ...POLICY, destiny: { ...POLICY.destiny, spam: 'reject' } }
  expect(recipients(releasePlan(entry({ policies: [refusing, LENIENT] })))).toEqual([
    { address: 'anna@example.org' },
  ])
})

test('goes to nobody for whom Postfix comes again, unless they are named', () => {
  const one = entry({ policies: [DEFERRING] })
  expect(recipients(releasePlan(one))).toEqual([{ address: 'bob@example.org' }])
  expect(recipients(releasePlan(one, { to: ['anna@example.org'] }))).toEqual([
    { address: 'anna@example.org' },
  ])
})

test('does not say that those have it for whom Postfix comes again', () => {
  expect(releasePlan(entry({ policies: [DEFERRING, LENIENT] }))).toMatchObject({
    action: 'refuse',
    reason: 'every recipient got this message, or Postfix tries again',
  })
})

test('goes to each address once', () => {
  const sent = envelope({ recipients: [{ address: 'a@x' }, { address: 'a@x' }, { address: 'A@x' }] })
  expect(recipients(releasePlan(entry({ envelope: sent })))).toEqual([{ address: 'a@x' }, { address: 'A@x' }])
  expect(recipients(releasePlan(entry(), { to: ['n@x', 'n@x'] }))).toEqual([{ address: 'n@x' }])
})

test('goes to others when told, as a resend only when they are new', () => {
  expect(releasePlan(entry(), { to: ['anna@example.org'] })).toMatchObject({ as: 'plain' })
  expect(releasePlan(entry(), { to: ['anna@example.org', 'new@x'] })).toMatchObject({
    as: 'resend',
    envelope: { recipients: [{ address: 'anna@example.org' }, { address: 'new@x' }] },
  })
})

test('goes to those who have it only when they are named', () => {
  const passed = entry({ policies: [LENIENT, LENIENT] })
  expect(releasePlan(passed)).toMatchObject({ action: 'refuse', reason: 'every recipient got this message' })
  expect(releasePlan(passed, { to: ['anna@example.org'] })).toMatchObject({ action: 'release' })
})

test('lets a virus out by force only', () => {
  const virus = entry({ assessment: VIRUS })
  expect(releasePlan(virus)).toEqual({
    action: 'refuse',
    reason: 'INFECTED: Eicar-Test-Signature, Win.Trojan-1',
    hint: 'use --force to deliver it all the same',
  })
  expect(releasePlan(virus, { to: ['n@x'] })).toMatchObject({ action: 'refuse' })
  expect(releasePlan(virus, { force: true })).toMatchObject({ action: 'release' })
})

const RELEASE = {
  at: new Date('2026-11-24T09:00:00Z'),
  by: 'root',
  to: ['anna@example.org'],
  as: 'plain',
} as const
const releasedOnce = (): QuarantineEntry => ({ ...entry(), releases: [RELEASE] })

test('goes the second time to those whom it has not been released to', () => {
  expect(recipients(releasePlan(releasedOnce()))).toEqual([{ address: 'bob@example.org' }])
  expect(recipients(releasePlan(releasedOnce(), { to: ['bob@example.org'] }))).toEqual([
    { address: 'bob@example.org' },
  ])
})

test('says who released it, and needs force to do so again', () => {
  const both = { ...RELEASE, to: ['anna@example.org', 'bob@example.org'] }
  expect(releasePlan({ ...entry(), releases: [both] })).toEqual({
    action: 'refuse',
    reason: 'was released at 2026-11-24T09:00:00.000Z by root to <anna@example.org> and 1 more',
    hint: 'use --force to deliver it once more, or name others with --to',
  })
  expect(releasePlan(releasedOnce(), { to: ['new@x', 'anna@example.org'] })).toMatchObject({
    action: 'refuse',
    reason: expect.stringContaining('by root to <anna@example.org>'),
  })
  expect(recipients(releasePlan(releasedOnce(), { force: true }))).toHaveLength(2)
  expect(releasePlan(releasedOnce(), { to: ['anna@example.org'], force: true })).toMatchObject({
    action: 'release',
  })
})

test('does not go to those who have deleted it', () => {
  const one = entry()
  const outcomes = one.outcomes.map((outcome, index) =>
    index === 0 ? { ...outcome, state: 'deleted' as const } : outcome,
  )
  expect(recipients(releasePlan({ ...one, outcomes }))).toEqual([{ address: 'bob@example.org' }])
})

test.each(['resend', 'attachment', 'plain'] as const)('goes as %s where that is asked for', (as) => {
  expect(releasePlan(entry(), { as })).toMatchObject({ as })
  expect(releasePlan(entry(), { to: ['new@x'], as })).toMatchObject({ as })
})

test.each(['', 'a', '@x', 'a@', 'a@x\r\nRCPT TO:<b@x>', 'a b@x', '<a@x>', 'a@x,b@x', `${'l'.repeat(253)}@x`])(
  'refuses the address %j',
  (to) => {
    expect(releasePlan(entry(), { to: ['good@x', to] })).toMatchObject({ action: 'refuse' })
  },
)

test('adds the fields of a resend', () => {
  const resender = {
    id: 'Abc-123_xyZ9',
    hostname: 'filter.example.org',
    date: new Date('2026-11-24T08:00:00Z'),
  }
  expect(resentFields([{ address: 'a@x' }, { address: 'b@x' }], resender)).toBe(
    [
      'Resent-From: <postmaster@filter.example.org>',
      'Resent-To: a@x,',
      ' b@x',
      'Resent-Date: Tue, 24 Nov 2026 08:00:00 +0000',
      'Resent-Message-ID: <Abc-123_xyZ9.1795507200000@filter.example.org>',
      '',
    ].join('\r\n'),
  )
})
