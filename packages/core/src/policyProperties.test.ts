import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  CATEGORIES,
  CONCERNS,
  DEFAULT_POLICY,
  DESTINIES,
  FilterError,
  NOTICE_AUDIENCES,
  SCORE_RULES,
  assess,
  blockedReply,
  decide,
  globPattern,
  overlayPolicy,
  planDeliveries,
  type Blemish,
  type Decision,
  type Destiny,
  type Finding,
  type Policy,
  type PolicyOverlay,
  type ScanResult,
} from './index.ts'
import { envelopeOf, rulesOf } from './rules.testkit.ts'

const BLEMISHES = CATEGORIES.filter((category) => category !== 'clean')
const VIRUS_NAMES = ['Eicar', 'Heuristics.Broken', 'Phish.A', 'weird,[name]=1']
const SCANNERS = ['clamd', 'spamd', 'both']

const categories = fc.uniqueArray(fc.constantFrom(...BLEMISHES))
const level = fc.constantFrom(-10, 0, 2, 6.2, 15, 64)
const tag = fc.constantFrom('', '[SPAM] ', '[Verdächtig] ', '\u010a\u010d')
const byCategory = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<Partial<Record<Blemish, T>>> =>
  fc.dictionary(fc.constantFrom(...BLEMISHES), value, { maxKeys: 4 })

const overlayWith = (destinies: readonly Destiny[]): fc.Arbitrary<PolicyOverlay> =>
  fc.record(
    {
      tagLevel: level,
      tag2Level: level,
      killLevel: level,
      quarantineCutoffLevel: level,
      subjectTag: tag,
      subjectTags: byCategory(tag),
      scores: fc.constantFrom(...SCORE_RULES),
      destiny: byCategory(fc.constantFrom(...destinies)),
      quarantine: categories,
      deliverAnyway: categories,
      bypass: fc.uniqueArray(fc.constantFrom(...CONCERNS)),
      scanners: fc.uniqueArray(fc.constantFrom(...SCANNERS)),
      virusNames: fc.dictionary(
        fc.constantFrom('*', 'Heuristics.*', '?icar', ...VIRUS_NAMES),
        fc.constantFrom<number | 'ignore' | 'virus'>('ignore', 'virus', 3, 20),
      ),
      addressExtension: byCategory(fc.constantFrom('spam', 'virus')),
      bounceCutoffLevel: level,
      notices: fc.uniqueArray(fc.constantFrom(...NOTICE_AUDIENCES)),
      removeHeaders: fc.uniqueArray(fc.constantFrom('X-Mailer', 'Subject')),
      messageSize: fc.constantFrom(1024, 4096),
    },
    { requiredKeys: [] },
  )
/** As any overlay may have it: bounce stands only where mail is our own. */
const overlay = overlayWith(DESTINIES.filter((destiny) => destiny !== 'bounce'))
const policies: fc.Arbitrary<Policy> = overlayWith(DESTINIES).map((changes) =>
  overlayPolicy(DEFAULT_POLICY, changes),
)

/** The order of sections' keys counts too: virusNames are tried in it. */
const inOrder = (value: unknown): string => JSON.stringify(value)

describe('overlays', () => {
  test('give the same, whichever of them are put together first', () => {
    fc.assert(
      fc.property(policies, overlay, overlay, (policy, one, two) => {
        const together = overlayPolicy(one as Policy, two) as PolicyOverlay
        const left = overlayPolicy(overlayPolicy(policy, one), two)
        const right = overlayPolicy(policy, together)
        expect(right).toEqual(left)
        expect(inOrder(right.virusNames)).toBe(inOrder(left.virusNames))
      }),
    )
  })

  test('have the last word, key by key', () => {
    fc.assert(
      fc.property(policies, overlay, (policy, changes) => {
        expect(overlayPolicy(policy, changes)).toMatchObject(changes)
        const untouched = Object.fromEntries(Object.entries(policy).filter(([key]) => !(key in changes)))
        expect(overlayPolicy(policy, changes)).toMatchObject(untouched)
      }),
    )
  })

  test('have the last word about virus names, however general their patterns are', () => {
    fc.assert(
      fc.property(policies, overlay, fc.constantFrom(...VIRUS_NAMES), (policy, changes, name) => {
        const meaningIn = (names: Policy['virusNames'] = {}) =>
          Object.entries(names).find(([pattern]) => globPattern(pattern)(name))?.[1]
        const merged = meaningIn(overlayPolicy(policy, changes).virusNames)
        expect(merged).toEqual(
          meaningIn(changes.virusNames as Policy['virusNames']) ?? meaningIn(policy.virusNames),
        )
      }),
    )
  })
})

/** Without the keys whose text in a file is another than their value, or must name what is configured. */
function inFileForm(changes: PolicyOverlay): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(changes).filter(([key]) => key !== 'scanners' && key !== 'messageSize'),
  )
}

describe('the overlays of a recipient', () => {
  const addresses = [
    '',
    'a@example.org',
    'A@Example.ORG',
    'a+x@example.org',
    'b@sub.example.org',
    'postmaster',
    '"q q"@example.net',
    'ü@bücher.example',
    'a@[192.0.2.1]',
  ]
  const keys = [
    'a@example.org',
    'a@',
    'example.org',
    '.example.org',
    '.org',
    '.',
    '<>',
    'example.net',
    'bücher.example',
    '/^a/',
    '/EXAMPLE/i',
    '/x$/',
  ]
  const addressList = fc.array(
    fc.tuple(fc.boolean(), fc.constantFrom(...keys)).map(([not, key]) => `${not ? '!' : ''}${key}`),
    { minLength: 1, maxLength: 4 },
  )
  const networks = ['0.0.0.0/0', '::/0', '192.0.2.0/24', '192.0.2.7/32', '2001:db8::/32', '!192.0.2.7/32']
  const listeners = ['127.0.0.1:10024', '127.0.0.1:10026']
  const when = fc.record(
    {
      originating: fc.boolean(),
      listeners: fc.uniqueArray(fc.constantFrom(...listeners), { minLength: 1 }),
      clients: fc.uniqueArray(fc.constantFrom(...networks), { minLength: 1, maxLength: 3 }),
      senders: addressList,
      recipients: addressList,
    },
    { requiredKeys: [] },
  )
  const mail = fc.record({
    client: fc.constantFrom(
      {},
      { address: '192.0.2.7' },
      { address: '2001:db8::1' },
      { address: '203.0.113.1' },
    ),
    listener: fc.constantFrom(...listeners),
    mailFrom: fc.constantFrom(...addresses),
  })

  test('are those whose conditions all hold, in their order, and so is the policy', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(when, overlay), { maxLength: 6 }),
        mail,
        fc.array(fc.constantFrom(...addresses), { minLength: 1, maxLength: 3 }),
        (overlays, envelope, recipients) => {
          const rules = rulesOf({
            listen: listeners.map((address) => ({ address })),
            scanners: [],
            policies: overlays.map(([conditions, changes], index) => ({
              name: `n${index}`,
              when: conditions,
              policy: inFileForm(changes),
            })),
          })
          const about = rules.forMail(envelopeOf(envelope), [])
          for (const recipient of recipients) {
            const conditionsOf = about.conditionsFor(recipient)
            const applying = rules.policies.rules.flatMap((_rule, number) =>
              conditionsOf(number).every(({ holds }) => holds) ? [number] : [],
            )
            expect(about.overlaysFor(recipient)).toEqual(applying)
            const folded = applying.reduce(
              (below, number) => overlayPolicy(below, rules.policies.rules[number]?.policy ?? {}),
              rules.policies.base,
            )
            expect(inOrder(about.policyFor(recipient))).toBe(inOrder(folded))
          }
        },
      ),
    )
  })
})

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom(...VIRUS_NAMES, 'a\r\nX-Evil: 1'),
)
const findings: fc.Arbitrary<Finding> = fc.oneof(
  fc.record({ kind: fc.constant('virus' as const), name: text }),
  fc.record({
    kind: fc.constant('score' as const),
    points: fc.double({ min: -100, max: 100, noNaN: true }),
    symbols: fc.array(fc.record({ name: text, score: fc.integer({ min: -9, max: 9 }) }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('unchecked' as const),
    reason: fc.constantFrom('encrypted' as const, 'limits exceeded' as const),
  }),
)
const base = fc.record({
  scanner: fc.constantFrom(...SCANNERS),
  concerns: fc.constantFrom(['virus' as const], ['spam' as const], ['virus' as const, 'spam' as const]),
  elapsedMs: fc.constant(1),
})
const results: fc.Arbitrary<ScanResult[]> = fc.array(
  fc.oneof(
    fc.tuple(base, fc.array(findings, { maxLength: 3 })).map(([common, found]): ScanResult => ({
      ...common,
      outcome: 'done',
      cached: false,
      verdict: { findings: found },
    })),
    base.map((common): ScanResult => ({ ...common, outcome: 'skipped', reason: 'too large' })),
    fc
      .tuple(base, fc.constantFrom('tempfail' as const, 'pass' as const, 'unchecked' as const))
      .map(([common, onError]): ScanResult => ({
        ...common,
        outcome: 'failed',
        error: new FilterError('E_SCANNER_TIMEOUT', 'no answer'),
        onError,
      })),
  ),
  { maxLength: 4 },
)
const about = fc.record(
  {
    local: fc.boolean(),
    sizeBytes: fc.constantFrom(10, 2048, 10_000),
    softBounce: fc.boolean(),
    sender: fc.record({
      listed: fc.constantFrom('allowed' as const, 'blocked' as const),
      points: fc.constantFrom(0, -3, 7.5),
      matches: fc.constant([]),
    }),
  },
  { requiredKeys: ['local'] },
)
const RECIPIENT = { address: 'a@example.org' }

describe('decide', () => {
  test('passes a virus only where the policy says so in words', () => {
    fc.assert(
      fc.property(results, policies, about, (scans, policy, facts) => {
        const found = scans.flatMap((scan) =>
          scan.outcome === 'done' && seen(scan, policy)
            ? scan.verdict.findings.flatMap((finding) => (finding.kind === 'virus' ? [finding.name] : []))
            : [],
        )
        const real = found.filter((name) => {
          const meaning = Object.entries(policy.virusNames).find(([pattern]) => globPattern(pattern)(name))
          return (meaning?.[1] ?? 'virus') === 'virus'
        })
        const counts = real.length > 0 && !policy.bypass.includes('virus')
        const decision = decide(RECIPIENT, { policy, ...facts }, assess(scans, policy))
        expect(decision.blemishes.includes('virus')).toBe(counts)
        const inWords = policy.deliverAnyway.includes('virus') || policy.destiny.virus === 'pass'
        expect(counts && !inWords && decision.destiny === 'pass').toBe(false)
        expect(counts && !inWords && decision.category !== 'virus').toBe(false)
      }),
    )
  })

  test('passes exactly what no category blocks, and nothing that a needed scanner failed on', () => {
    fc.assert(
      fc.property(results, policies, about, (scans, policy, facts) => {
        const assessment = assess(scans, policy)
        const { blemishes, destiny } = decide(RECIPIENT, { policy, ...facts }, assessment)
        const blocks = blemishes.some(
          (category) => policy.destiny[category] !== 'pass' && !policy.deliverAnyway.includes(category),
        )
        expect(destiny !== 'pass').toBe(blocks || (assessment.mustDefer && assessment.viruses.length === 0))
      }),
    )
  })

  test('gives no points to a recipient whose mail is not looked at for spam', () => {
    fc.assert(
      fc.property(results, policies, about, (scans, policy, facts) => {
        const blind: Policy = { ...policy, bypass: ['spam'] }
        const decision = decide(RECIPIENT, { policy: blind, ...facts }, assess(scans, blind))
        expect(decision).not.toHaveProperty('score')
        expect(decision.blemishes).not.toContain('spam')
        expect(decision.assessment.symbols).toEqual([])
      }),
    )
  })

  test('with softBounce refuses and discards nothing, and keeps nothing of what stays in the queue', () => {
    fc.assert(
      fc.property(results, policies, about, (scans, policy, facts) => {
        const assessment = assess(scans, policy)
        const soft = decide(RECIPIENT, { policy, ...facts, softBounce: true }, assessment)
        const hard = decide(RECIPIENT, { policy, ...facts, softBounce: false }, assessment)
        expect(['pass', 'tempfail']).toContain(soft.destiny)
        expect(soft.softened ?? soft.destiny).toBe(hard.destiny)
        expect(
          [soft, hard].filter(({ destiny, quarantined }) => destiny === 'tempfail' && quarantined),
        ).toEqual([])
      }),
    )
  })
})

/** No bypassed scanner has a say: one that looks for nothing but what is bypassed is not heard. */
function seen({ scanner, concerns }: ScanResult, policy: Policy): boolean {
  return (
    (policy.scanners ?? [scanner]).includes(scanner) &&
    concerns.some((concern) => !policy.bypass.includes(concern))
  )
}

describe('marks and replies', () => {
  const context = {
    id: 'abcDEF012345',
    hostname: 'mail.example.org',
    envelope: envelopeOf(),
    date: new Date(0),
    alertHeader: 'X-Ecluse-Alert',
    recipientDelimiter: '+',
  }
  const decisions: fc.Arbitrary<Decision[]> = fc
    .tuple(
      results,
      fc.array(
        fc.tuple(
          fc.constantFrom('a@example.org', 'A+x@example.org', '"q@q"@example.org', 'r\u00e9@example.org'),
          policies,
          about,
        ),
        { minLength: 1, maxLength: 6 },
      ),
    )
    .map(([scans, recipients]) =>
      recipients.map(([address, policy, facts]) =>
        decide({ address }, { policy, ...facts }, assess(scans, policy)),
      ),
    )

  test('a plan holds each passed recipient once, in order, and nobody else', () => {
    fc.assert(
      fc.property(decisions, (all) => {
        const plan = planDeliveries(all, context)
        const planned = new Set(plan.flatMap(({ recipients }) => recipients))
        const passed = all.filter(({ destiny }) => destiny === 'pass').map(({ recipient }) => recipient)
        expect(plan.flatMap(({ recipients }) => recipients)).toHaveLength(passed.length)
        expect(all.map(({ recipient }) => recipient).filter((recipient) => planned.has(recipient))).toEqual(
          passed,
        )
        for (const { recipients, targets } of plan) {
          expect(targets).toHaveLength(recipients.length)
          const places = recipients.map((recipient) => passed.indexOf(recipient))
          expect(places).toEqual(places.toSorted((a, b) => a - b))
        }
        expect(new Set(plan.map(({ edits }) => JSON.stringify(edits))).size).toBe(plan.length)
      }),
    )
  })

  test('every recipient that is not passed has a reply of one printable line', () => {
    fc.assert(
      fc.property(decisions, (all) => {
        for (const decision of all.filter(({ destiny }) => destiny !== 'pass')) {
          const { code, enhanced, text: line } = blockedReply(decision, context.id)
          expect(line).toMatch(/^[\x20-\x7e]{1,510}$/)
          expect(enhanced.startsWith(String(Math.trunc(code / 100)))).toBe(true)
          const classes = { discard: 2, bounce: 2, tempfail: 4, reject: 5, pass: 0 } as const
          expect(Math.trunc(code / 100)).toBe(classes[decision.destiny])
        }
      }),
    )
  })

  test('no field of ours holds anything but printable ASCII', () => {
    fc.assert(
      fc.property(decisions, (all) => {
        const values = planDeliveries(all, context)
          .flatMap(({ edits }) => edits)
          .map((edit) =>
            edit.op === 'prepend' ? edit.value : edit.op === 'tag-subject' ? edit.tag : edit.name,
          )
        expect(values.filter((value) => !/^[\x20-\x7e]*$/.test(value))).toEqual([])
      }),
    )
  })
})
