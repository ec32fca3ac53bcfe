import { isIP } from 'node:net'
import type { Client } from '@ecluse/core'
import { decodePath } from './path.ts'

type Draft = { -readonly [Key in keyof Client]: Client[Key] }

/** XFORWARD_README: attribute values have at most 255 characters, decoded. */
const VALUE_OCTETS = 255
const XTEXT = /^(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})+$/
const XTEXT_ESCAPE = /\+([0-9A-Fa-f]{2})/g
// oxlint-disable-next-line no-control-regex -- refusing them is the purpose
const CONTROL = /[\x00-\x1f\x7f]/
const UNAVAILABLE: ReadonlySet<string> = new Set(['[UNAVAILABLE]', '[TEMPUNAVAIL]'])

/** Sets an attribute; false: it is wrong. */
type AttributeReader = (client: Draft, value: string) => boolean

const ATTRIBUTES: ReadonlyMap<string, { readonly field: keyof Client; readonly read: AttributeReader }> =
  new Map([
    ['NAME', { field: 'name', read: readText('name') }],
    ['ADDR', { field: 'address', read: readAddress }],
    ['PORT', { field: 'port', read: readPort }],
    ['PROTO', { field: 'protocol', read: readText('protocol') }],
    ['HELO', { field: 'helo', read: readText('helo') }],
    ['IDENT', { field: 'queueId', read: readText('queueId') }],
    ['SOURCE', { field: 'source', read: readSource }],
  ])

/**
 * The client with what an XFORWARD command says of it (XFORWARD_README of Postfix): attributes that are unavailable
 * are taken away, those not named stay. Absent: an attribute is wrong, and then none counts. Of an attribute given
 * twice the last one counts.
 *
 * A command longer than the 512 octets of the README is taken: amavisd sends all attributes in one.
 *
 * A stranger chooses the HELO, and Postfix passes on whatever it is: with `=` as it stands, since its xtext leaves that
 * alone, and of any length. The first is read, the second is unavailable; to refuse either would lose the queue id, which
 * comes in the same command.
 *
 * @param args what follows the verb, one character for each octet
 */
export function applyXforward(client: Client, args: string): Client | undefined {
  // Not a spread: V8 adds fields to the copy that makes the slow way.
  const draft: Draft = Object.assign({}, client)
  let given = 0
  for (const text of args.split(' ')) {
    if (text === '') continue
    const equals = text.indexOf('=')
    const attribute = ATTRIBUTES.get(text.slice(0, Math.max(equals, 0)).toUpperCase())
    const xtext = text.slice(equals + 1)
    const isHelo = attribute?.field === 'helo'
    const value = decodeXtext(isHelo ? xtext.replaceAll('=', '+3D') : xtext)
    if (!attribute || value === undefined) return undefined
    const tooLong = value.length > VALUE_OCTETS
    if (tooLong && !isHelo) return undefined
    if (tooLong || UNAVAILABLE.has(value.toUpperCase())) delete draft[attribute.field]
    else if (!attribute.read(draft, decodePath(value))) return undefined
    given += 1
  }
  return given > 0 ? draft : undefined
}

/**
 * Decodes xtext (RFC 3461 section 4): octets in, octets out. Absent: it is empty, an escape is broken, or it holds a
 * control character, escaped or not: no header, reply, log line or command may get one out of it.
 */
export function decodeXtext(xtext: string): string | undefined {
  if (!XTEXT.test(xtext)) return undefined
  if (!xtext.includes('+')) return xtext
  const octets = xtext.replace(XTEXT_ESCAPE, (_escape, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return CONTROL.test(octets) ? undefined : octets
}

function readText(field: 'name' | 'protocol' | 'helo' | 'queueId'): AttributeReader {
  return (client, value) => {
    client[field] = value
    return true
  }
}

function readAddress(client: Draft, value: string): boolean {
  client.address = value.replace(/^IPV6:/i, '')
  return isIP(client.address) !== 0
}

function readPort(client: Draft, value: string): boolean {
  client.port = Number(value)
  return /^\d{1,5}$/.test(value) && client.port <= 65_535
}

function readSource(client: Draft, value: string): boolean {
  const source = value.toUpperCase()
  if (source !== 'LOCAL' && source !== 'REMOTE') return false
  client.source = source
  return true
}
