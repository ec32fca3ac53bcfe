import { describe, expect, test } from '@jest/globals'
import { envelopeOf, rulesOf } from './rules.testkit.ts'
import type { Finding } from './index.ts'

const spf: Finding = { kind: 'authenticated', method: 'spf', identity: 'mail-from' }
const dmarc: Finding = { kind: 'authenticated', method: 'dmarc', identity: 'from' }
const dkim = (domain: string): Finding => ({ kind: 'authenticated', method: 'dkim', identity: { domain } })

interface Mail {
  readonly from?: string
  readonly authors?: string[]
  readonly to?: string
  readonly proofs?: Finding[]
}

function standing(senders: unknown[], { from, authors = [], to = 'a@example.org', proofs = [] }: Mail) {
  const mail = rulesOf({ senders }).forMail(envelopeOf(from === undefined ? {} : { mailFrom: from }), authors)
  return mail.standingFor(to, proofs)
}

describe('a sender list', () => {
  const allow = { action: 'allow', senders: ['friend@example.net'] }
  const block = { action: 'block', senders: ['.bad.example'] }
  test.each<[string, unknown[], Mail, { listed?: string; points: number }]>([
    ['says nothing of others', [allow, block], {}, { points: 0 }],
    ['blocks by the envelope', [block], { from: 'x@a.bad.example' }, { listed: 'blocked', points: 0 }],
    ['blocks by From:', [block], { authors: ['x@bad.example'] }, { listed: 'blocked', points: 0 }],
    [
      'blocks by any of several authors',
      [block],
      { authors: ['a@example.net', 'x@bad.example'] },
      { listed: 'blocked', points: 0 },
    ],
    ['allows nobody without proof', [allow], { from: 'friend@example.net' }, { points: 0 }],
    [
      'allows without proof where it says so',
      [{ ...allow, unauthenticated: true }],
      { from: 'friend@example.net' },
      { listed: 'allowed', points: 0 },
    ],
    [
      'allows the envelope sender that SPF proves',
      [allow],
      { from: 'friend@example.net', proofs: [spf] },
      { listed: 'allowed', points: 0 },
    ],
    [
      "does not allow an author by the envelope's SPF",
      [allow],
      { from: 'evil@bad.example', authors: ['friend@example.net'], proofs: [spf] },
      { points: 0 },
    ],
    [
      'allows an author that DMARC proves',
      [allow],
      { from: 'bounces@lists.example', authors: ['friend@example.net'], proofs: [dmarc] },
      { listed: 'allowed', points: 0 },
    ],
    [
      'allows an author that DKIM proves',
      [allow],
      { from: 'b@lists.example', authors: ['Friend@Example.net'], proofs: [dkim('example.net')] },
      { listed: 'allowed', points: 0 },
    ],
    [
      'does not allow by a signature of somebody else',
      [allow],
      { from: 'friend@example.net', proofs: [dkim('evil.example')] },
      { points: 0 },
    ],
    [
      'does not allow one author among others',
      [allow],
      { from: 'b@lists.example', authors: ['friend@example.net', 'x@example.net'], proofs: [dmarc] },
      { points: 0 },
    ],
    [
      'adds points, once for envelope and From:',
      [{ score: -2, senders: ['example.net'] }],
      { from: 'a@example.net', authors: ['b@example.net'] },
      { points: -2 },
    ],
    [
      'adds the points of all that fit',
      [
        { score: -2, senders: ['.'] },
        { score: 5.5, senders: ['example.net'] },
      ],
      {},
      { points: 3.5 },
    ],
    [
      'is for its recipients alone',
      [{ ...block, senders: ['.'], recipients: ['b@example.org'] }],
      {},
      { points: 0 },
    ],
    [
      'is for its recipients',
      [{ ...block, senders: ['.'], recipients: ['b@example.org'] }],
      { to: 'B@example.org' },
      { listed: 'blocked', points: 0 },
    ],
    [
      'is overruled by a later one',
      [
        { action: 'block', senders: ['.'] },
        { ...allow, unauthenticated: true },
      ],
      { from: 'friend@example.net' },
      { listed: 'allowed', points: 0 },
    ],
    [
      'is not overruled by a later one that does not count',
      [{ action: 'block', senders: ['.'] }, allow],
      { from: 'friend@example.net' },
      { listed: 'blocked', points: 0 },
    ],
    [
      'blocks the null sender',
      [{ action: 'block', senders: ['<>'] }],
      { from: '' },
      { listed: 'blocked', points: 0 },
    ],
    [
      'has exceptions',
      [{ action: 'block', senders: ['.', '!example.net'] }],
      { from: 'a@example.net' },
      { points: 0 },
    ],
  ])('%s', (_name, senders, mail, expected) => {
    const { listed, points } = standing(senders, mail)
    expect({ ...(listed && { listed }), points }).toEqual(expected)
  })

  test('tells of an entry that does not count', () => {
    expect(standing([allow], { from: 'friend@example.net' }).matches).toMatchObject([
      { rule: 0, identity: 'mail-from', counts: false, match: { key: 'friend@example.net' } },
    ])
  })

  test('a rule for some stands among those for all, in their order', () => {
    const senders = [
      { score: 1, senders: ['.'], recipients: ['b@example.org'] },
      { score: 2, senders: ['.'] },
      { score: 4, senders: ['.'], recipients: ['example.org', '!c@example.org'] },
    ]
    const rulesFor = (to: string) => standing(senders, { to }).matches.map(({ rule }) => rule)
    expect(rulesFor('b@example.org')).toEqual([0, 1, 2])
    expect(rulesFor('c@example.org')).toEqual([1])
    expect(rulesFor('d@example.org')).toEqual([1, 2])
  })

  test('of thousands of rules, those of the recipient are found', () => {
    const senders = Array.from({ length: 5000 }, (_, user) => ({
      action: 'block',
      senders: ['.'],
      recipients: [`user${user}@example.org`, ...(user % 1000 === 0 ? ['boss@example.org'] : [])],
    }))
    const rulesFor = (to: string) => standing(senders, { to }).matches.map(({ rule }) => rule)
    expect(rulesFor('user4321@example.org')).toEqual([4321])
    expect(rulesFor('boss@example.org')).toEqual([0, 1000, 2000, 3000, 4000])
  })
})
