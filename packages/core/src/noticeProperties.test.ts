import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  BLEMISHES,
  DESTINIES,
  NOTICE_AUDIENCES,
  NOTIFY_VALUES,
  assess,
  combineForSmtp,
  compileRules,
  configSchema,
  blockedReply,
  decide,
  planNotices,
  settle,
  type Config,
  type Decision,
  type Envelope,
  type Finding,
  type PlannedNotice,
  type Rules,
  type ScanResult,
} from './index.ts'

const ADDRESSES = [
  '',
  'anne@example.org',
  'Anne+x@EXAMPLE.org',
  'anne@sub.example.org',
  'bob@example.net',
  'bob@evil.example',
  'root',
  'postmaster',
  'evil%evil.example@example.org',
  'evil.example!bob@example.org',
  '"bob@evil.example"@example.org',
  '"a\\"b"@example.org',
  'bob@evil.example@example.org',
  'bob@[192.0.2.1]',
  'bob@example.org.evil.example',
  'bob@example.org.',
  'MAILER-DAEMON@example.org',
  'b\udcffb@example.org',
  'b\u202eb@example.org',
  'news-bounces@example.org',
  'a,b@example.org',
  'a@b:c@example.org',
]
const address = fc.oneof(
  { weight: 6, arbitrary: fc.constant('anne@example.org') },
  { weight: 8, arbitrary: fc.constantFrom(...ADDRESSES) },
  fc
    .tuple(fc.string({ unit: 'binary', maxLength: 12 }), fc.constantFrom('@example.org', '@evil.example', ''))
    .map((parts) => parts.join('')),
)
const INSIDE = '192.0.2.1'

const destiny = fc.dictionary(
  fc.constantFrom('spam', 'spammy', ...BLEMISHES),
  fc.constantFrom('reject', 'reject', ...DESTINIES),
  { maxKeys: 4 },
)
const policy = fc.record(
  {
    destiny,
    killLevel: fc.constantFrom(7, 15, 30),
    bounceCutoffLevel: fc.constantFrom(0, 25, 1000),
    quarantine: fc.uniqueArray(fc.constantFrom(...BLEMISHES)),
    deliverAnyway: fc.uniqueArray(fc.constantFrom(...BLEMISHES), { maxLength: 2 }),
    notices: fc.uniqueArray(fc.constantFrom(...NOTICE_AUDIENCES)),
    messageSize: fc.constantFrom('1KiB', '1MiB'),
  },
  { requiredKeys: [] },
)
const when = fc.record(
  {
    originating: fc.constantFrom(true, true, true, false),
    senders: fc.constantFrom(['.example.org'], ['<>'], ['bob@evil.example']),
    recipients: fc.constantFrom(['bob@example.net'], ['anne@'], ['!anne@example.org', '.']),
    clients: fc.constant(['0.0.0.0/0']),
  },
  { requiredKeys: [] },
)
const configuration = fc.record({
  localDomains: fc.constantFrom([], ['example.org'], ['.example.org'], ['example.org', '.example.net']),
  networks: fc.constantFrom([], ['192.0.2.0/24'], ['127.0.0.0/8']),
  softBounce: fc.constantFrom(false, false, false, true),
  policy,
  policies: fc
    .array(fc.record({ when, policy }), { maxLength: 4 })
    .map((list) => list.map((overlay, index) => ({ name: `p${index}`, ...overlay }))),
  notices: fc.record(
    { admin: fc.constant('postmaster@example.org'), senders: fc.boolean(), recipients: fc.boolean() },
    { requiredKeys: ['senders', 'recipients'] },
  ),
})

const schema = configSchema([], 'mail.example.org')

/** Configurations that `check` has nothing against. */
const checked = configuration
  .filter((input) => schema.safeParse(input).success)
  .map((input): Config => schema.parse(input))

const envelope = fc.record({
  protocol: fc.constantFrom('lmtp', 'smtp'),
  mailFrom: address,
  recipients: fc.array(
    fc.record(
      { address, notify: fc.uniqueArray(fc.constantFrom(...NOTIFY_VALUES), { minLength: 1 }) },
      { requiredKeys: ['address'] },
    ),
    { minLength: 1, maxLength: 4 },
  ),
  smtpUtf8: fc.boolean(),
  client: fc.constantFrom({}, { address: INSIDE }, { address: '198.51.100.7' }, { address: '127.0.0.1' }),
  peer: fc.constant({ helo: 'mail.example.org' }),
  listener: fc.constant('127.0.0.1:10024'),
}) as fc.Arbitrary<Envelope>

const finding: fc.Arbitrary<Finding> = fc.constantFrom(
  { kind: 'virus', name: 'Eicar' },
  { kind: 'score', points: 8, symbols: [] },
  { kind: 'score', points: 20, symbols: [] },
  { kind: 'score', points: 64, symbols: [] },
  { kind: 'unchecked', reason: 'encrypted' },
)
const scan: fc.Arbitrary<ScanResult> = fc.array(finding, { maxLength: 3 }).map(
  (findings) =>
    ({
      outcome: 'done',
      scanner: 'one',
      concerns: ['virus', 'spam'],
      elapsedMs: 1,
      cached: false,
      verdict: { findings },
    }) as ScanResult,
)

interface Planned {
  readonly rules: Rules
  readonly decisions: readonly Decision[]
  readonly notices: readonly PlannedNotice[]
}

interface Circumstances {
  readonly automatic: boolean
  readonly mayBounce: boolean
  readonly othersDone: boolean
  readonly sizeBytes: number
}
const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  automatic: fc.constantFrom(false, false, true),
  mayBounce: fc.constantFrom(true, true, false),
  othersDone: fc.boolean(),
  sizeBytes: fc.constantFrom(500, 2_000_000),
})

/** What the daemon does, without its effects. */
function run(config: Config, mail: Envelope, result: ScanResult, about: Circumstances): Planned {
  const rules = compileRules(config, new Map())
  const mailRules = rules.forMail(mail, [])
  const { softBounce } = config
  const decided = mail.recipients.map((recipient) => {
    const of = mailRules.policyFor(recipient.address)
    const { sizeBytes } = about
    return decide(
      recipient,
      { policy: of, local: rules.isLocal(recipient.address), softBounce, sizeBytes },
      assess([result], of),
    )
  })
  const { originating } = mailRules.facts
  const shared = { envelope: mail, originating, isLocal: rules.isLocal }
  const { othersDone } = about
  const decisions = settle(decided, {
    ...shared,
    othersDone,
    isAutomatic: () => about.automatic,
    mayBounce: () => about.mayBounce,
  })
  const relayed = new Set(mail.recipients)
  const facts = { ...shared, decisions, isAutomatic: about.automatic, relayed }
  return { rules, decisions, notices: planNotices(facts, config.notices) }
}

/** Without our own functions: the very domains that the configurations have. */
function isInside(to: string, { localDomains }: Config): boolean {
  const [, domain] = /^[^@%!"\\,:]+@([^@]+)$/.exec(to.toLowerCase().replace(/\.$/, '')) ?? []
  if (domain === undefined) return false
  return localDomains.some((entry) =>
    entry.startsWith('.') ? `.${domain}`.endsWith(entry) : domain === entry,
  )
}

const RUNS = { numRuns: 1000 }

test('no configuration that check accepts tells anybody outside anything', () => {
  let told = 0
  fc.assert(
    fc.property(checked, envelope, scan, circumstances, (config, mail, result, about) => {
      const { notices } = run(config, mail, result, about)
      told += notices.length
      const toAdmin = notices.filter(({ kind }) => kind === 'admin')
      expect(toAdmin.filter(({ to }) => to !== config.notices.admin)).toEqual([])
      for (const { to } of notices.filter(({ kind }) => kind !== 'admin')) {
        expect(isInside(to, config)).toBe(true)
        expect(to).toBe(mail.mailFrom)
        const { address: client } = mail.client
        const own = { '127.0.0.1': '127.0.0.0/8', [INSIDE]: '192.0.2.0/24' }[client ?? ''] ?? ''
        expect(client === undefined || config.networks.includes(own)).toBe(true)
        expect(about.automatic).toBe(false)
      }
    }),
    RUNS,
  )
  // The property says something only where notices are planned at all.
  expect(told).toBeGreaterThan(50)
})

test('a bounce stands only where a DSN is planned, and otherwise says why', () => {
  fc.assert(
    fc.property(checked, envelope, scan, circumstances, (config, mail, result, about) => {
      const { decisions, notices } = run(config, mail, result, about)
      const bounced = decisions.filter(({ destiny: of }) => of === 'bounce')
      const dsn = notices.find(({ kind }) => kind === 'dsn')
      const waits = mail.protocol === 'smtp' && decisions.some(({ destiny: of }) => of === 'tempfail')
      expect(dsn?.about ?? []).toEqual(waits ? [] : bounced)
      for (const { recipient, assessment } of waits ? [] : bounced) {
        expect(recipient.notify ?? ['FAILURE']).toContain('FAILURE')
        expect(assessment.viruses).toEqual([])
        expect(about.mayBounce).toBe(true)
      }
      const suppressed = decisions.filter((decision) => decision.suppressed !== undefined)
      expect(suppressed.filter(({ destiny: of }) => of !== 'discard')).toEqual([])
    }),
    RUNS,
  )
})

test('over SMTP every message has an end: only what is deferred comes again', () => {
  fc.assert(
    fc.property(checked, envelope, scan, circumstances, (config, mail, result, about) => {
      const { decisions } = run(config, { ...mail, protocol: 'smtp' }, result, about)
      const replies = decisions
        .filter(({ destiny: of }) => of !== 'pass')
        .map((decision) => blockedReply(decision, 'ID'))
      if (replies.length === 0) return
      const { code } = combineForSmtp(replies, 'ID')
      const waits = decisions.some(({ destiny: of }) => of === 'tempfail')
      expect(Math.trunc(code / 100) === 4).toBe(waits)
      // A 5xx makes Postfix tell the sender: only where every recipient is refused by a rule that says so.
      expect(code < 500 || decisions.every(({ destiny: of }) => of === 'reject')).toBe(true)
    }),
    RUNS,
  )
})
