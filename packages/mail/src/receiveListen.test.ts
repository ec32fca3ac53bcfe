import { expect, test } from '@jest/globals'
import { networkTest } from './receiveListen.ts'

const networks = ['127.0.0.0/8', '192.0.2.7', '2001:db8::/32', 'fe80::/10']

test.each([
  ['127.0.0.1', true],
  ['127.255.255.255', true],
  ['128.0.0.1', false],
  ['192.0.2.7', true],
  ['192.0.2.8', false],
  ['::ffff:192.0.2.7', true],
  ['2001:db8:ffff::1', true],
  ['2001:db9::1', false],
  ['fe80::1%eth0', true],
  ['', false],
  ['unix', false],
  ['127.0.0.1 ', false],
  ['192.0.2.7/32', false],
])('%j in our networks: %s, also when it is asked again', (address, expected) => {
  const isOwn = networkTest(networks)
  expect([isOwn(address), isOwn(address)]).toEqual([expected, expected])
})

test('answers the same after more addresses than it remembers', () => {
  const isOwn = networkTest(['10.0.0.0/16'])
  const addresses = Array.from({ length: 3000 }, (_, i) => `10.${i % 2}.${i >> 8}.${i & 255}`)
  const expected = addresses.map((address) => address.startsWith('10.0.'))
  expect(addresses.map(isOwn)).toEqual(expected)
  expect(addresses.map(isOwn)).toEqual(expected)
})
