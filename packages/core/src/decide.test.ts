import { describe, expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  FilterError,
  assess,
  decide,
  keptCategories,
  type Concern,
  type Finding,
  type OnError,
  type Policy,
  type ScanResult,
} from './index.ts'

const policy: Policy = DEFAULT_POLICY
const rcpt = { address: 'a@example.org' }
const found = (concern: Concern, ...findings: Finding[]): ScanResult => ({
  scanner: 's',
  concerns: [concern],
  elapsedMs: 1,
  outcome: 'done',
  cached: false,
  verdict: { findings },
})
const failed = (concern: Concern, onError: OnError): ScanResult => ({
  scanner: 'f',
  concerns: [concern],
  elapsedMs: 1,
  outcome: 'failed',
  error: new FilterError('E_SCANNER_TIMEOUT', 'no answer'),
  onError,
})
const skipped = (concern: Concern): ScanResult => ({
  scanner: 'k',
  concerns: [concern],
  elapsedMs: 0,
  outcome: 'skipped',
  reason: 'too large',
})
const score = (points: number): ScanResult => found('spam', { kind: 'score', points, symbols: [] })
const eicar = found('virus', { kind: 'virus', name: 'Eicar' })
const encrypted = found('virus', { kind: 'unchecked', reason: 'encrypted' })

describe('decide', () => {
  test.each<[string, ScanResult[], string, string, boolean, string]>([
    ['nothing scanned', [], 'clean', 'pass', false, ''],
    ['below tag2Level', [score(6.199)], 'clean', 'pass', false, ''],
    ['at tag2Level', [score(6.2)], 'spammy', 'pass', false, 'spammy'],
    ['below killLevel', [score(14.99)], 'spammy', 'pass', false, 'spammy'],
    ['at killLevel', [score(15)], 'spam', 'discard', true, 'spam'],
    ['two scanners, summed', [score(8), score(7)], 'spam', 'discard', true, 'spam'],
    ['a virus', [eicar], 'virus', 'discard', true, 'INFECTED: Eicar'],
    ['a virus in spam', [score(99), eicar], 'virus', 'discard', true, 'INFECTED: Eicar'],
    ['an encrypted part', [encrypted], 'unchecked', 'pass', false, 'UNCHECKED: encrypted'],
    [
      'an encrypted part in spam: what blocks decides',
      [encrypted, score(20)],
      'spam',
      'discard',
      true,
      'spam',
    ],
    [
      'too large for the virus scanner',
      [skipped('virus')],
      'unchecked',
      'pass',
      false,
      'UNCHECKED: too large',
    ],
    ['too large for the spam scanner', [skipped('spam')], 'clean', 'pass', false, ''],
    ['failed, tempfail', [failed('virus', 'tempfail')], 'unchecked', 'tempfail', false, ''],
    [
      'failed, tempfail, and spam',
      [failed('virus', 'tempfail'), score(50)],
      'unchecked',
      'tempfail',
      false,
      '',
    ],
    [
      'failed, tempfail, but a virus',
      [failed('spam', 'tempfail'), eicar],
      'virus',
      'discard',
      true,
      'INFECTED: Eicar',
    ],
    ['failed, pass', [failed('virus', 'pass')], 'clean', 'pass', false, ''],
    [
      'failed, unchecked',
      [failed('virus', 'unchecked')],
      'unchecked',
      'pass',
      false,
      'UNCHECKED: scanner failed',
    ],
  ])('%s', (_name, results, category, destiny, quarantined, reason) => {
    expect(decide(rcpt, { policy, local: true }, assess(results, policy))).toMatchObject({
      category,
      destiny,
      quarantined,
      reason,
    })
  })

  test('takes the highest score where the policy says so', () => {
    const highest = { ...policy, scores: 'highest' } as const
    expect(
      decide(rcpt, { policy: highest, local: true }, assess([score(8), score(7)], highest)),
    ).toMatchObject({
      score: 8,
      category: 'spammy',
    })
  })
  test('knows no score when no scanner scored', () => {
    expect(decide(rcpt, { policy, local: true }, assess([eicar], policy))).not.toHaveProperty('score')
  })
})

describe('assess', () => {
  test.each<[string, ScanResult[], string | undefined]>([
    ['no scanner looks for viruses', [score(1)], undefined],
    ['looked, found nothing', [found('virus')], 'clean'],
    ['found one', [eicar, failed('virus', 'pass')], 'infected'],
    ['failed, pass: never clean', [failed('virus', 'pass')], 'scanner failed'],
    ['one of two failed: never clean', [found('virus'), failed('virus', 'pass')], 'scanner failed'],
    ['a failed spam scanner says nothing about viruses', [found('virus'), failed('spam', 'pass')], 'clean'],
    ['too large', [skipped('virus')], 'too large'],
    ['encrypted', [encrypted], 'encrypted'],
  ])('virus status: %s', (_name, results, status) => {
    expect(assess(results, policy).virusStatus).toBe(status)
  })
  test('names each virus once', () => {
    expect(assess([eicar, eicar], policy).viruses).toEqual(['Eicar'])
  })
})

test('who sent it changes nothing of what was found', () => {
  const proofs: Finding[] = [
    { kind: 'authenticated', method: 'spf', identity: 'mail-from' },
    { kind: 'authenticated', method: 'dkim', identity: { domain: 'example.org' } },
  ]
  expect(assess([found('spam', ...proofs)], policy)).toEqual(assess([found('spam')], policy))
  const finding: Finding = { kind: 'score', points: 7, symbols: [{ name: 'A', score: 7 }] }
  expect(assess([found('spam', finding, ...proofs), encrypted], policy)).toEqual(
    assess([found('spam', finding), encrypted], policy),
  )
})

test.each<[string, Partial<Policy>, number | undefined, string[]]>([
  ['names them', { quarantine: ['virus', 'spam'] }, 20, ['virus', 'spam']],
  ['names none', { quarantine: [] }, 20, []],
  ['cuts spam off', { quarantine: ['virus', 'spam'], quarantineCutoffLevel: 20 }, 20, ['virus']],
  [
    'cuts nothing off without a score',
    { quarantine: ['spam'], quarantineCutoffLevel: 20 },
    undefined,
    ['spam'],
  ],
])('a copy is kept as the policy %s', (_name, changes, points, kept) => {
  expect(keptCategories(['virus', 'spam'], { ...policy, ...changes }, points)).toEqual(kept)
})
