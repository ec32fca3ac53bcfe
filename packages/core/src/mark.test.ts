import { describe, expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  assess,
  decide,
  formatScore,
  planDeliveries,
  type Envelope,
  type MarkContext,
  type Policy,
  type ScanResult,
} from './index.ts'

const policy: Policy = {
  ...DEFAULT_POLICY,
  tagLevel: 2,
  destiny: { ...DEFAULT_POLICY.destiny, virus: 'pass', spam: 'pass' },
  quarantine: ['spam'],
}
const local = { address: 'a@example.org' }
const outside = { address: 'b@example.com' }
const envelope: Envelope = {
  protocol: 'lmtp',
  mailFrom: 's@example.net',
  recipients: [local, outside],
  smtpUtf8: false,
  client: { address: '192.0.2.9' },
  peer: { address: '127.0.0.1', helo: 'mail.example.org' },
  listener: '127.0.0.1:10024',
}
const context: MarkContext = {
  id: 'AbCdEf123456',
  hostname: 'mail.example.org',
  envelope,
  date: new Date('2026-03-01T09:05:07Z'),
  alertHeader: 'X-Ecluse-Alert',
  recipientDelimiter: '+',
}
const received =
  'Received: from mail.example.org ([127.0.0.1]) by mail.example.org (ecluse) with LMTP id AbCdEf123456; Sun, 01 Mar 2026 09:05:07 +0000'
const clean: ScanResult = {
  scanner: 'c',
  concerns: ['virus'],
  elapsedMs: 1,
  outcome: 'done',
  cached: false,
  verdict: { findings: [] },
}
const infected: ScanResult = {
  ...clean,
  outcome: 'done',
  cached: false,
  verdict: { findings: [{ kind: 'virus', name: 'Eicar' }] },
}
const scored = (points: number): ScanResult => ({
  ...clean,
  concerns: ['spam'],
  outcome: 'done',
  cached: false,
  verdict: {
    findings: [
      {
        kind: 'score',
        points,
        symbols: [
          { name: 'A', score: points + 0.1 },
          { name: 'B', score: -0.1 },
        ],
      },
    ],
  },
})

/** What is added for each copy, as it reads. */
function copies(results: ScanResult[], recipients = [local, outside]): { to: string[]; fields: string[] }[] {
  const assessment = assess(results, policy)
  const decisions = recipients.map((recipient) =>
    decide(recipient, { policy, local: recipient === local }, assessment),
  )
  return planDeliveries(decisions, context).map(({ edits, recipients: to }) => ({
    to: to.map(({ address }) => address),
    fields: edits.flatMap((edit) => {
      if (edit.op === 'prepend') return [`${edit.name}: ${edit.value}`]
      return edit.op === 'tag-subject' ? [`[${edit.tag}]`] : []
    }),
  }))
}

describe('planDeliveries', () => {
  test('gives one copy to all where nothing tells them apart', () => {
    expect(copies([clean])).toEqual([
      {
        to: ['a@example.org', 'b@example.com'],
        fields: ['X-Virus-Scanned: ecluse at mail.example.org', 'X-Virus-Status: Clean', received],
      },
    ])
  })
  test('gives spam fields to the local recipient alone, in the order of the contract', () => {
    expect(copies([clean, scored(7.25)])).toEqual([
      {
        to: ['a@example.org'],
        fields: [
          'X-Virus-Scanned: ecluse at mail.example.org',
          'X-Virus-Status: Clean',
          'X-Spam-Flag: YES',
          'X-Spam-Score: 7.25',
          'X-Spam-Level: *******',
          'X-Spam-Status: Yes, score=7.25 tagged_above=2 required=6.2 tests=[A=7.35,B=-0.1] autolearn=unavailable',
          '[***SPAM*** ]',
          received,
        ],
      },
      {
        to: ['b@example.com'],
        fields: ['X-Virus-Scanned: ecluse at mail.example.org', 'X-Virus-Status: Clean', received],
      },
    ])
  })
  test('adds no spam field below tagLevel', () => {
    expect(copies([scored(1.9)], [local])).toEqual([{ to: ['a@example.org'], fields: [received] }])
  })
  test('flags NO and tags no subject between tagLevel and tag2Level', () => {
    expect(copies([scored(2)], [local])[0]?.fields.slice(0, 4)).toEqual([
      'X-Spam-Flag: NO',
      'X-Spam-Score: 2',
      'X-Spam-Level: **',
      'X-Spam-Status: No, score=2 tagged_above=2 required=6.2 tests=[A=2.1,B=-0.1] autolearn=unavailable',
    ])
  })
  test('names the quarantined copy to the local recipient, and the virus to all', () => {
    const [forLocal, forOutside] = copies([infected, scored(70)])
    expect(forLocal?.fields).toContain('X-Spam-Level: ' + '*'.repeat(64))
    expect(forOutside?.fields).toEqual([
      'X-Virus-Scanned: ecluse at mail.example.org',
      'X-Virus-Status: Infected (Eicar)',
      'X-Ecluse-Alert: INFECTED, message contains virus: Eicar',
      received,
    ])
    expect(copies([scored(70)], [local])[0]?.fields[0]).toBe('X-Quarantine-ID: <AbCdEf123456>')
  })
  test('removes what only we may have written, in every copy', () => {
    const [delivery] = planDeliveries(
      [decide(outside, { policy, local: false }, assess([], policy))],
      context,
    )
    const removed = delivery?.edits.flatMap((edit) => (edit.op === 'remove' ? [edit.name] : []))
    expect(removed).toEqual([
      'X-Quarantine-ID',
      'X-Ecluse-*',
      'X-Amavis-*',
      'X-Virus-*',
      'X-Spam-*',
      'X-Ecluse-Alert',
    ])
  })
})

test.each([
  [7.25, '7.25'],
  [0, '0'],
  [-0.0001, '0'],
  [-1, '-1'],
  [100, '100'],
  [5.1239, '5.124'],
])('writes %d points as %s', (points, text) => {
  expect(formatScore(points)).toBe(text)
})

test.each<[string, Partial<Envelope>, string]>([
  ['Unix socket', { peer: { helo: 'h' } }, 'from h (unix socket) by'],
  ['IPv6', { peer: { address: '::1', helo: 'h' } }, 'from h ([IPv6:::1]) by'],
  [
    'hostile name',
    { peer: { address: '127.0.0.1', helo: 'a\r\nX: (b)' } },
    'from a??X:??b? ([127.0.0.1]) by',
  ],
  ['UTF-8 and TLS', { smtpUtf8: true, peer: { helo: 'h', tls: 'TLSv1.3' } }, '(ecluse) with UTF8LMTPS id'],
  ['SMTP', { protocol: 'smtp' }, '(ecluse) with ESMTP id'],
  ['SMTP with UTF-8', { protocol: 'smtp', smtpUtf8: true }, '(ecluse) with UTF8SMTP id'],
])('writes the trace of %s', (_name, change, part) => {
  const [delivery] = planDeliveries([decide(outside, { policy, local: false }, assess([], policy))], {
    ...context,
    envelope: { ...envelope, ...change },
  })
  expect(delivery?.edits.at(-1)).toMatchObject({ name: 'Received', value: expect.stringContaining(part) })
})
