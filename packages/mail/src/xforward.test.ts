import { expect, test } from '@jest/globals'
import { applyXforward } from './xforward.ts'

const BEFORE = { name: 'before', address: '::2', port: 1, source: 'REMOTE' } as const

test.each<[string, object]>([
  ['NAME=a.example', { name: 'a.example' }],
  ['name=a  addr=192.0.2.1', { name: 'a', address: '192.0.2.1' }],
  ['ADDR=IPV6:2001:db8::1', { address: '2001:db8::1' }],
  ['ADDR=ipv6:::1', { address: '::1' }],
  ['ADDR=::1', { address: '::1' }],
  ['PORT=0 SOURCE=local', { port: 0, source: 'LOCAL' }],
  ['HELO=a+2Bb+3dc+20d', { helo: 'a+b=c d' }],
  ['HELO=j+C3+B6 IDENT=+F6', { helo: 'jö', queueId: '\udcf6' }],
  ['HELO=a=b IDENT=4Xyz', { helo: 'a=b', queueId: '4Xyz' }],
  ['HELO==a+3Db=+2B0d', { helo: '=a=b=+0d' }],
  ['PROTO=ESMTP IDENT=4Xyz', { protocol: 'ESMTP', queueId: '4Xyz' }],
  ['NAME=a NAME=b', { name: 'b' }],
  [`NAME=${'+61'.repeat(255)} HELO=${'b'.repeat(255)}`, { name: 'a'.repeat(255), helo: 'b'.repeat(255) }],
])('reads %s', (args, change) => {
  expect(applyXforward(BEFORE, args)).toEqual({ ...BEFORE, ...change })
})

test('takes away what becomes unavailable, in any case of letters', () => {
  expect(applyXforward(BEFORE, 'NAME=[UNAVAILABLE] PORT=[unavailable] SOURCE=[TempUnavail]')).toEqual({
    address: '::2',
  })
  expect(applyXforward(BEFORE, 'ADDR=+5BUNAVAILABLE+5D')).not.toHaveProperty('address')
})

test.each([
  ['as long as Postfix takes it', 'x'.repeat(1900)],
  ['of one character too many', 'x'.repeat(256)],
  ['of one character too many, escaped', '+61'.repeat(256)],
])('takes a HELO %s as unavailable, and the rest as it is', (_, helo) => {
  const args = `PROTO=ESMTP HELO=${helo} IDENT=4Xyz`
  expect(applyXforward({ ...BEFORE, helo: 'before' }, args)).toEqual({
    ...BEFORE,
    protocol: 'ESMTP',
    queueId: '4Xyz',
  })
})

test('leaves the client before as it was', () => {
  applyXforward(BEFORE, 'NAME=[UNAVAILABLE] ADDR=192.0.2.1')
  expect(BEFORE).toEqual({ name: 'before', address: '::2', port: 1, source: 'REMOTE' })
})

test.each([
  [''],
  ['NAME'],
  ['NAME='],
  ['=a'],
  ['LOGIN=a'],
  ['__proto__=a'],
  ['NAME=a b'],
  ['NAME=a LOGIN=b'],
  ['NAME=a+0D+0AX-Evil:+201'],
  ['NAME=a+00'],
  ['NAME=a+7F'],
  ['NAME=a+ZZ'],
  ['NAME=a+2'],
  ['NAME=a=b'],
  ['NAME=j\xf6'],
  [`NAME=${'a'.repeat(256)}`],
  [`NAME=${'+61'.repeat(256)}`],
  [`IDENT=${'a'.repeat(256)}`],
  ['HELO=a=b+0D+0AX-Evil:+201'],
  [`HELO=${'a'.repeat(256)}+00`],
  ['HELO=a=+ZZ'],
  ['HELO='],
  ['ADDR=a.example'],
  ['ADDR=IPv6:'],
  ['ADDR=192.0.2.256'],
  ['PORT=x'],
  ['PORT=65536'],
  ['PORT=-1'],
  ['SOURCE=MARS'],
])('refuses %j as a whole', (args) => {
  expect(applyXforward(BEFORE, args)).toBeUndefined()
})
