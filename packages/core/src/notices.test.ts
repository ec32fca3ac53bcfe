import { expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  localDomains,
  overlayPolicy,
  planNotices,
  type Decision,
  type Envelope,
  type NoticeFacts,
  type NoticeRules,
  type PolicyOverlay,
} from './index.ts'
import { envelopeOf } from './rules.testkit.ts'

const ADMIN = 'postmaster@example.org'
const ALL: NoticeRules = { admin: ADMIN, senders: true }

function decision(
  changes: Partial<Decision> & { viruses?: string[] } = {},
  overlay: PolicyOverlay = {},
): Decision {
  const { viruses = [], ...rest } = changes
  return {
    recipient: { address: 'bob@example.com' },
    policy: overlayPolicy(DEFAULT_POLICY, overlay),
    assessment: { viruses },
    category: viruses.length > 0 ? 'virus' : 'spam',
    destiny: 'discard',
    ...rest,
  } as Decision
}

function plan(
  decisions: readonly Decision[],
  changes: Partial<NoticeFacts> = {},
  { rules = ALL, ...envelope }: Partial<Envelope> & { rules?: NoticeRules } = {},
): string[] {
  const facts: NoticeFacts = {
    envelope: envelopeOf({
      mailFrom: 'anne@example.org',
      recipients: decisions.map(({ recipient }) => recipient),
      ...envelope,
    }),
    decisions,
    originating: true,
    isLocal: localDomains(['example.org']),
    isAutomatic: false,
    relayed: new Set(),
    ...changes,
  }
  return planNotices(facts, rules).map(({ kind, to, about }) => `${kind} ${to} ${about.length}`)
}

const infected = decision({ viruses: ['Eicar'] })
const spam = decision()
const outside = { originating: false }
const stranger = { mailFrom: 'x@example.net' }

test.each<[string, string[], string[]]>([
  ['a virus from outside', plan([infected], outside, stranger), [`admin ${ADMIN} 1`]],
  ['a virus with a forged local sender', plan([infected], outside), [`admin ${ADMIN} 1`]],
  ['a virus of our own sender, who is not told', plan([infected]), [`admin ${ADMIN} 1`]],
  ['a virus for two, in one mail', plan([infected, infected]), [`admin ${ADMIN} 2`]],
  ['no administrator', plan([infected], {}, { rules: { senders: true } }), []],
  [
    'a policy that tells no administrator',
    plan([decision({ viruses: ['Eicar'] }, { notices: ['senders'] }), infected]),
    [`admin ${ADMIN} 1`],
  ],
  ['a virus that is deferred', plan([decision({ viruses: ['Eicar'], destiny: 'tempfail' })]), []],
  ['a virus that passes, not relayed', plan([decision({ viruses: ['Eicar'], destiny: 'pass' })]), []],
  [
    'one over SMTP that comes again',
    plan([infected, decision({ destiny: 'tempfail' })], {}, { protocol: 'smtp' }),
    [],
  ],
  [
    'our notice to the administrator',
    plan([infected], { isAutomatic: true }, { mailFrom: '', recipients: [{ address: ADMIN }] }),
    [],
  ],
  [
    'an automatic message to others',
    plan([infected], { isAutomatic: true }, { mailFrom: '' }),
    [`admin ${ADMIN} 1`],
  ],
  ['spam of our own sender', plan([spam]), ['sender anne@example.org 1']],
  [
    'spam of a sender who need not be told',
    plan([spam], {}, { rules: { admin: ADMIN, senders: false } }),
    [],
  ],
  ['spam from outside', plan([spam], outside, stranger), []],
  ['spam of a forged local sender', plan([spam], outside), []],
  ['spam of an outside sender from our network', plan([spam], {}, stranger), []],
  ['spam of a list', plan([spam], { isAutomatic: true }), []],
  ['spam of the null sender', plan([spam], {}, { mailFrom: '' }), []],
  ['spam that is refused: Postfix tells it', plan([decision({ destiny: 'reject' })]), []],
  ['a bounce', plan([decision({ destiny: 'bounce' })]), ['dsn anne@example.org 1']],
  [
    'a bounce beside spam',
    plan([decision({ destiny: 'bounce' }), spam]),
    ['dsn anne@example.org 1', 'sender anne@example.org 1'],
  ],
  [
    'a bounce that the budget forbids',
    plan([decision({ suppressed: 'budget used up' })]),
    ['sender anne@example.org 1'],
  ],
  ['a bounce with NOTIFY=NEVER', plan([decision({ suppressed: 'not wanted by the sender' })]), []],
  ['a policy that tells no senders', plan([decision({}, { notices: ['admin'] })]), []],
])('%s', (_, planned, expected) => {
  expect(planned).toEqual(expected)
})

test('a virus that passes and has been relayed is told', () => {
  const passed = decision({ viruses: ['Eicar'], destiny: 'pass' })
  expect(plan([passed], { relayed: new Set([passed.recipient]) })).toEqual([`admin ${ADMIN} 1`])
})
