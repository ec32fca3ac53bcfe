import { z } from 'zod'
import { parseAddress, type Address } from './address.ts'
import { FilterError } from './errors.ts'
import { isIpAddress, parseNetwork } from './network.ts'

/** A section of the configuration file: an object with a schema for each key. */
export type Section = z.ZodObject
/** The values of a section, read: durations in milliseconds, sizes in bytes. */
export type OptionsOf<S extends Section> = z.output<S>

/** What a building block tells about itself, for documentation. */
export interface KeyNotes {
  /** One sentence. */
  readonly description?: string
  /** How the value is written, with its range: `duration 1s–590s`, `lmtp | smtp`. */
  readonly notation?: string
  /** Whether the value is never shown, and may be given as `${ENV_NAME}` or `file:PATH`. */
  readonly secret?: boolean
  /** What to write, for a key that has no default. */
  readonly example?: string
}

const DURATION = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)$/
const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** RFC 1035 section 2.3.4. */
const MAX_DOMAIN = 255
/** sun_path of Linux, without its final NUL. */
const MAX_SOCKET_PATH = 107

/**
 * `30s`, `5m`, `2h`, `30d`, `250ms` → milliseconds. Bounds are inclusive, in the same notation; `why` tells whoever is
 * beyond them where they come from.
 */
export function duration(doc: string, range: { min?: string; max?: string; why?: string } = {}) {
  return quantity(doc, {
    ...range,
    pattern: DURATION,
    units: UNIT_MS,
    name: 'duration',
    what: 'a duration such as 30s, 5m, 2h or 30d',
  })
}

/** `256KiB`, `50MiB` → bytes. Bounds are inclusive, in the same notation. */
export function size(doc: string, range: { min?: string; max?: string } = {}) {
  return quantity(doc, {
    ...range,
    pattern: SIZE,
    units: UNIT_BYTES,
    name: 'size',
    what: 'a size such as 256KiB or 50MiB',
  })
}

/** Milliseconds as {@link duration} reads them: seconds up to a quarter of an hour, as timeouts are written, then larger units. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms <= 900_000 && ms % 1000 === 0) return `${ms / 1000}s`
  const unit = ['d', 'h', 'm', 's'].find(
    (name) => ms >= (UNIT_MS[name] ?? 1) && ms % (UNIT_MS[name] ?? 1) === 0,
  )
  return unit === undefined ? `${ms}ms` : `${ms / (UNIT_MS[unit] ?? 1)}${unit}`
}

/** `host:port`, `[v6]:port` or `unix:PATH` → {@link Address}. */
export function address(doc: string) {
  return z
    .string({ error: ADDRESS })
    .transform((input, context): Address => {
      const read = tryAddress(input)
      if (typeof read !== 'string') return read
      context.addIssue({ code: 'custom', message: read })
      return z.NEVER
    })
    .meta(notes(doc, 'address'))
}

const ADDRESS = 'expected host:port, [v6]:port or unix:/PATH'

/** The address, or what was expected in its place. */
export function tryAddress(input: string): Address | string {
  try {
    const read = parseAddress(input)
    if ('path' in read) {
      if (byteLength(read.path) > MAX_SOCKET_PATH) {
        return `expected a socket path of at most ${MAX_SOCKET_PATH} bytes`
      }
      return isPath(read.path) ? read : ADDRESS
    }
    const named = input.startsWith('[') ? isIpAddress(read.host) : isHost(read.host)
    return named ? read : ADDRESS
  } catch (cause) {
    if (cause instanceof FilterError) return ADDRESS
    throw cause
  }
}

function isHost(name: string): boolean {
  // All digits and dots is an IPv4 address, or a mistyped one.
  if (/^[\d.]+$/.test(name)) return isIpAddress(name)
  return name.length <= MAX_DOMAIN && /^(?!-)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(name)
}

/** A fully qualified or plain host name, without a final dot. */
export function hostName(doc: string) {
  return z
    .string({ error: 'expected a host name' })
    .refine((name) => isHost(name) && !isIpAddress(name), { error: 'expected a host name' })
    .meta(notes(doc, 'host name'))
}

/** `example.net`, that domain, or `.example.net`, the domain and all below it. A-labels or U-labels. */
export function domainPattern(doc: string) {
  const error = 'expected a domain such as example.org, or .example.org with all below it'
  return z
    .string({ error })
    .refine(
      (text) => text.length <= MAX_DOMAIN && /^\.?[\p{L}\p{N}_-]+(?:\.[\p{L}\p{M}\p{N}_-]+)*$/u.test(text),
      {
        error,
      },
    )
    .meta(notes(doc, 'domain'))
}

/** An address of ours, plain: nothing of it needs quotes or is beyond ASCII. */
export function mailAddress(doc: string) {
  const error = 'expected a mail address'
  return z
    .string({ error })
    .regex(/^[\w#$&'*+/=?^`{|}~.-]{1,64}@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/, { error })
    .max(254, { error })
    .meta(notes(doc, 'mail address'))
}

/** `192.0.2.0/24`, `2001:db8::/32` or one address → the same text, always with its prefix length. */
export function cidr(doc: string) {
  return z
    .string({ error: 'expected a network such as 192.0.2.0/24 or 2001:db8::/32' })
    .transform((input, context): string => {
      try {
        return parseNetwork(input)
      } catch (cause) {
        if (!(cause instanceof FilterError)) throw cause
        context.addIssue({
          code: 'custom',
          message: cause.message,
          ...(cause.hint !== undefined && { params: { hint: cause.hint } }),
        })
        return z.NEVER
      }
    })
    .meta(notes(doc, 'network'))
}

/** A whole number. Bounds are inclusive. */
export function count(doc: string, range: { min?: number; max?: number } = {}) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range
  const open = max === Number.MAX_SAFE_INTEGER
  const message = open ? `expected a whole number from ${min}` : `expected ${min}–${max}`
  return z
    .number({ error: message })
    .int({ error: message })
    .min(min, { error: message })
    .max(max, { error: message })
    .meta(notes(doc, open ? `number from ${min}` : `number ${min}–${max}`))
}

/** A number of spam points, with or without a fraction. */
export function points(doc: string) {
  const error = 'expected a number of points'
  return z.number({ error }).min(-1e6, { error }).max(1e6, { error }).meta(notes(doc, 'points'))
}

/** Yes or no. */
export function flag(doc: string) {
  return z.boolean({ error: 'expected true or false' }).meta(notes(doc, 'true | false'))
}

/** One of a closed set of words. */
export function choice<const T extends readonly [string, ...string[]]>(doc: string, words: T) {
  return z.enum(words, { error: `expected one of: ${words.join(', ')}` }).meta(notes(doc, words.join(' | ')))
}

/** Text without control characters. */
export function text(doc: string, { max = 1000 }: { max?: number } = {}) {
  return plainText(max).meta(notes(doc, 'text'))
}

/** A password, or what contains one: never shown; the file may say `${ENV_NAME}` or `file:PATH` instead. */
export function secret(doc: string) {
  return plainText(1000).meta({ ...notes(doc, 'secret'), secret: true })
}

function plainText(max: number) {
  return (
    z
      .string({ error: 'expected text' })
      // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
      .regex(/^[^\x00-\x1f\x7f]*$/, { error: 'expected text without control characters' })
      .max(max, { error: `expected at most ${max} characters` })
  )
}

/** An absolute path: a daemon has no directory of its own that relative ones could start from. */
export function path(doc: string) {
  const error = 'expected an absolute path'
  return z.string({ error }).refine(isPath, { error }).meta(notes(doc, 'path'))
}

function isPath(input: string): boolean {
  // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
  return input.length <= 4096 && /^\/[^\x00-\x1f\x7f]*$/.test(input)
}

/** A list. Bounds on its length are inclusive. */
export function list<T extends z.ZodType>(doc: string, entry: T, range: { min?: number; max?: number } = {}) {
  const { min = 0, max = 10_000 } = range
  return z
    .array(entry, { error: 'expected a list' })
    .min(min, { error: `expected at least ${min === 1 ? 'one entry' : `${min} entries`}` })
    .max(max, { error: `expected at most ${max} entries` })
    .meta(notes(doc, `list of ${(entry.meta() as KeyNotes | undefined)?.notation ?? 'section'}`))
}

/** An object whose unknown keys are errors. */
export function section<T extends z.ZodRawShape>(doc: string, shape: T) {
  return z.strictObject(shape, { error: sectionError }).meta(notes(doc, 'section'))
}

/** Message of an issue that a section raises itself; for sections that are built elsewhere, as unions are. */
export function sectionError({ code }: { readonly code?: string | undefined }): string {
  return code === 'unrecognized_keys' ? 'unknown key' : 'expected a section with keys'
}

function notes(description: string, notation: string): { description: string; notation: string } {
  return { description, notation }
}

function byteLength(input: string): number {
  return new TextEncoder().encode(input).length
}

interface Quantity {
  readonly pattern: RegExp
  readonly units: Readonly<Record<string, number>>
  readonly name: string
  readonly what: string
  readonly min?: string
  readonly max?: string
  readonly why?: string
}

function quantity(doc: string, { pattern, units, name, what, min, max, why }: Quantity) {
  const read = (input: string): number => {
    const match = pattern.exec(input)
    return Math.round(Number(match?.[1]) * (units[match?.[2] ?? ''] ?? Number.NaN))
  }
  const least = min === undefined ? 0 : read(min)
  const most = max === undefined ? Number.MAX_SAFE_INTEGER : read(max)
  const bounds = max === undefined ? (min === undefined ? '' : `from ${min}`) : `${min ?? '0'}–${max}`
  return z
    .string({ error: `expected ${what}` })
    .transform((input, context) => {
      const value = read(input)
      if (value >= least && value <= most) return value
      const unreadable = Number.isNaN(value)
      const message = unreadable ? `expected ${what}` : `expected ${bounds || 'less'}`
      const params = !unreadable && why !== undefined ? { params: { hint: why } } : {}
      context.addIssue({ code: 'custom', message, ...params })
      return z.NEVER
    })
    .meta(notes(doc, bounds === '' ? name : `${name} ${bounds}`))
}
