import { domainKey, INDEXED_BYTES, keyOf, subjectKey } from './postgresKeys.ts'
import type { QuarantineFilter } from './store.ts'

type Value = string | number | Buffer | readonly string[]

/** A condition, and what stands for its parameters. */
export interface Condition {
  /** Of `ecluse_message m`. */
  readonly text: string
  readonly values: readonly Value[]
}

/** The filter in SQL: it lets through what `fitsFacets` and `fitsText` let through. */
export function conditionOf(filter: QuarantineFilter): Condition {
  const values: Value[] = []
  const parameter = (value: Value): string => `$${values.push(value)}`
  const terms = [...facets(filter, parameter), ...texts(filter, parameter)]
  return { text: terms.length === 0 ? 'true' : terms.join(' and '), values }
}

type Parameter = (value: Value) => string

function facets(filter: QuarantineFilter, parameter: Parameter): string[] {
  const { categories, storedBefore, storedSince, minScore, maxScore } = filter
  const terms: string[] = []
  if (categories !== undefined) terms.push(`m.category = any(${parameter(categories)}::text[])`)
  if (storedBefore !== undefined) terms.push(`m.stored_ms < ${parameter(storedBefore.getTime())}::bigint`)
  if (storedSince !== undefined) terms.push(`m.stored_ms >= ${parameter(storedSince.getTime())}::bigint`)
  if (minScore !== undefined) terms.push(`m.score >= ${parameter(minScore)}::double precision`)
  if (maxScore !== undefined) terms.push(`m.score <= ${parameter(maxScore)}::double precision`)
  return terms
}

function texts({ recipient, sender, subject, states }: QuarantineFilter, parameter: Parameter): string[] {
  const terms: string[] = []
  if (sender !== undefined)
    terms.push(addressTerm(sender, { address: 'm.sender', domain: 'm.sender_domain' }, parameter))
  if (subject !== undefined) terms.push(`position(${parameter(subjectKey(subject))}::bytea in m.subject) > 0`)
  if (recipient === undefined && states === undefined) return terms
  const of = ['r.message = m.id']
  if (recipient !== undefined)
    of.push(addressTerm(recipient, { address: 'r.address', domain: 'r.domain' }, parameter))
  if (states !== undefined) of.push(`r.state = any(${parameter(states)}::text[])`)
  return [...terms, `exists (select from ecluse_recipient r where ${of.join(' and ')})`]
}

interface Columns {
  readonly address: string
  readonly domain: string
}

/** As `fitsAddress`. */
function addressTerm(wanted: string, { address, domain }: Columns, parameter: Parameter): string {
  const want = wanted.toLowerCase()
  if (want === '' || want === '<>') return equals(address, keyOf(''), parameter)
  const at = want.lastIndexOf('@')
  if (at > 0) return equals(address, keyOf(want), parameter)
  const name = want.slice(at + 1)
  if (!name.startsWith('.')) return equals(domain, domainKey(name), parameter)
  const [itself, below] = [domainKey(name.slice(1)), domainKey(name)]
  return `(${equals(domain, itself, parameter)} or ${beginsWith(domain, below, parameter)})`
}

/** The first part is what the index knows. */
function equals(column: string, key: Buffer, parameter: Parameter): string {
  const index = `substring(${column} from 1 for ${INDEXED_BYTES})`
  const first = `${index} = ${parameter(key.subarray(0, INDEXED_BYTES))}::bytea`
  return key.length < INDEXED_BYTES ? first : `(${first} and ${column} = ${parameter(key)}::bytea)`
}

function beginsWith(column: string, key: Buffer, parameter: Parameter): string {
  const first = key.subarray(0, INDEXED_BYTES)
  const index = `substring(${column} from 1 for ${INDEXED_BYTES})`
  // No byte of a key is 0xff.
  const next = Buffer.from(first)
  next[next.length - 1] = (next.at(-1) ?? 0) + 1
  const range = `${index} >= ${parameter(first)}::bytea and ${index} < ${parameter(next)}::bytea`
  if (key.length <= INDEXED_BYTES) return `(${range})`
  return `(${range} and substring(${column} from 1 for ${key.length}) = ${parameter(key)}::bytea)`
}
