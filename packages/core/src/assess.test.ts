import { describe, expect, test } from '@jest/globals'
import {
  CLEAN,
  CONCERNS,
  DEFAULT_POLICY,
  FilterError,
  ON_ERROR,
  assess,
  planDeliveries,
  decide,
  wantedScanners,
  type Concern,
  type ConfiguredScanner,
  type ScanResult,
  type ScannerChoice,
  type Verdict,
} from './index.ts'

const everything: ScannerChoice = { bypass: [], virusNames: {} }
const EICAR: Verdict = { findings: [{ kind: 'virus', name: 'Eicar' }] }

const base = (scanner: string, concerns: readonly Concern[] = ['virus']) => ({
  scanner,
  concerns,
  elapsedMs: 1,
})
const failed = (
  scanner: string,
  changes: Partial<Extract<ScanResult, { outcome: 'failed' }>> = {},
): ScanResult => ({
  ...base(scanner),
  outcome: 'failed',
  error: new FilterError('E_SCANNER_CONNECT', 'nobody there'),
  onError: 'tempfail',
  ...changes,
})
const backup = (verdict: Verdict, concerns?: readonly Concern[]): ScanResult => ({
  ...base('second', concerns),
  backupFor: ['first'],
  outcome: 'done',
  verdict,
  cached: false,
})

describe('a failure that a backup covers', () => {
  test.each(ON_ERROR)('counts for nothing, whatever the rule: %s', (onError) => {
    const results = [failed('first', { onError, coveredBy: 'second' }), backup(CLEAN)]
    expect(assess(results, everything)).toMatchObject({
      virusStatus: 'clean',
      virusBackups: ['second'],
      unchecked: [],
      mustDefer: false,
    })
  })

  test('what the backup finds counts', () => {
    const results = [failed('first', { coveredBy: 'second' }), backup(EICAR)]
    expect(assess(results, everything)).toMatchObject({ viruses: ['Eicar'], virusStatus: 'infected' })
  })

  test('does not excuse the failure of another scanner', () => {
    const results = [failed('first', { coveredBy: 'second' }), backup(CLEAN), failed('third')]
    expect(assess(results, everything)).toMatchObject({ virusStatus: 'scanner failed', mustDefer: true })
  })
})

test.each([
  ['tempfail', 'pass', { mustDefer: true, unchecked: [] }],
  ['pass', 'tempfail', { mustDefer: true, unchecked: [] }],
  ['pass', 'unchecked', { mustDefer: false, unchecked: ['scanner failed'] }],
  ['pass', 'pass', { mustDefer: false, unchecked: [] }],
] as const)('where both failed, the rules of both count: %s and %s', (first, second, expected) => {
  const results = [
    failed('first', { onError: first }),
    failed('second', { onError: second, backupFor: ['first'] }),
  ]
  expect(assess(results, everything)).toMatchObject({ ...expected, virusStatus: 'scanner failed' })
})

describe('a policy that chooses scanners', () => {
  const results = [failed('first', { coveredBy: 'second' }), backup(EICAR)]

  test('takes the backup with what it stands in for', () => {
    expect(assess(results, { ...everything, scanners: ['first'] }).viruses).toEqual(['Eicar'])
  })

  test('leaves the backup of others out', () => {
    expect(assess(results, { ...everything, scanners: ['other'] }).viruses).toEqual([])
  })

  test('leaves out what a backup finds beyond what is looked for', () => {
    const score: Verdict = { findings: [...EICAR.findings, { kind: 'score', points: 9, symbols: [] }] }
    const both = [failed('first', { coveredBy: 'second' }), backup(score, CONCERNS)]
    expect(assess(both, { ...everything, bypass: ['spam'] })).toMatchObject({
      viruses: ['Eicar'],
      scores: [],
    })
    expect(assess(both, { ...everything, bypass: ['virus'] })).toMatchObject({ viruses: [], scores: [] })
  })
})

describe('wantedScanners', () => {
  const scanner = (name: string, changes: Partial<ConfiguredScanner> = {}) => ({
    name,
    concerns: ['virus'] as readonly Concern[],
    ...changes,
  })
  const all = [
    scanner('a'),
    scanner('b'),
    scanner('backup', { backupFor: ['a'] }),
    scanner('spam', { concerns: ['spam'] }),
  ]
  const names = (...choices: ScannerChoice[]): string[] =>
    wantedScanners(all, choices).map(({ name }) => name)

  test.each<[string, ScannerChoice[], string[]]>([
    ['all, when nothing is chosen', [everything], ['a', 'b', 'backup', 'spam']],
    ['a backup with what it stands in for', [{ ...everything, scanners: ['a'] }], ['a', 'backup']],
    ['no backup for others', [{ ...everything, scanners: ['b'] }], ['b']],
    ['no backup of what is not looked for', [{ ...everything, bypass: ['virus'] }], ['spam']],
    [
      'what anybody wants',
      [
        { ...everything, scanners: ['b'] },
        { ...everything, scanners: ['spam'] },
      ],
      ['b', 'spam'],
    ],
    ['nothing for nobody', [], []],
  ])('%s', (_, choices, expected) => {
    expect(names(...choices)).toEqual(expected)
  })

  test('gives the very list when it is all of it', () => {
    expect(wantedScanners(all, [everything])).toBe(all)
  })
})

test('the header says which backup looked', () => {
  const policy = DEFAULT_POLICY
  const assessment = assess([failed('first', { coveredBy: 'second' }), backup(CLEAN)], policy)
  const decision = decide({ address: 'a@example.org' }, { policy, local: true }, assessment)
  const [delivery] = planDeliveries([decision], {
    id: 'AAAAAAAAAAAA',
    hostname: 'mx.example.org',
    envelope: {
      protocol: 'lmtp',
      mailFrom: '',
      recipients: [{ address: 'a@example.org' }],
      smtpUtf8: false,
      client: {},
      peer: { helo: 'mx' },
      listener: '127.0.0.1:10024',
    },
    date: new Date(0),
    alertHeader: 'X-Ecluse-Alert',
    recipientDelimiter: '+',
  })
  expect(delivery?.edits).toContainEqual({
    op: 'prepend',
    name: 'X-Virus-Scanned',
    value: 'ecluse at mx.example.org (backup second)',
  })
})
