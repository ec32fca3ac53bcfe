import { describe, expect, test } from '@jest/globals'
import { envelopeOf, rulesOf } from './rules.testkit.ts'
import type { Envelope } from './index.ts'

const level = (killLevel: number) => ({ killLevel })

describe('an overlay applies', () => {
  const inside: Partial<Envelope> = { client: { address: '192.0.2.9' } }
  test.each<[string, Record<string, unknown>, Partial<Envelope>, string, boolean]>([
    ['without conditions, to all', {}, {}, 'a@example.org', true],
    ['to our own mail', { originating: true }, inside, 'a@example.org', true],
    ['to mail made on this host', { originating: true }, { client: {} }, 'a@example.org', true],
    ['not to mail of others', { originating: true }, {}, 'a@example.org', false],
    ['to mail of others alone', { originating: false }, inside, 'a@example.org', false],
    ['to a client of a network', { clients: ['198.51.100.0/24'] }, {}, 'a@example.org', true],
    [
      'not to an excepted client',
      { clients: ['198.51.100.0/24', '!198.51.100.7'] },
      {},
      'a@example.org',
      false,
    ],
    [
      'to no network when the client is unknown',
      { clients: ['0.0.0.0/0'] },
      { client: {} },
      'a@example.org',
      false,
    ],
    ['to a listener', { listeners: ['127.0.0.1:10024'] }, {}, 'a@example.org', true],
    [
      'not to another listener',
      { listeners: ['127.0.0.1:10024'] },
      { listener: '127.0.0.1:10026' },
      'a@example.org',
      false,
    ],
    ['to a sender', { senders: ['sender@example.net'] }, {}, 'a@example.org', true],
    ['to the null sender', { senders: ['<>'] }, { mailFrom: '' }, 'a@example.org', true],
    [
      'not to the null sender by a domain',
      { senders: ['example.net'] },
      { mailFrom: '' },
      'a@example.org',
      false,
    ],
    ['to a recipient', { recipients: ['boss@example.org'] }, {}, 'Boss@Example.org', true],
    [
      'to a recipient with an extension',
      { recipients: ['boss@example.org'] },
      {},
      'boss+x@example.org',
      true,
    ],
    ['to a domain below', { recipients: ['.example.org'] }, {}, 'a@vip.example.org', true],
    ['not to a domain below by its name', { recipients: ['example.org'] }, {}, 'a@vip.example.org', false],
    ['not to an exception', { recipients: ['.example.org', '!a@example.org'] }, {}, 'a@example.org', false],
    ['to a regular expression', { recipients: ['/^news-/'] }, {}, 'news-1@example.org', true],
    ['when all conditions hold', { originating: true, recipients: ['.'] }, inside, 'a@example.org', true],
    ['not when one of them fails', { originating: true, recipients: ['.'] }, {}, 'a@example.org', false],
    [
      'not when the sender fails beside the recipient',
      { senders: ['example.com'], recipients: ['.'] },
      {},
      'a@example.org',
      false,
    ],
  ])('%s', (_name, when, envelope, recipient, applies) => {
    const rules = rulesOf({ policies: [{ name: 'x', when, policy: level(30) }] })
    const mail = rules.forMail(envelopeOf(envelope), [])
    expect(mail.policyFor(recipient).killLevel).toBe(applies ? 30 : 15)
    // The same answer as the one that people are shown.
    const shown = mail.conditionsFor(recipient)(0)
    expect(shown.every(({ holds }) => holds)).toBe(applies)
  })
})

test('later overlays win, key by key', () => {
  const rules = rulesOf({
    policies: [
      { name: 'one', when: {}, policy: { killLevel: 20, subjectTag: 'A ', destiny: { spam: 'reject' } } },
      { name: 'two', when: { recipients: ['a@example.org'] }, policy: { killLevel: 30 } },
      { name: 'three', when: {}, policy: { destiny: { virus: 'reject' }, quarantine: [] } },
    ],
  })
  const mail = rules.forMail(envelopeOf(), [])
  const policy = mail.policyFor('a@example.org')
  expect(policy).toMatchObject({
    killLevel: 30,
    subjectTag: 'A ',
    destiny: { spam: 'reject', virus: 'reject', banned: 'discard' },
    quarantine: [],
  })
  expect(mail.overlaysFor('a@example.org')).toEqual([0, 1, 2])
  expect(mail.overlaysFor('b@example.org')).toEqual([0, 2])
  const layers = rules.policies.layersOf([0, 1, 2])
  expect(layers.map(({ number, policy: { killLevel } }) => [number, killLevel])).toEqual([
    [0, 20],
    [1, 30],
    [2, 30],
  ])
  expect(layers.at(-1)?.policy).toEqual(policy)
  expect(rules.policies.layersOf([])).toEqual([])
  expect(mail.policyFor('A@example.org')).toBe(policy)
  expect(mail.policyFor('b@example.org')).toBe(mail.policyFor('c@example.org'))
})

test('reads entries from files, and tells their lines', () => {
  const rules = rulesOf(
    { policies: [{ name: 'x', when: { recipients: ['z@example.org', 'file:/vip'] }, policy: level(30) }] },
    new Map([['file:/vip', ['a@example.org', '.vip.example.org']]]),
  )
  const mail = rules.forMail(envelopeOf(), [])
  expect(mail.policyFor('x@deep.vip.example.org').killLevel).toBe(30)
  const [result] = mail.conditionsFor('x@deep.vip.example.org')(0)
  expect(result).toMatchObject({
    condition: 'recipients',
    holds: true,
    match: { key: '.vip.example.org', entry: { place: { file: '/vip', line: 2 } } },
  })
})
