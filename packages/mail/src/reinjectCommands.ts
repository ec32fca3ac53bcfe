import { isIPv6 } from 'node:net'
import { FilterError, type Client, type Envelope, type Recipient } from '@ecluse/core'
import { encodePath } from './path.ts'

/** What the next hop offered in its EHLO or LHLO reply. */
export interface Extensions {
  /** The lines of the reply as offered, without the greeting: `SIZE 10240000`. Printable, bounded by the reply. */
  readonly lines: readonly string[]
  readonly pipelining: boolean
  readonly size: boolean
  readonly eightBitMime: boolean
  readonly smtpUtf8: boolean
  readonly dsn: boolean
  /** Attributes that we know among those offered, in the order offered; empty: XFORWARD is not offered. */
  readonly xforward: readonly XforwardAttribute[]
}

const XFORWARD_ATTRIBUTES = ['NAME', 'ADDR', 'PORT', 'PROTO', 'HELO', 'IDENT', 'SOURCE'] as const
type XforwardAttribute = (typeof XFORWARD_ATTRIBUTES)[number]

/** Postfix XFORWARD_README: a command has at most 512 octets with its CRLF, a value at most 255. */
const MAX_XFORWARD_OCTETS = 512
const MAX_XFORWARD_VALUE = 255
const UNAVAILABLE = '[UNAVAILABLE]'

/** Reads an EHLO or LHLO reply, lines separated by LF. Keywords are told apart by whole words, case ignored. */
export function readExtensions(reply: string): Extensions {
  const lines = reply
    .split('\n')
    .slice(1)
    .map((line) => line.slice(4).trim())
  const words = new Map(lines.map((line) => [line.split(/[ \t]/, 1)[0]?.toUpperCase(), line]))
  const offered = (words.get('XFORWARD') ?? '').toUpperCase().split(/[ \t]+/)
  return {
    lines,
    pipelining: words.has('PIPELINING'),
    size: words.has('SIZE'),
    eightBitMime: words.has('8BITMIME'),
    smtpUtf8: words.has('SMTPUTF8'),
    dsn: words.has('DSN'),
    xforward: XFORWARD_ATTRIBUTES.filter((name) => offered.includes(name)),
  }
}

/**
 * The XFORWARD commands for a client, as many as 512 octets for each need; empty where it is not offered. Every
 * attribute that is offered is named, an unknown one as [UNAVAILABLE], so that nothing of an earlier message on the
 * same connection survives. Without CRLF, bytes as latin1.
 */
export function xforwardCommands(client: Client, offered: readonly XforwardAttribute[]): string[] {
  const commands: string[] = []
  let command = ''
  for (const name of offered) {
    const attribute = ` ${name}=${xforwardValue(client, name)}`
    if (command !== '' && command.length + attribute.length + 2 > MAX_XFORWARD_OCTETS) {
      commands.push(command)
      command = ''
    }
    command = (command === '' ? 'XFORWARD' : command) + attribute
  }
  if (command !== '') commands.push(command)
  return commands
}

function xforwardValue(client: Client, name: XforwardAttribute): string {
  const value = clientValue(client, name)
  if (value === undefined || value === '') return UNAVAILABLE
  const octets = encodePath(value)
  if (octets.length > MAX_XFORWARD_VALUE) return UNAVAILABLE
  const encoded = xtext(octets)
  return `XFORWARD ${name}=${encoded}\r\n`.length > MAX_XFORWARD_OCTETS ? UNAVAILABLE : encoded
}

function clientValue(client: Client, name: XforwardAttribute): string | undefined {
  switch (name) {
    case 'NAME':
      return client.name
    case 'ADDR':
      return client.address !== undefined && isIPv6(client.address)
        ? `IPV6:${client.address}`
        : client.address
    case 'PORT':
      return client.port?.toString()
    case 'PROTO':
      return client.protocol
    case 'HELO':
      return client.helo
    case 'IDENT':
      return client.queueId
    case 'SOURCE':
      return client.source
  }
}

/**
 * MAIL FROM with the parameters that are offered. BODY is left out where 8BITMIME is not offered, and the message
 * goes out all the same: only the final MTA could convert it, and every MTA that we know is 8-bit clean. Without
 * CRLF, bytes as latin1.
 *
 * @throws FilterError E_REINJECT_PROTOCOL for an address that would end the command early.
 */
export function mailCommand(envelope: Envelope, sizeBytes: number, extensions: Extensions): string {
  let command = `MAIL FROM:<${pathOctets(envelope.mailFrom)}>`
  if (extensions.size) command += ` SIZE=${sizeBytes}`
  if (extensions.eightBitMime && envelope.body !== undefined) command += ` BODY=${envelope.body}`
  if (extensions.smtpUtf8 && envelope.smtpUtf8) command += ' SMTPUTF8'
  if (extensions.dsn) {
    if (envelope.ret !== undefined) command += ` RET=${envelope.ret}`
    if (envelope.envid !== undefined) command += ` ENVID=${parameterOctets(envelope.envid)}`
  }
  return command
}

/**
 * RCPT TO with the DSN parameters of this very recipient (RFC 3461 section 4), where DSN is offered. Without CRLF,
 * bytes as latin1.
 *
 * @throws FilterError E_REINJECT_PROTOCOL for an address that would end the command early.
 */
export function rcptCommand({ address, notify, orcpt }: Recipient, extensions: Extensions): string {
  let command = `RCPT TO:<${pathOctets(address)}>`
  if (extensions.dsn) {
    if (notify !== undefined && notify.length > 0) command += ` NOTIFY=${notify.join(',')}`
    if (orcpt !== undefined) command += ` ORCPT=${parameterOctets(orcpt)}`
  }
  return command
}

const ASCII = /^[\0-\x7f]*$/ // oxlint-disable-line no-control-regex -- all of ASCII is meant

/** True when the address can only be written with SMTPUTF8 (RFC 6531). */
export function isInternational(address: string): boolean {
  return !ASCII.test(address)
}

function pathOctets(address: string): string {
  // oxlint-disable-next-line no-control-regex -- finding them is the purpose
  if (/[\r\n\0]/.test(address)) {
    throw new FilterError('E_REINJECT_PROTOCOL', `${JSON.stringify(address)}: address with CR, LF or NUL`)
  }
  return encodePath(address)
}

/** Xtext as received; what cannot stand in a parameter is encoded. UTF-8 of RFC 6533 `utf-8;` stays. */
function parameterOctets(value: string): string {
  // oxlint-disable-next-line no-control-regex -- finding them is the purpose
  return encodePath(value).replace(/[\0-\x20\x7f]/g, hex)
}

/** RFC 3461 section 4, as XFORWARD_README asks for. */
function xtext(octets: string): string {
  return octets.replace(/[^\x21-\x7e]|[+=]/g, hex)
}

function hex(octet: string): string {
  return `+${octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}
