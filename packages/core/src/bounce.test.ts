import { expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  assess,
  blockedReply,
  combineForSmtp,
  decide,
  isOwnMailbox,
  localDomains,
  overlayPolicy,
  settle,
  type BounceFacts,
  type Decision,
  type Destiny,
  type Envelope,
  type Recipient,
  type ScanResult,
} from './index.ts'
import { envelopeOf } from './rules.testkit.ts'

const isLocal = localDomains(['example.org'])

/** What is decided for a recipient for whom spam has that destiny. */
function decided(
  destiny: Destiny,
  changes: { points?: number; virus?: string; recipient?: Recipient } = {},
): Decision {
  const { points = 20, virus, recipient = { address: `${destiny}@example.com` } } = changes
  const policy = overlayPolicy(DEFAULT_POLICY, { killLevel: 15, destiny: { spam: destiny, spammy: destiny } })
  const score = { kind: 'score', points, symbols: [] } as const
  const findings = virus === undefined ? [score] : [score, { kind: 'virus', name: virus } as const]
  const scan: ScanResult = {
    outcome: 'done',
    scanner: 'one',
    concerns: ['virus', 'spam'],
    elapsedMs: 1,
    cached: false,
    verdict: { findings },
  } as ScanResult
  const about = {
    policy: virus === undefined ? policy : overlayPolicy(policy, { destiny: { virus: destiny } }),
    local: false,
  }
  return decide(recipient, about, assess([scan], about.policy))
}

/** Mail of one of our own people, from one of our own machines. */
function facts(changes: Partial<BounceFacts> = {}, envelope: Partial<Envelope> = {}): BounceFacts {
  return {
    envelope: envelopeOf({ mailFrom: 'anne@example.org', client: { address: '192.0.2.1' }, ...envelope }),
    originating: true,
    isLocal,
    isAutomatic: () => false,
    othersDone: false,
    mayBounce: () => true,
    ...changes,
  }
}

const reply = (decision: Decision | undefined): string => {
  if (!decision) return ''
  const { code, enhanced, text } = blockedReply(decision, 'ID')
  return `${code} ${enhanced} ${text}`
}

test('our own sender is told', () => {
  const [decision] = settle([decided('bounce')], facts())
  expect(decision).toMatchObject({ destiny: 'bounce', quarantined: true })
  expect(reply(decision)).toBe(
    '250 2.5.0 Ok <bounce@example.com>, DSN was sent (554 5.7.0 Bounce, id=ID - spam)',
  )
})

const virus = { virus: 'Eicar' }
const wants = (...notify: NonNullable<Recipient['notify']>) => ({
  recipient: { address: 'a@example.com', notify },
})

test.each<[string, string, Parameters<typeof decided>[1], BounceFacts]>([
  ['the null sender', 'null sender', {}, facts({}, { mailFrom: '' })],
  ['a sender outside', 'sender not ours', {}, facts({}, { mailFrom: 'anne@example.net' })],
  ['a local sender from a client outside: forged', 'sender not ours', {}, facts({ originating: false })],
  ['a sender without a domain', 'sender not ours', {}, facts({}, { mailFrom: 'root' })],
  ['a subdomain that is not ours', 'sender not ours', {}, facts({}, { mailFrom: 'a@x.example.org' })],
  ['a way through us', 'sender not ours', {}, facts({}, { mailFrom: 'a%example.net@example.org' })],
  ['a bang path', 'sender not ours', {}, facts({}, { mailFrom: 'example.net!a@example.org' })],
  ['a quoted local part', 'sender not ours', {}, facts({}, { mailFrom: '"a@example.net"@example.org' })],
  ['a byte that is not UTF-8', 'sender not ours', {}, facts({}, { mailFrom: 'a\udcff@example.org' })],
  ['the mailer daemon', 'sender not ours', {}, facts({}, { mailFrom: 'MAILER-DAEMON@example.org' })],
  ['a list', 'automatic message', {}, facts({ isAutomatic: () => true })],
  ['NOTIFY=NEVER', 'not wanted by the sender', wants('NEVER'), facts()],
  ['NOTIFY=SUCCESS,DELAY', 'not wanted by the sender', wants('SUCCESS', 'DELAY'), facts()],
  ['a virus', 'virus', virus, facts()],
  ['a score at the cutoff', 'score above the cutoff', { points: 25 }, facts()],
  ['the budget', 'budget used up', {}, facts({ mayBounce: () => false })],
])('nobody is told, and a copy is kept: %s', (_, suppressed, what, about) => {
  const [decision] = settle([decided('bounce', what)], about)
  expect(decision).toMatchObject({ destiny: 'discard', suppressed, quarantined: true })
  expect(reply(decision)).toMatch(/^250 2\.5\.0 Ok <.*>, DSN suppressed \(554 5\.7\.0 Bounce, id=ID - /)
})

test.each([
  ['with NOTIFY=FAILURE', { recipient: { address: 'a@example.com', notify: ['FAILURE'] } } as const],
  ['below the cutoff', { points: 24.9 }],
])('the sender is told %s', (_, what) => {
  expect(settle([decided('bounce', what)], facts())).toMatchObject([{ destiny: 'bounce' }])
})

test('a copy is kept although the policy keeps none, but for spam above the cutoff of the quarantine', () => {
  const spam = decided('bounce')
  const keepNone: Decision = { ...spam, quarantined: false, policy: { ...spam.policy, quarantine: [] } }
  const cutoff: Decision = { ...keepNone, policy: { ...keepNone.policy, quarantineCutoffLevel: 20 } }
  const outside = facts({ originating: false })
  expect(settle([keepNone, cutoff], outside).map(({ quarantined }) => quarantined)).toEqual([true, false])
})

test('the budget is asked once for a message, and only where a DSN would be sent', () => {
  let asked = 0
  const mayBounce = (): boolean => ++asked > 0
  settle([decided('bounce'), decided('bounce')], facts({ mayBounce }))
  settle([decided('bounce')], facts({ mayBounce, originating: false }))
  settle([decided('discard')], facts({ mayBounce }))
  expect(asked).toBe(1)
})

const outside = { originating: false }

test.each<[string, Destiny[], Partial<BounceFacts>, Destiny[], number[]]>([
  ['both refused', ['reject', 'reject'], {}, ['reject', 'reject'], [1, 1]],
  ['refused and discarded', ['reject', 'discard'], {}, ['bounce', 'discard'], [1, 1]],
  ['refused and discarded, from outside', ['reject', 'discard'], outside, ['discard', 'discard'], [1, 1]],
  ['refused and passed', ['reject', 'pass'], {}, ['bounce', 'pass'], [1, 1]],
  ['refused and passed, from outside', ['reject', 'pass'], outside, ['discard', 'pass'], [1, 1]],
  ['refused and bounced', ['reject', 'bounce'], {}, ['bounce', 'bounce'], [1, 1]],
  ['refused and deferred', ['reject', 'tempfail'], {}, ['reject', 'tempfail'], [0, 0]],
  ['discarded and deferred', ['discard', 'tempfail'], outside, ['discard', 'tempfail'], [0, 0]],
  ['bounced and deferred', ['bounce', 'tempfail'], outside, ['bounce', 'tempfail'], [0, 0]],
  ['refused, and others are done', ['reject'], { othersDone: true }, ['bounce'], [1]],
  ['refused, others are done, from outside', ['reject'], { ...outside, othersDone: true }, ['discard'], [1]],
])('over SMTP: %s', (_, destinies, changes, expected, kept) => {
  const decisions = settle(
    destinies.map((destiny) => decided(destiny)),
    facts(changes, { protocol: 'smtp' }),
  )
  expect(decisions.map(({ destiny }) => destiny)).toEqual(expected)
  expect(decisions.map(({ quarantined }) => Number(quarantined))).toEqual(kept)
})

test('over LMTP each has its own: nothing changes', () => {
  const decisions = (['reject', 'discard', 'pass', 'tempfail', 'bounce'] as const).map((destiny) =>
    decided(destiny),
  )
  expect(settle(decisions, facts())).toEqual(decisions)
})

test('a mixed message over SMTP is answered 2xx: from outside Postfix has nothing to tell anybody', () => {
  const blocked = settle([decided('reject'), decided('discard')], facts(outside, { protocol: 'smtp' }))
  const { code } = combineForSmtp(
    blocked.map((decision) => blockedReply(decision, 'ID')),
    'ID',
  )
  expect(code).toBe(250)
})

test.each([
  ['anne@example.org', true],
  ['Anne.O+tag@EXAMPLE.ORG', true],
  ['gr\u00fc\u00dfe@example.org', true],
  ['', false],
  ['@example.org', false],
  ['anne', false],
  ['anne@', false],
  ['anne@example.org>', false],
  ['anne <x@example.net>@example.org', false],
  ['x@example.net,anne@example.org', false],
  ['@example.net:anne@example.org', false],
  ['anne@example.net', false],
  ['anne@[192.0.2.1]', false],
  ['anne\u202e@example.org', false],
  ['anne\r\nBcc: x@example.net\r\n@example.org', false],
  [`${'a'.repeat(65)}@example.org`, false],
  ['double-bounce@example.org', false],
])('%j: a mailbox of ours that a notice may go to: %s', (address, own) => {
  expect(isOwnMailbox(address, isLocal)).toBe(own)
})
