import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { compileAddressList } from './addressList.ts'
import { idleAddresses, idleNetworks, type IdleEntry } from './idleEntries.ts'
import type { ListEntry } from './listEntry.ts'
import { broaderKeys, lookupKeys } from './lookupKeys.ts'
import { compileNetworkList } from './networkIndex.ts'

function entries(...texts: string[]): ListEntry[] {
  return texts.map((text, index) => ({ text, place: { file: 'list', line: index + 1 } }))
}

function shown(idle: readonly IdleEntry[]): string[] {
  return idle.map(
    ({ entry, by, opposed }) => `${entry.text} ${opposed ? 'against' : 'by'} ${by?.text ?? 'nothing'}`,
  )
}

test.each([
  [['a@b.example', 'A@B.example'], ['A@B.example by a@b.example']],
  [['a@b.example', '!a@b.example'], ['!a@b.example against a@b.example']],
  [['.', 'b.example'], ['b.example by .']],
  [['a@b.example', '.example'], ['a@b.example by .example']],
  [['.example', '!a@b.example'], []],
  [['.example', '!b.example', 'a@b.example'], []],
  [['.example', '!b.example', '!a@b.example'], ['!a@b.example by !b.example']],
  [['a@b.example', '!c.example'], ['!c.example by nothing']],
  [['/x/', '!c.example'], []],
  [['!/x/', '!c.example', 'b.example'], ['!c.example by nothing']],
  [['/x/', '/x/'], ['/x/ by /x/']],
  [['a+x@b.example', 'a@b.example'], ['a+x@b.example by a@b.example']],
  [['a@', 'a@b.example'], []],
  [['.', 'a@'], []],
  [['.', '!a@', 'a@b.example'], []],
  [['a@', '!a@b.example', '!a+x@b.example'], []],
  [['a@', 'A@'], ['A@ by a@']],
  [['.', '!<>', '<>'], ['<> against !<>']],
  [['b.example', '.b.example'], ['b.example by .b.example']],
  [['.b.example', '.example'], ['.b.example by .example']],
  [['a@[192.0.2.1]', '[192.0.2.1]'], ['a@[192.0.2.1] by [192.0.2.1]']],
  [[], []],
])('of %j, these addresses change nothing: %j', (texts, idle) => {
  expect(shown(idleAddresses(entries(...texts), '+'))).toEqual(idle)
})

test.each([
  [['10.0.0.0/8', '10.1.0.0/16'], ['10.1.0.0/16 by 10.0.0.0/8']],
  [['10.0.0.0/8', '!10.1.0.0/16', '10.1.2.0/24'], []],
  [['10.0.0.0/8', '!10.0.0.0/8'], ['!10.0.0.0/8 against 10.0.0.0/8']],
  [['10.0.0.1', '10.0.0.1/32'], ['10.0.0.1/32 by 10.0.0.1']],
  [['10.0.0.0/8', '!192.0.2.1'], ['!192.0.2.1 by nothing']],
  [['::/0', '10.0.0.0/8'], []],
])('of %j, these networks change nothing: %j', (texts, idle) => {
  expect(shown(idleNetworks(entries(...texts)))).toEqual(idle)
})

test('what is broader than an address is what lookups ask after it', () => {
  const label = fc.constantFrom('a', 'b', 'example', 'com')
  const domain = fc.array(label, { minLength: 1, maxLength: 25 }).map((labels) => labels.join('.'))
  const user = fc.constantFrom('a', 'a+b', 'postmaster', 'owner-x')
  fc.assert(
    fc.property(user, domain, fc.constantFrom('', '+', '-'), (local, name, delimiter) => {
      const { keys } = lookupKeys(`${local}@${name}`, { delimiter, local: false })
      expect(broaderKeys(`${local}@${name}`, delimiter)).toEqual(keys.slice(1))
    }),
  )
})

const ASKED = ['a', 'a+x', 'b'].flatMap((user) =>
  ['x', 'y.x', 'z.y.x', 'w'].map((domain) => `${user}@${domain}`),
)
const TEXTS = 'a@x a+x@x a+x@y.x a@y.x b@z.y.x x y.x z.y.x . .x .y.x /y/ a@ a+x@ <>'.split(' ')
const addressText = fc.constantFrom(...TEXTS)
const signed = (text: fc.Arbitrary<string>) =>
  fc.tuple(fc.boolean(), text).map(([negated, entry]) => `${negated ? '!' : ''}${entry}`)

test('without them, a list says the same of every address', () => {
  fc.assert(
    fc.property(fc.array(signed(addressText), { maxLength: 8 }), fc.boolean(), (texts, local) => {
      const list = entries(...texts)
      const idle = new Set(idleAddresses(list, '+').map(({ entry }) => entry))
      const options = { delimiter: '+', local }
      const whole = compileAddressList(list, options)
      const rest = compileAddressList(
        list.filter((entry) => !idle.has(entry)),
        options,
      )
      for (const one of ['', ...ASKED]) {
        expect(rest.match(one)?.negated === false).toBe(whole.match(one)?.negated === false)
      }
    }),
  )
})

const networkText = fc.constantFrom(
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '10.1.2.3',
  '0.0.0.0/0',
  '::/0',
  '::1',
)

test('without them, a list says the same of every client', () => {
  fc.assert(
    fc.property(fc.array(signed(networkText), { maxLength: 8 }), (texts) => {
      const list = entries(...texts)
      const idle = new Set(idleNetworks(list).map(({ entry }) => entry))
      const whole = compileNetworkList(list)
      const rest = compileNetworkList(list.filter((entry) => !idle.has(entry)))
      for (const ip of ['10.1.2.3', '10.1.2.4', '10.1.3.1', '10.2.0.1', '192.0.2.1', '::1', '2001:db8::1']) {
        expect(rest.match(ip)?.negated === false).toBe(whole.match(ip)?.negated === false)
      }
    }),
  )
})
