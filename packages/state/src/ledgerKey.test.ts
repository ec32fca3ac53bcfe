import { expect, test } from '@jest/globals'
import { envelope } from '../test/sample.ts'
import { ledgerKey, recipientKeys } from './ledgerKey.ts'

const DIGEST = 'a'.repeat(64)
const KEY = ledgerKey(envelope(), DIGEST)

test('gives 128 bits as hex, always the same', () => {
  // Changing it forgets what is remembered at every update.
  expect(KEY).toBe('950cd22c80f24214a6c6d63dc351f9d7')
})

test.each([
  ['the recipients', envelope({ recipients: [{ address: 'c@x' }] })],
  ['the client', envelope({ client: { address: '192.0.2.9', queueId: '4F5A2C', name: 'x' } })],
  ['the listener', envelope({ listener: 'unix:/run/x' })],
  ['the address of the peer', envelope({ peer: { address: '::1', port: 9, helo: 'mail.example.org' } })],
])('does not look at %s', (_, other) => {
  expect(ledgerKey(other, DIGEST)).toBe(KEY)
})

test.each([
  ['queue id', envelope({ client: { queueId: '4F5A2D' } }), DIGEST],
  ['queue id in the other case', envelope({ client: { queueId: '4f5a2c' } }), DIGEST],
  ['peer', envelope({ peer: { helo: 'mail2.example.org' } }), DIGEST],
  ['sender', envelope({ mailFrom: '' }), DIGEST],
  ['digest', envelope(), 'b'.repeat(64)],
])('is another for another %s', (_, other, digest) => {
  expect(ledgerKey(other, digest)).not.toBe(KEY)
})

test('keeps the fields apart, and bytes that are not UTF-8', () => {
  const key = (queueId: string, helo: string, mailFrom: string): string | undefined =>
    ledgerKey(envelope({ client: { queueId }, peer: { helo }, mailFrom }), DIGEST)
  expect(key('A', 'B', 'x')).not.toBe(key('AB', '', 'x'))
  expect(key('A","B', '', 'x')).not.toBe(key('A', 'B', 'x'))
  expect(key('A', 'B', '\udce9@x')).not.toBe(key('A', 'B', '\udce8@x'))
})

test('is absent without a queue id', () => {
  expect(ledgerKey(envelope({ client: { address: '192.0.2.7' } }), DIGEST)).toBeUndefined()
})

test.each([
  [[], []],
  [
    ['a@x', 'b@x'],
    ['1 a@x', '1 b@x'],
  ],
  [
    ['a@x', 'b@x', 'a@x', 'A@x', 'a@x'],
    ['1 a@x', '1 b@x', '2 a@x', '1 A@x', '3 a@x'],
  ],
  [
    ['"2 a"@x', '2 a@x', 'a@x', 'a@x'],
    ['1 "2 a"@x', '1 2 a@x', '1 a@x', '2 a@x'],
  ],
  [
    ['__proto__', '__proto__'],
    ['1 __proto__', '2 __proto__'],
  ],
])('numbers the occurrences of %j', (addresses, keys) => {
  expect(recipientKeys(addresses.map((address) => ({ address })))).toEqual(keys)
})

test('tells the same address apart by ORCPT, whichever of them come again', () => {
  const [anna, info, sales] = [
    { address: 'anna@x' },
    { address: 'anna@x', orcpt: 'rfc822;info@x' },
    { address: 'anna@x', orcpt: 'rfc822;sales@x' },
  ] as const
  const keys = ['1 anna@x', '1 anna@x rfc822;info@x', '1 anna@x rfc822;sales@x']
  expect(recipientKeys([anna, info, sales])).toEqual(keys)
  expect(recipientKeys([sales])).toEqual(keys.slice(2))
  expect(recipientKeys([sales, sales])).toEqual([...keys.slice(2), '2 anna@x rfc822;sales@x'])
})
