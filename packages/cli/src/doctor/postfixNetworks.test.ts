import { expect, test } from '@jest/globals'
import { parseAddress } from '@ecluse/core'
import { allInNetworks, inNetworks, ourAddresses } from './postfixNetworks.ts'

test.each([
  ['127.0.0.0/8', '127.0.0.1', 'in'],
  ['127.0.0.0/8 [::1]/128', '::1', 'in'],
  ['[::1]', '::1', 'in'],
  ['192.0.2.1', '192.0.2.1', 'in'],
  ['10.0.0.0/8', '127.0.0.1', 'out'],
  ['', '127.0.0.1', 'out'],
  [undefined, '127.0.0.1', 'out'],
  ['!127.0.0.1, 127.0.0.0/8', '127.0.0.1', 'out'],
  ['127.0.0.0/8, !127.0.0.1', '127.0.0.1', 'in'],
  ['hash:/etc/postfix/networks', '127.0.0.1', 'unknown'],
  ['hash:/etc/postfix/networks 127.0.0.0/8', '127.0.0.1', 'in'],
  ['mail.example.org', '127.0.0.1', 'unknown'],
])('the list %j and %s: %s', (list, address, membership) => {
  expect(inNetworks(list, address)).toBe(membership)
})

test.each([
  ['127.0.0.1:10025', ['127.0.0.1']],
  ['[::1]:10025', ['::1']],
  ['localhost:10025', ['127.0.0.1', '::1']],
  ['mx.example.org:10025', []],
  ['unix:/var/spool/postfix/private/reentry', []],
])('we come to %s from %j', (address, addresses) => {
  expect(ourAddresses(parseAddress(address))).toEqual(addresses)
})

test('of several addresses the worst counts', () => {
  expect(allInNetworks('127.0.0.0/8', ['127.0.0.1', '::1'])).toBe('out')
  expect(allInNetworks('127.0.0.0/8 x', ['127.0.0.1', '::1'])).toBe('unknown')
  expect(allInNetworks('127.0.0.0/8', [])).toBe('unknown')
})
