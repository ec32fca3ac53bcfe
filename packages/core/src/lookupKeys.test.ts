import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { lookupKeys } from './index.ts'
import { splitAddress } from './lookupKeys.ts'

// What make_query_keys of amavisd-new 2.13.0 gives for the address, unquoted by unquote_rfc2821_local, with
// recipient_delimiter: without its first key, the address as it is, where no later one equals it.
test.each([
  [
    'User+Foo@Sub.Example.COM',
    '+',
    'user+foo@sub.example.com | user@sub.example.com | user+foo@ | user@ | sub.example.com | .sub.example.com | .example.com | .com | .',
  ],
  [
    'User+Foo@Sub.Example.COM',
    '',
    'user+foo@sub.example.com | user+foo@ | sub.example.com | .sub.example.com | .example.com | .com | .',
  ],
  ['user@example.com', '+', 'user@example.com | user@ | example.com | .example.com | .com | .'],
  [
    'postmaster+x@example.com',
    '+',
    'postmaster+x@example.com | postmaster@example.com | postmaster+x@ | postmaster@ | example.com | .example.com | .com | .',
  ],
  [
    'MAILER-DAEMON+x@example.com',
    '+',
    'mailer-daemon+x@example.com | mailer-daemon@example.com | mailer-daemon+x@ | mailer-daemon@ | example.com | .example.com | .com | .',
  ],
  [
    'double-bounce-1@example.com',
    '-',
    'double-bounce-1@example.com | double@example.com | double-bounce-1@ | double@ | example.com | .example.com | .com | .',
  ],
  [
    'owner-list@example.com',
    '-',
    'owner-list@example.com | owner-list@ | example.com | .example.com | .com | .',
  ],
  [
    'list-request@example.com',
    '-',
    'list-request@example.com | list-request@ | example.com | .example.com | .com | .',
  ],
  [
    'owner-@example.com',
    '-',
    'owner-@example.com | owner@example.com | owner-@ | owner@ | example.com | .example.com | .com | .',
  ],
  ['-request@example.com', '-', '-request@example.com | -request@ | example.com | .example.com | .com | .'],
  [
    'a-b-c@example.com',
    '-',
    'a-b-c@example.com | a@example.com | a-b-c@ | a@ | example.com | .example.com | .com | .',
  ],
  [
    'owner-list+x@example.com',
    '+-',
    'owner-list+x@example.com | owner-list+x@ | example.com | .example.com | .com | .',
  ],
  [
    'a+b-c@example.com',
    '+-',
    'a+b-c@example.com | a@example.com | a+b-c@ | a@ | example.com | .example.com | .com | .',
  ],
  [
    'a-b+c@example.com',
    '+-',
    'a-b+c@example.com | a@example.com | a-b+c@ | a@ | example.com | .example.com | .com | .',
  ],
  ['+ext@example.com', '+', '+ext@example.com | +ext@ | example.com | .example.com | .com | .'],
  [
    '++x@example.com',
    '+',
    '++x@example.com | +@example.com | ++x@ | +@ | example.com | .example.com | .com | .',
  ],
  [
    'user+@example.com',
    '+',
    'user+@example.com | user@example.com | user+@ | user@ | example.com | .example.com | .com | .',
  ],
  [
    'u+a+b@example.com',
    '+',
    'u+a+b@example.com | u@example.com | u+a+b@ | u@ | example.com | .example.com | .com | .',
  ],
  ['user@example.com.', '+', 'user@example.com | user@ | example.com | .example.com | .com | .'],
  ['user@example.com...', '+', 'user@example.com | user@ | example.com | .example.com | .com | .'],
  ['user@[192.0.2.1]', '+', 'user@[192.0.2.1] | user@ | [192.0.2.1] | .'],
  ['user@[IPv6:2001:DB8::1]', '+', 'user@[ipv6:2001:db8::1] | user@ | [ipv6:2001:db8::1] | .'],
  ['user@[192.0.2.1', '+', 'user@[192.0.2.1 | user@ | [192.0.2.1 | .'],
  ['user@[192.0.2.1].x', '+', 'user@[192.0.2.1].x | user@ | [192.0.2.1].x | .'],
  ['a@b@Example.com', '+', 'a@b@example.com | a@b@ | example.com | .example.com | .com | .'],
  ['a b@example.com', '+', 'a b@example.com | a b@ | example.com | .example.com | .com | .'],
  ['"a@b"@Example.com', '+', 'a@b@example.com | a@b@ | example.com | .example.com | .com | .'],
  [
    '"A B+c"@example.com',
    '+',
    'a b+c@example.com | a b@example.com | a b+c@ | a b@ | example.com | .example.com | .com | .',
  ],
  ['a\\@b@example.com', '+', 'a@b@example.com | a@b@ | example.com | .example.com | .com | .'],
  ['user@example..com', '+', 'user@example..com | user@ | example..com | .example..com | ..com | .com | .'],
  ['user@.example.com', '+', 'user@.example.com | user@ | .example.com | ..example.com | .com | .'],
  ['user@com', '+', 'user@com | user@ | com | .com | .'],
  [
    'Jörg+X@Example.com',
    '+',
    'jörg+x@example.com | jörg@example.com | jörg+x@ | jörg@ | example.com | .example.com | .com | .',
  ],
  ['ÄB@example.com', '+', 'Äb@example.com | Äb@ | example.com | .example.com | .com | .'],
  [
    'user@Bücher.example',
    '+',
    'user@xn--bcher-kva.example | user@ | xn--bcher-kva.example | .xn--bcher-kva.example | .example | .',
  ],
  [
    'user@BÜCHER.Example',
    '+',
    'user@xn--bcher-kva.example | user@ | xn--bcher-kva.example | .xn--bcher-kva.example | .example | .',
  ],
  [
    'user@xn--BCHER-kva.example',
    '+',
    'user@xn--bcher-kva.example | user@ | xn--bcher-kva.example | .xn--bcher-kva.example | .example | .',
  ],
  [
    'user@faß.example',
    '+',
    'user@xn--fa-hia.example | user@ | xn--fa-hia.example | .xn--fa-hia.example | .example | .',
  ],
  [
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z',
    '+',
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | user@ | a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .l.m.n.o.p.q.r.s.t.u.v.w.x.y.z | .m.n.o.p.q.r.s.t.u.v.w.x.y.z | .n.o.p.q.r.s.t.u.v.w.x.y.z | .o.p.q.r.s.t.u.v.w.x.y.z | .p.q.r.s.t.u.v.w.x.y.z | .q.r.s.t.u.v.w.x.y.z | .r.s.t.u.v.w.x.y.z | .s.t.u.v.w.x.y.z | .t.u.v.w.x.y.z | .u.v.w.x.y.z | .v.w.x.y.z | .w.x.y.z | .x.y.z | .y.z | .z | .',
  ],
  [
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s',
    '+',
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | user@ | a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .e.f.g.h.i.j.k.l.m.n.o.p.q.r.s | .f.g.h.i.j.k.l.m.n.o.p.q.r.s | .g.h.i.j.k.l.m.n.o.p.q.r.s | .h.i.j.k.l.m.n.o.p.q.r.s | .i.j.k.l.m.n.o.p.q.r.s | .j.k.l.m.n.o.p.q.r.s | .k.l.m.n.o.p.q.r.s | .l.m.n.o.p.q.r.s | .m.n.o.p.q.r.s | .n.o.p.q.r.s | .o.p.q.r.s | .p.q.r.s | .q.r.s | .r.s | .s | .',
  ],
  [
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t',
    '+',
    'user@a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | user@ | a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .f.g.h.i.j.k.l.m.n.o.p.q.r.s.t | .g.h.i.j.k.l.m.n.o.p.q.r.s.t | .h.i.j.k.l.m.n.o.p.q.r.s.t | .i.j.k.l.m.n.o.p.q.r.s.t | .j.k.l.m.n.o.p.q.r.s.t | .k.l.m.n.o.p.q.r.s.t | .l.m.n.o.p.q.r.s.t | .m.n.o.p.q.r.s.t | .n.o.p.q.r.s.t | .o.p.q.r.s.t | .p.q.r.s.t | .q.r.s.t | .r.s.t | .s.t | .t | .',
  ],
  ['USER@EXAMPLE.COM', '+', 'user@example.com | user@ | example.com | .example.com | .com | .'],
  ['user@foo[bar', '+', 'user@foo[bar | user@ | foo[bar | .'],
  [
    'user+a]b@example.com',
    '+',
    'user+a]b@example.com | user@example.com | user+a]b@ | user@ | example.com | .example.com | .com | .',
  ],
  ['user@[x]@example.com', '+', 'user@[x]@example.com | user@[x]@ | example.com | .example.com | .com | .'],
  ['!user@example.com', '+', '!user@example.com | !user@ | example.com | .example.com | .com | .'],
  [
    '"A\\"B\\\\c+d"@example.com',
    '+',
    'a"b\\c+d@example.com | a"b\\c@example.com | a"b\\c+d@ | a"b\\c@ | example.com | .example.com | .com | .',
  ],
  [
    '"postmaster"@example.com',
    '+',
    'postmaster@example.com | postmaster@ | example.com | .example.com | .com | .',
  ],
  [
    'user@Ελλάδα.example',
    '+',
    'user@xn--hxakic4aa.example | user@ | xn--hxakic4aa.example | .xn--hxakic4aa.example | .example | .',
  ],
  [
    'a#b@example.com',
    '#',
    'a#b@example.com | a@example.com | a#b@ | a@ | example.com | .example.com | .com | .',
  ],
  [
    'a]b@example.com',
    ']',
    'a]b@example.com | a@example.com | a]b@ | a@ | example.com | .example.com | .com | .',
  ],
  [
    'a^b@example.com',
    '^',
    'a^b@example.com | a@example.com | a^b@ | a@ | example.com | .example.com | .com | .',
  ],
  ['USER@[IPv6:::1]', '+', 'user@[ipv6:::1] | user@ | [ipv6:::1] | .'],
  ['user@a_b.example', '+', 'user@a_b.example | user@ | a_b.example | .a_b.example | .example | .'],
  ['user@-a.example', '+', 'user@-a.example | user@ | -a.example | .-a.example | .example | .'],
  [
    'user@münchen.de',
    '-',
    'user@xn--mnchen-3ya.de | user@ | xn--mnchen-3ya.de | .xn--mnchen-3ya.de | .de | .',
  ],
  ['user@ｅxample.com', '+', 'user@example.com | user@ | example.com | .example.com | .com | .'],
  [
    'double-bounce@example.com',
    '-',
    'double-bounce@example.com | double-bounce@ | example.com | .example.com | .com | .',
  ],
  [
    'Mailer-Daemon@example.com',
    '-',
    'mailer-daemon@example.com | mailer-daemon@ | example.com | .example.com | .com | .',
  ],
])('%j with delimiter %j has the keys of amavisd: %s', (address, delimiter, keys) => {
  expect(lookupKeys(address, { delimiter })).toEqual({ address, keys: keys.split(' | ') })
})

test.each([
  ['', '<> | .', 'the null sender has its own key'],
  ['@', '.', 'an address of nothing is not the null sender'],
  ['user@<>', 'user@<> | user@ | .', 'nor is a domain that looks like it'],
  ['postmaster', 'postmaster@ | .', 'an address without a domain is not the null sender'],
  ['example.com', 'example.com@ | .', 'nor the domain that it looks like'],
  ['user+ext', 'user+ext@ | user@ | .', 'an address without a domain has extensions'],
  ['user@.', 'user@ | .', 'dots alone are no domain'],
  ['user@', 'user@ | .', 'nothing behind the @ is no domain'],
  ['user@[a@b]', 'user@[a@b] | user@[a@ | b] | .b] | .', 'the last @ counts in address literals'],
  [
    '"a@["@example.com',
    'a@[@example.com | a@[@ | example.com | .example.com | .com | .',
    'quotes hide no domain',
  ],
  ['"a@b"', 'a@b@ | .', 'a quoted @ begins no domain'],
  [
    '""@example.com',
    '@example.com | example.com | .example.com | .com | .',
    'an empty local part is no null sender',
  ],
  [
    'A@\udcc4B.example',
    'a@\udcc4b.example | a@ | \udcc4b.example | .\udcc4b.example | .example | .',
    'octets stay',
  ],
  ['a@１.２', 'a@１.２ | a@ | １.２ | .１.２ | .２ | .', 'what a browser takes for an IPv4 address stays'],
])('%j differs from amavisd: %s, as %s', (address, keys) => {
  expect(lookupKeys(address, { delimiter: '+' })).toEqual({ address, keys: keys.split(' | ') })
})

test('asks for the user in any domain only of local addresses', () => {
  expect(lookupKeys('User+X@Example.com', { delimiter: '+', local: false }).keys).toEqual([
    'user+x@example.com',
    'user@example.com',
    'example.com',
    '.example.com',
    '.com',
    '.',
  ])
})

const labels = (count: number): string => Array.from({ length: count }, (_, index) => `l${index}`).join('.')

test.each([
  [19, 'l0', 23],
  [20, 'l1', 23],
  [127, 'l108', 23],
  [2000, 'l1981', 23],
])('of a domain of %i labels the last 19 are asked, from %s on', (count, first, total) => {
  const { keys } = lookupKeys(`user@${labels(count)}`)
  expect(keys).toHaveLength(total)
  expect(keys[2]).toBe(labels(count))
  expect(keys[3]?.startsWith(`.${first}.`)).toBe(true)
  expect(keys.slice(-2)).toEqual([`.l${count - 1}`, '.'])
})

test('stays quick for addresses made to be slow', () => {
  for (const piece of ['@', '.', '"', '\\', '[', 'A', '+', 'é', '@[', '"@', '.é', '-request'])
    expect(lookupKeys(`x${piece.repeat(200_000)}@y`, { delimiter: '+-' }).keys.length).toBeLessThan(27)
})

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        'a',
        'B',
        '+',
        '-',
        '@',
        '.',
        '"',
        '\\',
        '[',
        ']',
        '<>',
        'é',
        'owner-',
        '-request',
        '\udc80',
      ),
    )
    .map((parts) => parts.join('')),
)

test('never throws, ends with everybody, names no key twice, and is bounded, whatever the address', () => {
  fc.assert(
    fc.property(hostile, fc.constantFrom('', '+', '+-'), fc.boolean(), (address, delimiter, local) => {
      const { keys } = lookupKeys(address, { delimiter, local })
      expect(keys.at(-1)).toBe('.')
      expect(new Set(keys).size).toBe(keys.length)
      expect(keys.length).toBeLessThanOrEqual(25)
      expect(keys.includes('<>')).toBe(address === '')
    }),
  )
})

test('has the same keys for every spelling of letters and final dots', () => {
  const label = fc.stringMatching(/^[A-Za-z0-9]{1,8}$/)
  const domains = fc.array(label, { minLength: 1, maxLength: 25 }).map((parts) => parts.join('.'))
  fc.assert(
    fc.property(label, domains, (user, domain) => {
      const { keys } = lookupKeys(`${user}@${domain}`)
      expect(lookupKeys(`"${user.toUpperCase()}"@${domain.toLowerCase()}.`).keys).toEqual(keys)
    }),
  )
})

test('makes keys that are their own form', () => {
  fc.assert(
    fc.property(hostile, (address) => {
      const { domain } = splitAddress(address)
      expect(splitAddress(`x@${domain}`).domain).toBe(domain)
    }),
  )
})
