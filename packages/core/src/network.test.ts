import { BlockList, isIP } from 'node:net'
import { expect, test } from '@jest/globals'
import { FilterError } from './errors.ts'
import { isIpAddress, parseNetwork } from './network.ts'

test.each([
  ['127.0.0.0/8', '127.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['192.0.2.1', '192.0.2.1/32'],
  ['192.0.2.1/32', '192.0.2.1/32'],
  ['::/0', '::/0'],
  ['::1', '::1/128'],
  ['2001:DB8::/32', '2001:DB8::/32'],
  ['::ffff:192.0.2.0/120', '::ffff:192.0.2.0/120'],
])('%s is the network %s', (text, expected) => {
  const network = parseNetwork(text)
  expect(network).toBe(expected)
  const [address = '', length] = network.split('/')
  const addSubnet = () =>
    new BlockList().addSubnet(address, Number(length), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  expect(addSubnet).not.toThrow()
})

test.each([
  '',
  '/',
  '/8',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '10.0.0/8',
  '10.0.0.256/32',
  '010.0.0.0/8',
  '::/129',
  '1::2::3/64',
  '1:2:3:4:5:6:7/128',
  '1:2:3:4:5:6:7:8:9',
  'example.org',
  'fe80::1%eth0',
  '[::1]/128',
])('%j is no network', (text) => {
  expect(() => parseNetwork(text)).toThrow('expected a network such as')
})

test.each([
  ['10.0.0.1/8', 'write 10.0.0.0/8'],
  ['192.168.1.77/25', 'write 192.168.1.0/25'],
  ['2001:db8::1/32', 'write 2001:db8::/32'],
  ['fe80::1/10', 'write fe80::/10'],
  ['1:2:3:4:5:6:7:8/112', 'write 1:2:3:4:5:6:7:0/112'],
  ['10.0.0.1/0', 'write 0.0.0.0/0'],
  ['::1/0', 'write ::/0'],
])('%s has host bits: %s', (text, hint) => {
  let caught: unknown
  try {
    parseNetwork(text)
  } catch (error) {
    caught = error
  }
  expect(caught).toBeInstanceOf(FilterError)
  expect((caught as FilterError).hint).toBe(hint)
  expect(() => parseNetwork(hint.slice('write '.length))).not.toThrow()
})

test.each([
  ['10.0.0.0/255.0.0.0', 'write 10.0.0.0/8'],
  ['10.0.0.0/255.0.255.0', 'write the netmask as a prefix length such as /24'],
  ['10.0.0.0/33', 'its prefix length is at most 32'],
  ['::/129', 'its prefix length is at most 128'],
  ['10', 'write 10.0.0.0/8'],
  ['10.1.', 'write 10.1.0.0/16'],
  ['192.0.2', 'write 192.0.2.0/24'],
  ['192.0.2.*', 'write 192.0.2.0/24'],
  ['10.*.*.*', 'write 10.0.0.0/8'],
  ['[::1]', 'write ::1 without brackets'],
  ['[::1]/128', 'write ::1/128 without brackets'],
  ['10.0.0.1-10.0.0.9', 'a range is written as networks with prefix lengths'],
  ['.example.org', 'write its addresses: names are not looked up'],
  ['!10.0.0.0/8', 'there are no exceptions in this list'],
  ['file:/etc/ecluse/networks', 'this list is not read from a file'],
  ['', undefined],
])('%j is no network (%s)', (text, hint) => {
  let caught: unknown
  try {
    parseNetwork(text)
  } catch (error) {
    caught = error
  }
  expect(caught).toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining('expected a network') })
  expect((caught as FilterError).hint).toBe(hint)
})

test('agrees with Node.js on what an address is', () => {
  const digits = ['0', '1', '10', '255', '256', '00', 'a', 'ffff', '10000', '', ':', '.', '::']
  let seed = 7
  const next = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((seed / 2_147_483_648) * below)
  }
  for (let i = 0; i < 3000; i++) {
    const separator = next(2) === 0 ? '.' : ':'
    const text = Array.from({ length: 1 + next(9) }, () => digits[next(digits.length)]).join(separator)
    expect([text, isIpAddress(text)]).toEqual([text, isIP(text) !== 0])
  }
})
