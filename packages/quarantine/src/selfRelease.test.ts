import { expect, test } from '@jest/globals'
import { localDomains, type Assessment, type Policy } from '@ecluse/core'
import { envelope, POLICY, record, SPAM, VIRUS, type SampleOptions } from '../test/sample.ts'
import { formatFields, readFields } from './fields.ts'
import type { QuarantineEntry } from './record.ts'
import { selfRelease } from './selfRelease.ts'

const ANNA = 'anna@example.org'

function entry(options: SampleOptions = {}): QuarantineEntry {
  const fields = readFields(formatFields(record(options), { sizeBytes: 1, digest: 'd' }))
  if (typeof fields === 'number') throw new Error('too few bytes')
  return fields.entry
}

const of = (kept: QuarantineEntry, address = ANNA, domains = ['example.org']) =>
  selfRelease(kept, address, localDomains(domains))

const policy = (destiny: Policy['destiny']['spam']): Policy => ({
  ...POLICY,
  destiny: { ...POLICY.destiny, spam: destiny },
})
const UNCHECKED: Assessment = { ...SPAM, unchecked: ['encrypted'], virusStatus: 'encrypted', scores: [] }
const BLOCKING: Policy = { ...POLICY, destiny: { ...POLICY.destiny, unchecked: 'discard' } }

test.each([
  ['discarded spam', 'open', entry()],
  ['spam that was refused', 'open', entry({ policies: [policy('reject')] })],
  ['unchecked mail', 'closed', entry({ assessment: UNCHECKED, policies: [BLOCKING, BLOCKING] })],
  ['a virus', 'closed', entry({ assessment: VIRUS })],
  [
    'a virus for another recipient alone',
    'closed',
    entry({ assessment: { ...VIRUS, scores: [20] }, policies: [{ ...POLICY, bypass: ['virus'] }] }),
  ],
  ['spam that was delivered', 'closed', entry({ policies: [policy('pass')] })],
  ['spam that was deferred', 'closed', entry({ policies: [policy('tempfail')] })],
] as const)('%s is %s', (_, expected, kept) => {
  expect(of(kept)).toBe(expected)
})

test.each([
  ['of another domain', ANNA, ['example.com']],
  ['that is not of the message', 'eve@example.org', ['example.org']],
  ['in other letters', 'Anna@example.org', ['example.org']],
  ['', '', ['example.org']],
])('is closed for an address %s', (_, address, domains) => {
  expect(of(entry(), address, domains)).toBe('closed')
})

test.each(['x%example.net@example.org', '"a,b"@example.org', '"a b"@example.org'])(
  'is closed for %s, which may lead elsewhere',
  (address) => {
    expect(of(entry({ envelope: envelope({ recipients: [{ address }] }) }), address)).toBe('closed')
  },
)

test('is over for whom it was released to, and for nobody else', () => {
  const at = new Date('2026-11-24T09:00:00Z')
  const kept = { ...entry(), releases: [{ at, by: 'root', to: [ANNA], as: 'plain' as const }] }
  expect(of(kept)).toBe('released')
  expect(of(kept, 'bob@example.org')).toBe('open')
})

test('is closed for whoever has deleted it', () => {
  const kept = entry()
  const outcomes = kept.outcomes.map((outcome) => ({ ...outcome, state: 'deleted' as const }))
  expect(of({ ...kept, outcomes })).toBe('closed')
})
