import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parsePostgresUrl, type PostgresUrl } from './postgresUrl.ts'

const PLAIN: PostgresUrl = { host: '127.0.0.1', port: 5432, user: 'ecluse', database: 'mail' }

test.each<[string, PostgresUrl]>([
  ['postgres://ecluse@127.0.0.1/mail', PLAIN],
  ['postgresql://ecluse:@127.0.0.1:5432/mail', PLAIN],
  [
    'postgres://e%40c:p%2F%3A@db.example.org:7/m%20l',
    { host: 'db.example.org', port: 7, user: 'e@c', password: 'p/:', database: 'm l' },
  ],
  ['postgres://ecluse:a:b@[::1]/mail', { ...PLAIN, host: '::1', password: 'a:b' }],
  ['postgres://ecluse@/mail?host=/run/postgresql', { ...PLAIN, host: '/run/postgresql' }],
  ['postgres://ecluse@127.0.0.1/mail?sslmode=disable', PLAIN],
  ['postgres://ecluse@127.0.0.1/mail?sslmode=require', { ...PLAIN, tls: { verify: 'nothing' } }],
  ['postgres://ecluse@127.0.0.1/mail?sslmode=verify-ca', { ...PLAIN, tls: { verify: 'authority' } }],
  [
    'postgres://ecluse@127.0.0.1/mail?sslrootcert=/etc/ca.pem&sslmode=verify-full',
    { ...PLAIN, tls: { verify: 'authority and host', ca: '/etc/ca.pem' } },
  ],
])('reads %s', (url, expected) => {
  expect(parsePostgresUrl(url)).toEqual(expected)
})

const PARAMETERS = 'expected no other parameters'
const SHAPE = 'expected a URL such as'

test.each([
  ['mysql://a@b/c', SHAPE],
  ['postgres://127.0.0.1/mail', SHAPE],
  ['postgres://ecluse@127.0.0.1', SHAPE],
  ['postgres://ecluse@127.0.0.1/', SHAPE],
  ['postgres://ecluse@127.0.0.1/a/b', SHAPE],
  ['postgres://ecluse@127.0.0.1:0/mail', SHAPE],
  ['postgres://ecluse@127.0.0.1:70000/mail', SHAPE],
  ['postgres://ecluse@a,b/mail', SHAPE],
  ['postgres://ecluse@/mail', SHAPE],
  ['postgres://ecluse:%zz@h/mail', SHAPE],
  ['postgres://ecluse:a%00b@h/mail', SHAPE],
  ['postgres://ecluse@h/mail#x', SHAPE],
  ['postgres://ecluse@h/mail?sslcert=/etc/passwd', PARAMETERS],
  ['postgres://ecluse@h/mail?sslkey=/etc/passwd', PARAMETERS],
  ['postgres://ecluse@h/mail?options=-cfsync%3Doff', PARAMETERS],
  ['postgres://ecluse@h/mail?sslmode=require&sslmode=disable', PARAMETERS],
  ['postgres://ecluse@h/mail?sslmode', PARAMETERS],
  ['postgres://ecluse@h/mail?ssl=no-verify', PARAMETERS],
  ['postgres://ecluse@h/mail?sslmode=prefer', 'expected sslmode='],
  ['postgres://ecluse@h/mail?sslmode=', 'expected sslmode='],
  ['postgres://ecluse@h/mail?sslrootcert=/ca', 'expected sslrootcert='],
  ['postgres://ecluse@h/mail?sslmode=require&sslrootcert=/ca', 'expected sslrootcert='],
  ['postgres://ecluse@h/mail?sslmode=verify-ca&sslrootcert=ca', 'expected sslrootcert='],
  ['postgres://ecluse@h/mail?host=/run', 'expected host='],
  ['postgres://ecluse@/mail?host=h', 'expected host='],
  ['postgres://ecluse@/mail?host=/run&sslmode=verify-full', 'expected host='],
])('is none for us: %s', (url, expected) => {
  expect(parsePostgresUrl(url)).toEqual(expect.stringContaining(expected))
})

test('never throws, and never says what stands in it', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, after) => {
      const read = parsePostgresUrl(`postgres://u:${before}secret@h/${after}`)
      expect(typeof read === 'string' && read.includes('secret')).toBe(false)
    }),
  )
})
