import { isIP, isIPv6 } from 'node:net'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ProxyHeaderReader, V2_PAYLOAD_OCTETS, type ProxyReading } from './proxyHeader.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

/** Hexadecimal digits, with spaces where they help. */
const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex')
const v2 = (rest: string): Buffer => hex(SIGNATURE + rest)
const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, 'latin1')

/** Reads the pieces until there is a result. */
function readAll(pieces: readonly Buffer[]): ProxyReading {
  const reader = new ProxyHeaderReader()
  for (const [index, piece] of pieces.entries()) {
    const reading = reader.read(piece)
    if (reading === 'incomplete') continue
    if (reading === 'malformed') return reading
    return { ...reading, rest: Buffer.concat([reading.rest, ...pieces.slice(index + 1)]) }
  }
  return 'incomplete'
}

const octetByOctet = (bytes: Buffer): Buffer[] => [...bytes].map((octet) => Buffer.from([octet]))

const NOBODY = {}
const TCP4 = 'c0000201 c6336402 b4f2 2728'
const TCP6 = `20010db8000000000000000000000001 20010db8000000000000000000000002 b4f2 2728`

const GOOD: readonly [string, Buffer, object][] = [
  ['v1 IPv4', line('PROXY TCP4 192.0.2.1 198.51.100.2 46322 10024'), { address: '192.0.2.1', port: 46_322 }],
  [
    'v1 IPv6',
    line('PROXY TCP6 2001:db8::1 2001:db8::2 46322 10024'),
    { address: '2001:db8::1', port: 46_322 },
  ],
  [
    'v1 IPv6 in another form',
    line('PROXY TCP6 2001:DB8:0:0::1 ::2 1 2'),
    { address: '2001:db8::1', port: 1 },
  ],
  [
    'v1, the longest addresses',
    line(`PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535`),
    { address: `${'ffff:'.repeat(7)}ffff`, port: 65_535 },
  ],
  ['v1, port 0', line('PROXY TCP4 0.0.0.0 255.255.255.255 0 0'), { address: '0.0.0.0', port: 0 }],
  ['v1 UNKNOWN', line('PROXY UNKNOWN'), NOBODY],
  ['v1 UNKNOWN with addresses', line('PROXY UNKNOWN ffff::1 \x00\x1b[31m x y'), NOBODY],
  ['v1 UNKNOWN of 107 octets', line(`PROXY UNKNOWN ${'x'.repeat(91)}`), NOBODY],
  ['v2 IPv4', v2(`21 11 000c ${TCP4}`), { address: '192.0.2.1', port: 46_322 }],
  ['v2 IPv6', v2(`21 21 0024 ${TCP6}`), { address: '2001:db8::1', port: 46_322 }],
  [
    'v2 IPv4 in IPv6',
    v2(`21 21 0024 ${'0'.repeat(20)}ffffc0000201${TCP6.slice(33)}`),
    { address: '::ffff:192.0.2.1', port: 46_322 },
  ],
  ['v2 IPv4 with TLVs', v2(`21 11 0013 ${TCP4} 04 0004 00000000`), { address: '192.0.2.1', port: 46_322 }],
  [
    'v2 with as many TLVs as we skip',
    v2(`21 11 1000 ${TCP4} ${'00'.repeat(V2_PAYLOAD_OCTETS - 12)}`),
    { address: '192.0.2.1', port: 46_322 },
  ],
  ['v2 over a Unix socket', v2(`21 31 00d8 ${'2f'.repeat(216)}`), NOBODY],
  ['v2 of an unknown family', v2('21 00 0000'), NOBODY],
  ['v2 of an unknown family with TLVs', v2('21 00 0003 ffffff'), NOBODY],
  ['v2 LOCAL', v2('20 00 0000'), NOBODY],
  ['v2 LOCAL with an address', v2(`20 11 000c ${TCP4}`), NOBODY],
  ['v2 LOCAL of a family that is none', v2('20 ff 0002 ffff'), NOBODY],
]

describe.each(GOOD)('%s', (_, bytes, source) => {
  const header = source === NOBODY ? {} : { source }
  const smtp = Buffer.from('LHLO a\r\nPROXY \n\0')

  test('is read, and what is behind it is left', () => {
    expect(readAll([Buffer.concat([bytes, smtp])])).toEqual({ header, rest: smtp })
  })

  test('is read octet by octet', () => {
    expect(readAll(octetByOctet(Buffer.concat([bytes, smtp])))).toEqual({ header, rest: smtp })
  })

  test('is incomplete without its last octet', () => {
    expect(readAll([bytes.subarray(0, -1)])).toBe('incomplete')
    expect(readAll(octetByOctet(bytes.subarray(0, -1)))).toBe('incomplete')
  })
})

test.each<[string, Buffer]>([
  ['SMTP', Buffer.from('L')],
  ['TLS', hex('16 03 01')],
  ['NUL', hex('00')],
  ['lower case', Buffer.from('proxy')],
  ['another word', Buffer.from('PROXX')],
  ['PROXY alone', line('PROXY')],
  ['no family', line('PROXY ')],
  ['another family', line('PROXY UDP4 192.0.2.1 192.0.2.2 1 2')],
  ['a family in lower case', line('PROXY tcp4 192.0.2.1 192.0.2.2 1 2')],
  ['UNKNOWN with a tail', line('PROXY UNKNOWNS')],
  ['no addresses', line('PROXY TCP4')],
  ['no ports', line('PROXY TCP4 192.0.2.1 192.0.2.2')],
  ['one port', line('PROXY TCP4 192.0.2.1 192.0.2.2 1')],
  ['three ports', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3')],
  ['two blanks', line('PROXY TCP4  192.0.2.1 192.0.2.2 1 2')],
  ['a blank at the end', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ')],
  ['a tab', line('PROXY TCP4\t192.0.2.1 192.0.2.2 1 2')],
  ['IPv6 as TCP4', line('PROXY TCP4 ::1 ::2 1 2')],
  ['IPv4 as TCP6', line('PROXY TCP6 192.0.2.1 192.0.2.2 1 2')],
  ['IPv4 of five', line('PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2')],
  ['an octal address', line('PROXY TCP4 0300.0.2.1 192.0.2.2 1 2')],
  ['an octet of 256', line('PROXY TCP4 192.0.2.256 192.0.2.2 1 2')],
  ['a bad destination', line('PROXY TCP4 192.0.2.1 x 1 2')],
  ['a zone', line('PROXY TCP6 fe80::1%eth0 ::2 1 2')],
  ['a name', line('PROXY TCP4 a.example 192.0.2.2 1 2')],
  ['a port of 65536', line('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2')],
  ['a target port of 65536', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 65536')],
  ['a port with a zero in front', line('PROXY TCP4 192.0.2.1 192.0.2.2 01 2')],
  ['a negative port', line('PROXY TCP4 192.0.2.1 192.0.2.2 -1 2')],
  ['a port in hexadecimal', line('PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2')],
  ['a line feed alone', Buffer.from('PROXY UNKNOWN\n')],
  ['a CR in the midst', Buffer.from('PROXY UNKNOWN \rx\r\n')],
  ['108 octets', line(`PROXY UNKNOWN ${'x'.repeat(92)}`)],
  ['107 octets without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(93)}`)],
  ['half a signature', hex('0d0a0d0b')],
  ['a signature with another end', hex('0d0a0d0a000d0a515549540d')],
  ['version 1 in binary', v2(`11 11 000c ${TCP4}`)],
  ['version 3', v2(`31 11 000c ${TCP4}`)],
  ['a command that is none', v2(`22 11 000c ${TCP4}`)],
  ['UDP over IPv4', v2(`21 12 000c ${TCP4}`)],
  ['UDP over IPv6', v2(`21 22 0024 ${TCP6}`)],
  ['datagrams on a Unix socket', v2(`21 32 00d8 ${'2f'.repeat(216)}`)],
  ['a family that is none', v2(`21 41 000c ${TCP4}`)],
  ['a transport without a family', v2('21 01 0000')],
  ['IPv4 that is too short', v2(`21 11 000b ${TCP4}`)],
  ['IPv6 that is too short', v2(`21 21 0023 ${TCP6}`)],
  ['a Unix socket that is too short', v2(`21 31 00d7 ${'2f'.repeat(216)}`)],
  ['one octet of TLVs more than we skip', v2(`21 11 1001 ${TCP4}`)],
  ['the longest that can be written, also as LOCAL', v2('20 00 ffff')],
])('%s is malformed, in one piece and octet by octet', (_, bytes) => {
  expect(readAll([bytes])).toBe('malformed')
  expect(readAll(octetByOctet(bytes))).toBe('malformed')
})

test('a piece of nothing changes nothing', () => {
  expect(readAll([Buffer.alloc(0), line('PROXY UNKNOWN'), Buffer.alloc(0)])).toMatchObject({ header: {} })
})

/** Bytes that begin as headers do, with some of them changed. */
const nearlyHeaders = fc
  .tuple(
    fc.constantFrom(...GOOD.map(([, bytes]) => bytes)),
    fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 2 }),
    fc.uint8Array({ maxLength: 20 }),
  )
  .map(([bytes, changes, tail]) => {
    const changed = Buffer.from(bytes)
    for (const [at, octet] of changes) if (at < changed.length) changed[at] = octet
    return Buffer.concat([changed, tail])
  })
const anyBytes = fc.oneof(
  nearlyHeaders,
  fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets)),
)

test('the cuts between the pieces do not matter, and no octet is lost', () => {
  fc.assert(
    fc.property(anyBytes, fc.array(fc.nat(300), { maxLength: 8 }), (bytes, cuts) => {
      const ends = [...cuts.filter((cut) => cut <= bytes.length), bytes.length].toSorted((a, b) => a - b)
      const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
      expect(readAll(pieces)).toEqual(readAll([bytes]))
      expect(readAll(octetByOctet(bytes))).toEqual(readAll([bytes]))
    }),
  )
})

test('an address that is told is an address, and what is left was at the end', () => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const reading = readAll([bytes])
      if (typeof reading === 'string') return
      const { header, rest } = reading
      expect(bytes.subarray(bytes.length - rest.length)).toEqual(rest)
      if (!header.source) return
      expect(isIP(header.source.address)).not.toBe(0)
      expect(header.source.port).toBeLessThan(65_536)
    }),
  )
})

test('both versions tell the same of the same client', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (address, port) => {
      const six = isIPv6(address)
      const first = readAll([
        line(`PROXY TCP${six ? 6 : 4} ${address} ${six ? '::1' : '127.0.0.1'} ${port} 25`),
      ])
      const end = `${port.toString(16).padStart(4, '0')}0019`
      const second = readAll([
        six
          ? v2(`21210024${octetsOf(address)}${'00'.repeat(16)}${end}`)
          : v2(`2111000c${octetsOf(address)}7f000001${end}`),
      ])
      expect(second).toEqual(first)
      expect(first).toMatchObject({ header: { source: { port } } })
    }),
  )
})

/** In hexadecimal. */
function octetsOf(address: string): string {
  if (!isIPv6(address)) return address.split('.').map(byteHex).join('')
  const [tail = ''] = /[\d.]+$/.exec(address) ?? []
  const groups = tail.includes('.')
    ? address.slice(0, -tail.length) + octetsOf(tail).replace(/(....)(....)/, '$1:$2')
    : address
  const [before = [], after = []] = groups
    .split('::')
    .map((half) => half.split(':').filter((group) => group !== ''))
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join('')
}

function byteHex(octet: string): string {
  return Number(octet).toString(16).padStart(2, '0')
}
