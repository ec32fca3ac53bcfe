import { isIP, SocketAddress } from 'node:net'

/**
 * Who is behind a connection, as a header of the PROXY protocol (haproxy.org, "The PROXY protocol", versions 1 and 2)
 * tells it. Empty: the sender speaks for itself, as in health checks (LOCAL), or does not know (UNKNOWN, AF_UNSPEC, a
 * Unix socket): the addresses of the connection itself count.
 */
export interface ProxyHeader {
  readonly source?: {
    /** IPv4, or IPv6 in its canonical form (RFC 5952). */
    readonly address: string
    readonly port: number
  }
}

/** Section 2.1: the longest line of version 1, CRLF included. */
const V1_OCTETS = 107
/** Section 2.2: it can be no line of SMTP, HTTP or TLS. */
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
/** Signature, version and command, family and transport, length. */
const V2_FIXED_OCTETS = 16
/**
 * Most that may follow of version 2. Addresses take up to 216 octets; the rest is TLVs about TLS, names and checksums,
 * which we skip. The length field would allow 65,535; the largest that senders write are some hundreds.
 */
export const V2_PAYLOAD_OCTETS = 4096
/** What is kept of a header: all of version 1; of version 2 what is in front of the TLVs. */
const KEPT_OCTETS = V1_OCTETS

const V1_START = Buffer.from('PROXY ', 'latin1')
const LF = 0x0a
/** A port has no sign and no leading zero. */
const PORT = '(0|[1-9]\\d{0,4})'
const V1_LINE = new RegExp(`^PROXY (TCP4|TCP6) ([\\da-fA-F:.]+) ([\\da-fA-F:.]+) ${PORT} ${PORT}\\r\\n$`)
const V1_UNKNOWN = /^PROXY UNKNOWN(?: [^\r\n]*)?\r\n$/

/** What has become of a header: it is there, with the bytes behind it; it is none; or more has to come. */
export type ProxyReading =
  | { readonly header: ProxyHeader; readonly rest: Buffer }
  | 'malformed'
  | 'incomplete'

/** Reads one header from the pieces in which it comes. However they are cut, the result is the same. */
export class ProxyHeaderReader {
  readonly #kept = Buffer.alloc(KEPT_OCTETS)
  /** Octets of the header so far, those that are skipped included. */
  #octets = 0

  /** Takes the next piece; not to be called again once the result is another than `incomplete`. */
  read(chunk: Buffer): ProxyReading {
    const before = this.#octets
    chunk.copy(this.#kept, Math.min(before, KEPT_OCTETS))
    this.#octets += chunk.length
    const known = this.#kept.subarray(0, Math.min(this.#octets, KEPT_OCTETS))
    if (known.length === 0) return 'incomplete'
    const length = startsAs(known, V1_START) ? lengthOfV1(known) : lengthOfV2(known)
    if (typeof length === 'string') return length
    if (this.#octets < length) return 'incomplete'
    const header = known[0] === V1_START[0] ? parseV1(known.toString('latin1', 0, length)) : parseV2(known)
    return header ? { header, rest: chunk.subarray(length - before) } : 'malformed'
  }
}

/** Whether the bytes, of which some may have to come, begin as the pattern. */
function startsAs(known: Buffer, pattern: Buffer): boolean {
  const length = Math.min(known.length, pattern.length)
  return known.compare(pattern, 0, length, 0, length) === 0
}

function lengthOfV1(known: Buffer): number | 'malformed' | 'incomplete' {
  const end = known.indexOf(LF)
  if (end >= 0) return end + 1
  return known.length >= V1_OCTETS ? 'malformed' : 'incomplete'
}

function lengthOfV2(known: Buffer): number | 'malformed' | 'incomplete' {
  if (!startsAs(known, V2_SIGNATURE)) return 'malformed'
  if (known.length < V2_FIXED_OCTETS) return 'incomplete'
  const payload = known.readUInt16BE(14)
  return payload > V2_PAYLOAD_OCTETS ? 'malformed' : V2_FIXED_OCTETS + payload
}

/** A whole line, CRLF included. Absent: it is none. */
function parseV1(line: string): ProxyHeader | undefined {
  if (V1_UNKNOWN.test(line)) return {}
  const [, family, source = '', target = '', ...ports] = V1_LINE.exec(line) ?? []
  const version = family === 'TCP6' ? 6 : 4
  const [port = 0, targetPort = 0] = ports.map(Number)
  const valid = isIP(source) === version && isIP(target) === version && port <= 65_535 && targetPort <= 65_535
  return family !== undefined && valid ? { source: { address: canonical(source, version), port } } : undefined
}

/** Octets of both addresses and ports, by the octet for family and transport (section 2.2). */
const TCP4 = { code: 0x11, octets: 12 }
const TCP6 = { code: 0x21, octets: 36 }
const UNIX_STREAM = { code: 0x31, octets: 216 }
/** Also what a sender writes whose client speaks something else. */
const UNSPECIFIED = { code: 0x00, octets: 0 }
const VERSION_2_LOCAL = 0x20
const VERSION_2_PROXY = 0x21

/** @param bytes all that is in front of the TLVs, perhaps more. Absent: it is no header, or not one of a TCP stream. */
function parseV2(bytes: Buffer): ProxyHeader | undefined {
  const [command, code, payload] = [bytes[12], bytes[13], bytes.readUInt16BE(14)]
  // The family of LOCAL is to be ignored, and so is what follows.
  if (command === VERSION_2_LOCAL) return {}
  if (command !== VERSION_2_PROXY) return undefined
  const family = [TCP4, TCP6, UNIX_STREAM, UNSPECIFIED].find((candidate) => candidate.code === code)
  if (!family || payload < family.octets) return undefined
  if (family === TCP4) {
    const address = [...bytes.subarray(16, 20)].join('.')
    return { source: { address, port: bytes.readUInt16BE(24) } }
  }
  if (family !== TCP6) return {}
  const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((at) => bytes.readUInt16BE(16 + at).toString(16))
  return { source: { address: canonical(groups.join(':'), 6), port: bytes.readUInt16BE(48) } }
}

/** One form for each address: who is told in two ways must not have two shares of our connections. */
function canonical(address: string, version: 4 | 6): string {
  return version === 4 ? address : new SocketAddress({ address, family: 'ipv6' }).address
}
