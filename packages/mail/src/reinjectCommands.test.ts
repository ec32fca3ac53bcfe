import { expect, test } from '@jest/globals'
import type { Client, Envelope } from '@ecluse/core'
import { mailCommand, rcptCommand, readExtensions, xforwardCommands } from './reinjectCommands.ts'

const ALL = readExtensions(
  '250-mx\n250-PIPELINING\n250-SIZE 10\n250-8BITMIME\n250-SMTPUTF8\n250-DSN\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE',
)
const NONE = readExtensions('250 mx')
const ENVELOPE: Envelope = {
  protocol: 'lmtp',
  mailFrom: 'a@x.example',
  recipients: [],
  smtpUtf8: false,
  client: {},
  peer: { helo: 'mx' },
  listener: '127.0.0.1:10024',
}

test('reads keywords as whole words, in any case, and none out of the greeting', () => {
  const extensions = readExtensions(
    '250-DSN SMTPUTF8 host\n250-pipelining\n250-XDSN\n250-SIZE\n250 xforward NAME FOO helo',
  )
  expect(extensions).toEqual({
    lines: ['pipelining', 'XDSN', 'SIZE', 'xforward NAME FOO helo'],
    pipelining: true,
    size: true,
    eightBitMime: false,
    smtpUtf8: false,
    dsn: false,
    xforward: ['NAME', 'HELO'],
  })
})

test('names every attribute that is offered, unknown ones as unavailable', () => {
  const client: Client = {
    name: 'mx+1=.example',
    address: '2001:db8::1',
    port: 25,
    helo: 'a b',
    source: 'REMOTE',
  }
  expect(xforwardCommands(client, ALL.xforward)).toEqual([
    'XFORWARD NAME=mx+2B1+3D.example ADDR=IPV6:2001:db8::1 PORT=25 PROTO=[UNAVAILABLE] HELO=a+20b IDENT=[UNAVAILABLE] SOURCE=REMOTE',
  ])
  expect(xforwardCommands({}, ['ADDR'])).toEqual(['XFORWARD ADDR=[UNAVAILABLE]'])
  expect(xforwardCommands({ address: '192.0.2.1' }, ['ADDR'])).toEqual(['XFORWARD ADDR=192.0.2.1'])
  expect(xforwardCommands(client, [])).toEqual([])
})

test('keeps every XFORWARD command within 512 octets and every value within 255', () => {
  const client: Client = {
    name: 'n'.repeat(255),
    helo: '\r\n\0'.repeat(52),
    queueId: 'q'.repeat(256),
    protocol: '\u00e9'.repeat(120),
  }
  const commands = xforwardCommands(client, ALL.xforward)
  for (const command of commands) {
    expect(command.length + 2).toBeLessThanOrEqual(512)
    expect(command).toMatch(/^XFORWARD(?: [A-Z]+=[\x21-\x7e]+)+$/)
  }
  const joined = commands.join('')
  expect(joined.match(/[A-Z]+=/g)).toHaveLength(7)
  expect(joined).toContain('IDENT=[UNAVAILABLE]')
  expect(joined).toContain(`HELO=${'+0D+0A+00'.repeat(52)}`)
  expect(joined).toContain('PROTO=[UNAVAILABLE]')
})

const ADDRESSES = [
  'user@example.org',
  'User@Example.ORG',
  '"a b"@x.example',
  '"a@b"@x.example',
  '"<"@x.example',
  '">"@x.example',
  '" "@x.example',
  '""@x.example',
  '"a\\"b"@x.example',
  '"a\\\\b"@x.example',
  '"a,b"@x.example',
  '"a;b"@x.example',
  ' lead@x.example',
  'trail@x.example ',
  'root',
  'postmaster',
  'user..dots@docomo.ne.jp',
  'user.@docomo.ne.jp',
  '.user@x.example',
  'a@x_y.org',
  'a@x.org.',
  'a@[192.0.2.1]',
  'a@[IPv6:2001:db8::1]',
  'a@xn--mnchen-3ya.de',
  'a@m\u00fcnchen.de',
  '\u00fcser@example.org',
  '\u7528\u6237@\u4f8b\u3048.jp',
  '\u{1f600}@x.example',
  'a+tag@x.example',
  'a=b@x.example',
  'a%b@x.example',
  'a!b@x.example',
  "o'brien@x.example",
  'a/b@x.example',
  'a?b@x.example',
  'a#b@x.example',
  'a$b@x.example',
  'a&b@x.example',
  'a*b@x.example',
  'a{b}@x.example',
  'a|b@x.example',
  'a~b@x.example',
  'a`b@x.example',
  'a^b@x.example',
  'a_b@x.example',
  '-a@x.example',
  '_@x.example',
  '0@x.example',
  'a:b@x.example',
  'a;b@x.example',
  'a,b@x.example',
  '@a,@b:c@x.example',
  'a@b@x.example',
  'a\\b@x.example',
  'a(b)@x.example',
  `${'l'.repeat(64)}@${'d'.repeat(63)}.${'e'.repeat(63)}.${'f'.repeat(60)}`,
  'SIZE=1@x.example',
  '"> SIZE=1"@x.example',
  '\t@x.example',
  '\x7f@x.example',
  '__proto__@x.example',
  'toString@x.example',
]

test.each(ADDRESSES)('writes %j byte for byte', (address) => {
  const bytes = Buffer.from(address).toString('latin1')
  expect(rcptCommand({ address }, NONE)).toBe(`RCPT TO:<${bytes}>`)
  expect(mailCommand({ ...ENVELOPE, mailFrom: address }, 1, NONE)).toBe(`MAIL FROM:<${bytes}>`)
})

test('writes a byte that was not UTF-8 as it came', () => {
  expect(rcptCommand({ address: 'caf\udce9\u00e9@x' }, NONE)).toBe('RCPT TO:<caf\xe9\xc3\xa9@x>')
})

test.each(['a\r\nDATA@x', 'a\n@x', 'a\r@x', 'a\0@x', '\udc8d\udc8a@x\n'])('refuses %j', (address) => {
  expect(() => rcptCommand({ address }, ALL)).toThrow(
    expect.objectContaining({ code: 'E_REINJECT_PROTOCOL' }),
  )
  expect(() => mailCommand({ ...ENVELOPE, mailFrom: address }, 1, ALL)).toThrow('CR, LF or NUL')
})

test('gives the parameters that are offered, and no others', () => {
  const envelope: Envelope = { ...ENVELOPE, smtpUtf8: true, body: '8BITMIME', ret: 'HDRS', envid: 'QQ+2B1' }
  expect(mailCommand(envelope, 42, ALL)).toBe(
    'MAIL FROM:<a@x.example> SIZE=42 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1',
  )
  expect(mailCommand(envelope, 42, NONE)).toBe('MAIL FROM:<a@x.example>')
  expect(mailCommand({ ...ENVELOPE, mailFrom: '' }, 42, ALL)).toBe('MAIL FROM:<> SIZE=42')
  const recipient = { address: 'b@y', notify: ['SUCCESS', 'DELAY'], orcpt: 'rfc822;b+2Bc@y' } as const
  expect(rcptCommand(recipient, ALL)).toBe('RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@y')
  expect(rcptCommand(recipient, NONE)).toBe('RCPT TO:<b@y>')
})

test.each([
  ['rfc822;a\r\nDATA', 'rfc822;a+0D+0ADATA'],
  ['rfc822;a b\0', 'rfc822;a+20b+00'],
  ['utf-8;\u00fc@x', 'utf-8;\xc3\xbc@x'],
  ['utf-8;\\x{FC}@x', 'utf-8;\\x{FC}@x'],
])('never lets %j end the command', (orcpt, expected) => {
  expect(rcptCommand({ address: 'b@y', orcpt }, ALL)).toBe(`RCPT TO:<b@y> ORCPT=${expected}`)
  expect(mailCommand({ ...ENVELOPE, envid: orcpt }, 1, ALL)).toBe(
    `MAIL FROM:<a@x.example> SIZE=1 ENVID=${expected}`,
  )
})
