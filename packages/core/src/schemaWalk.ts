import { z } from 'zod'
import type { KeyNotes, Section } from './schema.ts'

/** One key of a section, as its documentation shows it. */
export interface KeyDoc extends KeyNotes {
  /** `policy.tagLevel`; `listen[].address` inside the entries of a list. */
  readonly path: string
  /** As users write it; absent: the key has no default. */
  readonly fallback?: unknown
  /** Whether a file without the key is refused. */
  readonly required: boolean
}

/** Where a value stands: keys, and positions in lists from 0. */
export type KeyPath = readonly (string | number)[]

/** What to change in values that are not read yet. */
export interface Rewrite {
  /** Whether absent keys get their defaults, as users write them. */
  readonly defaults?: boolean
  /** Gives the text to stand in place of a secret. */
  readonly secret?: (value: string, path: KeyPath) => unknown
}

/**
 * The keys of a section with those of the sections inside, in the order of the schema. Entries of a list that may
 * be of several kinds are left out: each kind documents its own.
 */
export function describeKeys(section: Section, prefix = ''): KeyDoc[] {
  return Object.entries(section.shape).flatMap(([key, schema]) => {
    const { inner, fallback, optional, notes } = unwrap(schema)
    const path = `${prefix}${key}`
    const doc: KeyDoc = {
      ...notes,
      path,
      ...(fallback !== undefined && { fallback }),
      required: !optional && fallback === undefined,
    }
    if (inner instanceof z.ZodObject) return [doc, ...describeKeys(inner, `${path}.`)]
    const entry = inner instanceof z.ZodArray ? unwrap(inner.element).inner : undefined
    return entry instanceof z.ZodObject ? [doc, ...describeKeys(entry, `${path}[].`)] : [doc]
  })
}

/**
 * Rewrites values before they are read. What does not fit the schema is handed on as it is: reading will say so.
 * The result shares nothing that was changed with the input.
 */
export function rewriteInput(
  schema: z.core.$ZodType,
  input: unknown,
  rewrite: Rewrite,
  path: KeyPath = [],
): unknown {
  const { inner, fallback, notes } = unwrap(schema)
  const value = input === undefined && rewrite.defaults ? fallback : input
  if (inner instanceof z.ZodObject) return rewriteKeys(inner, value, rewrite, path)
  if (inner instanceof z.ZodArray) {
    if (!Array.isArray(value)) return value
    // Lists are long, and nearly all of them hold no secrets.
    if (!rewrite.defaults && !holdsSecret(inner.element)) return value
    return value.map((entry: unknown, index) => rewriteInput(inner.element, entry, rewrite, [...path, index]))
  }
  if (inner instanceof z.ZodDiscriminatedUnion) {
    const option = inner.options.find((candidate) => isOption(candidate, inner.def.discriminator, value))
    return option ? rewriteInput(option, value, rewrite, path) : value
  }
  return notes.secret && rewrite.secret && typeof value === 'string' ? rewrite.secret(value, path) : value
}

const secrecy = new WeakMap<z.core.$ZodType, boolean>()

/** Whether a value of this schema may have a secret in it. */
function holdsSecret(schema: z.core.$ZodType): boolean {
  const known = secrecy.get(schema)
  if (known !== undefined) return known
  const { inner, notes } = unwrap(schema)
  const below =
    inner instanceof z.ZodObject
      ? Object.values(inner.shape)
      : inner instanceof z.ZodArray
        ? [inner.element]
        : inner instanceof z.ZodDiscriminatedUnion
          ? inner.options
          : []
  const answer = notes.secret === true || below.some(holdsSecret)
  secrecy.set(schema, answer)
  return answer
}

function rewriteKeys(section: Section, value: unknown, rewrite: Rewrite, path: KeyPath): unknown {
  if (!isRecord(value)) return value
  const keys = new Set([...Object.keys(section.shape), ...Object.keys(value)])
  const entries = [...keys].flatMap((key): [string, unknown][] => {
    const schema = Object.hasOwn(section.shape, key) ? section.shape[key] : undefined
    const given = Object.hasOwn(value, key) ? value[key] : undefined
    const result = schema ? rewriteInput(schema, given, rewrite, [...path, key]) : given
    return result === undefined ? [] : [[key, result]]
  })
  return Object.fromEntries(entries)
}

/** The notes of the schema at a path, for a value that may choose among kinds. Absent: there is no such key. */
export function notesAt(schema: z.core.$ZodType, input: unknown, path: KeyPath): KeyNotes | undefined {
  const { inner, notes } = unwrap(schema)
  const [key, ...rest] = path
  if (key === undefined) return notes
  if (inner instanceof z.ZodObject) {
    const next = Object.hasOwn(inner.shape, key) ? (inner.shape[key] as z.core.$ZodType) : undefined
    return next && notesAt(next, isRecord(input) ? input[key] : undefined, rest)
  }
  if (inner instanceof z.ZodArray) {
    return notesAt(inner.element, Array.isArray(input) ? input[Number(key)] : undefined, rest)
  }
  if (inner instanceof z.ZodRecord) return notesAt(inner.valueType, undefined, rest)
  if (!(inner instanceof z.ZodDiscriminatedUnion)) return undefined
  const option = inner.options.find((candidate) => isOption(candidate, inner.def.discriminator, input))
  return option && notesAt(option, input, path)
}

/** The keys that are allowed in the section at a path. Empty: there is no section. */
export function keysAt(schema: z.core.$ZodType, input: unknown, path: KeyPath): string[] {
  const { inner } = unwrap(schema)
  const [key, ...rest] = path
  if (inner instanceof z.ZodObject) {
    if (key === undefined) return Object.keys(inner.shape)
    const next = Object.hasOwn(inner.shape, key) ? (inner.shape[key] as z.core.$ZodType) : undefined
    return next ? keysAt(next, isRecord(input) ? input[key] : undefined, rest) : []
  }
  if (inner instanceof z.ZodArray) {
    return keysAt(inner.element, Array.isArray(input) ? input[Number(key)] : undefined, rest)
  }
  if (!(inner instanceof z.ZodDiscriminatedUnion)) return []
  const option = inner.options.find((candidate) => isOption(candidate, inner.def.discriminator, input))
  return option ? keysAt(option, input, path) : []
}

function isOption(candidate: z.core.$ZodType, discriminator: string, value: unknown): boolean {
  const { inner } = unwrap(candidate)
  if (!(inner instanceof z.ZodObject) || !isRecord(value)) return false
  return z.safeParse(inner.shape[discriminator] as z.core.$ZodType, value[discriminator]).success
}

interface Unwrapped {
  readonly inner: z.core.$ZodType
  readonly fallback?: unknown
  readonly optional: boolean
  readonly notes: KeyNotes
}

/** Takes defaults, optionality and transformations off, down to what the file holds. */
function unwrap(schema: z.core.$ZodType): Unwrapped {
  const notes = z.globalRegistry.get(schema) as KeyNotes | undefined
  const below = unwrapOnce(schema)
  return notes ? { ...below, notes } : below
}

function unwrapOnce(schema: z.core.$ZodType): Unwrapped {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault) {
    return { ...unwrap(schema.def.innerType), fallback: schema.def.defaultValue }
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodExactOptional) {
    return { ...unwrap(schema.def.innerType), optional: true }
  }
  if (schema instanceof z.ZodPipe) return unwrap(schema.def.in)
  return { inner: schema, optional: false, notes: {} }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
