import {
  comparableDomain,
  headerReadsOneWay,
  type Authenticated,
  type AuthenticationMethod,
} from '@ecluse/core'
import { headerValues } from './header.ts'
import { decodePath } from './path.ts'
import { holdsControl, matchAt, quotedEnd, skipComments } from './structuredValue.ts'

/** Fields looked at: the trusted ones stand above those that the sender wrote. */
const MAX_FIELDS = 50
const MAX_LENGTH = 16 * 1024
const MAX_RESULTS = 50
const MAX_PROPERTIES = 20

/**
 * What the Authentication-Results fields (RFC 8601) of trusted hosts prove, each domain of a method once, in the order
 * of the header: DKIM by header.d, else header.i; SPF by smtp.mailfrom; DMARC by header.from. Only the result `pass`
 * counts; one without that property, or with two of it, proves nothing. Of each host and method the topmost field is
 * believed alone: the sender's own stand below.
 *
 * Anybody can write such a field. Name only hosts whose border removes theirs from mail that comes in (RFC 8601
 * section 5). Empty where the header does not read one way (`headerReadsOneWay`): what hides from the border is not
 * found here. A field with an error of the grammar, of another version, of more than 16 KiB, 50 results or 20
 * properties of one of them proves nothing, nor do those of the same host below it; nor do those below the 50th.
 *
 * @param authservIds names that trusted hosts give themselves there (section 2.5), in any case; empty: none is trusted
 */
export function readAuthenticationResults(header: Buffer, authservIds: readonly string[]): Authenticated[] {
  if (authservIds.length === 0 || !headerReadsOneWay(header)) return []
  const trusted = new Set(authservIds.map(lowerCase))
  const told = new Set<string>()
  const proofs = new Map<string, Authenticated>()
  let fields = 0
  for (const value of headerValues(header, 'authentication-results')) {
    if (++fields > MAX_FIELDS) break
    const { authservId, results } = readField(value)
    const host = authservId === undefined ? undefined : lowerCase(decodePath(authservId))
    if (host === undefined || !trusted.has(host)) continue
    for (const method of METHODS) {
      const about = results?.filter((result) => isAbout(method, result))
      // Borders overlook forged fields (CVE-2022-48521); what our own one has said, none below can change.
      if (about?.length === 0 || told.has(`${method} ${host}`)) continue
      told.add(`${method} ${host}`)
      for (const proof of proofsOf(method, about ?? [])) proofs.set(JSON.stringify(proof), proof)
    }
  }
  return [...proofs.values()]
}

/** Of ASCII only: U+212A is no k. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

interface Result {
  /** Lower case; '' for a version of the method that we do not know. */
  readonly method: string
  readonly result: string
  /** Values as they stand there, in their quotes, by `ptype.property` in lower case. */
  readonly properties: ReadonlyMap<string, readonly string[]>
}

const PROPERTIES: Readonly<Record<AuthenticationMethod, readonly string[]>> = {
  // The domain of header.i is the signing domain or below it (RFC 6376 section 3.5): it proves no more than that.
  dkim: ['header.d', 'header.i'],
  spf: ['smtp.mailfrom'],
  dmarc: ['header.from'],
}

const METHODS = Object.keys(PROPERTIES) as readonly AuthenticationMethod[]

/** Whether it tells of the method; SPF of the HELO name is another thing. */
function isAbout(method: AuthenticationMethod, { method: told, properties }: Result): boolean {
  return told === method && !(properties.has('smtp.helo') && !properties.has('smtp.mailfrom'))
}

function proofsOf(method: AuthenticationMethod, told: readonly Result[]): Authenticated[] {
  // A message has any number of signatures, but one envelope sender and one author: two results about them contradict
  // each other, as where a sender's own text has broken out of the comment it was put in.
  const named = told.filter(({ properties }) => PROPERTIES[method].some((name) => properties.has(name)))
  if (method !== 'dkim' && named.length > 1) return []
  return named.flatMap(({ result, properties }) => {
    const domain = result === 'pass' ? domainOf(method, properties) : undefined
    return domain === undefined ? [] : [{ kind: 'authenticated', method, identity: { domain } } as const]
  })
}

function domainOf(method: AuthenticationMethod, properties: Result['properties']): string | undefined {
  const name = PROPERTIES[method].find((property) => properties.has(property)) ?? ''
  const [value = '', ...more] = properties.get(name) ?? []
  if (more.length > 0) return undefined
  // `"local part"@domain`, or a domain in quotes. In quotes as a whole it may be a local part that looks like an address.
  const quoted = /^"(?:[^"\\]|\\.)*"(?=@)/.exec(value)?.[0]
  const rest = value.slice(quoted?.length ?? 0).replace(/^"([^"\\@]*)"$/, '$1')
  const at = rest.indexOf('@')
  if (name === 'header.i' && at === -1) return undefined
  return comparableDomain(decodePath(rest.slice(at + 1)))
}

interface Field {
  /** Absent: it cannot be read. */
  readonly authservId?: string
  /** Absent: not the grammar, another version, or beyond a limit. */
  readonly results?: readonly Result[]
}

const SPACED_WORD = /[^\s;="()]+/y
const KEYWORD = /[A-Za-z][\w-]*/y
const VERSION = /\d{1,9}/y
/** A value, or an address with a quoted local part; unquoted ones are longer than the grammar has them: base64, paths. */
const VALUE = /"(?:[^"\\]|\\.)*"(?:@[^\s;"()]*)?|[^\s;"()]*/y

/** RFC 8601 section 2.2. */
function readField(text: string): Field {
  const cursor = new Cursor(text)
  const authservId = cursor.quoted() ?? cursor.take(SPACED_WORD)
  if (authservId === undefined) return {}
  const results = text.length > MAX_LENGTH || holdsControl(text) ? undefined : readResults(cursor)
  return { authservId, ...(results && { results }) }
}

function readResults(cursor: Cursor): readonly Result[] | undefined {
  if ((cursor.take(VERSION) ?? '1') !== '1') return undefined
  const results: Result[] = []
  while (!cursor.done) {
    if (!cursor.skip(';') || results.length === MAX_RESULTS) return undefined
    // Not in the grammar, but common: nothing behind the last semicolon.
    if (cursor.done) break
    const result = readResult(cursor)
    if (!result) return undefined
    results.push(result)
  }
  return results
}

function readResult(cursor: Cursor): Result | undefined {
  const method = cursor.take(KEYWORD)?.toLowerCase()
  const version = cursor.skip('/') ? cursor.take(VERSION) : '1'
  if (method === undefined || version === undefined) return undefined
  if (!cursor.skip('='))
    return method === 'none' ? { method: '', result: '', properties: new Map() } : undefined
  const result = cursor.take(KEYWORD)?.toLowerCase()
  const properties = result === undefined ? undefined : readProperties(cursor)
  if (result === undefined || !properties) return undefined
  return { method: version === '1' ? method : '', result, properties }
}

function readProperties(cursor: Cursor): Result['properties'] | undefined {
  const properties = new Map<string, string[]>()
  for (let count = 0; !cursor.done && !cursor.sees(';'); count++) {
    const name = count === MAX_PROPERTIES ? undefined : readName(cursor)
    const value = name === undefined ? undefined : cursor.value()
    if (name === undefined || value === undefined) return undefined
    properties.set(name, [...(properties.get(name) ?? []), value])
  }
  return properties
}

/** `ptype.property =`, or `reason =`: in lower case, without blanks. */
function readName(cursor: Cursor): string | undefined {
  const type = cursor.take(KEYWORD)
  const property = cursor.skip('.') ? cursor.take(KEYWORD) : ''
  if (type === undefined || property === undefined || !cursor.skip('=')) return undefined
  return (property === '' ? type : `${type}.${property}`).toLowerCase()
}

/** Reads token after token; blanks and comments behind each are skipped. */
class Cursor {
  private at: number
  private readonly text: string

  constructor(text: string) {
    this.text = text
    this.at = skipComments(text, 0)
  }

  get done(): boolean {
    return this.at === this.text.length
  }

  sees(char: string): boolean {
    return this.text[this.at] === char
  }

  skip(char: string): boolean {
    const found = this.sees(char)
    if (found) this.at = skipComments(this.text, this.at + 1)
    return found
  }

  /** What matches there; absent: nothing does. */
  take(pattern: RegExp): string | undefined {
    const [found] = matchAt(pattern, this.text, this.at) ?? []
    if (found !== undefined) this.at = skipComments(this.text, this.at + found.length)
    return found
  }

  /** The content of a quoted string; absent: there is none. */
  quoted(): string | undefined {
    const end = this.sees('"') ? quotedEnd(this.text, this.at) : undefined
    if (end === undefined) return undefined
    const content = this.text.slice(this.at + 1, end - 1).replace(/\\(.)/g, '$1')
    this.at = skipComments(this.text, end)
    return content
  }

  /** A property's value, '' where there is none; absent: something stands right behind it that is not of it. */
  value(): string | undefined {
    const [found = ''] = matchAt(VALUE, this.text, this.at) ?? []
    const next = this.text[this.at + found.length] ?? ' '
    if (!/[\s;(]/.test(next)) return undefined
    this.at = skipComments(this.text, this.at + found.length)
    return found
  }
}
