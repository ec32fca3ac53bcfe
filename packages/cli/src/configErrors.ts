import {
  describeKeys,
  FilterError,
  keysAt,
  notesAt,
  type ConfigSchema,
  type ErrorPlace,
  type KeyNotes,
  type KeyPath,
} from '@ecluse/core'
import { keyForAmavis } from './amavisNames.ts'
import { cureFor, cureForSecret } from './cures.ts'
import { isSameWord, mostSimilar } from './similar.ts'
import type { YamlFile } from './yamlFile.ts'

type Issue = NonNullable<ReturnType<ConfigSchema['safeParse']>['error']>['issues'][number]

/** One line for each thing that is wrong: `path.to.key: expected …, got …`, in the order of the file. */
export function explainIssues(issues: readonly Issue[], schema: ConfigSchema, file: YamlFile): FilterError[] {
  const explained = withoutSequels(issues).flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => unknownKey(key, keyPath(issue), schema, file))
      : [issue.code === 'invalid_key' ? wrongName(issue, file) : wrongValue(issue, schema, file)],
  )
  return inFileOrder(explained)
}

/** What is of a wrong type is told only that, not its length too. */
function withoutSequels(issues: readonly Issue[]): Issue[] {
  const mistyped = new Set(
    issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => JSON.stringify(path)),
  )
  return issues.filter(
    ({ code, path }) => !['too_big', 'too_small'].includes(code) || !mistyped.has(JSON.stringify(path)),
  )
}

/** Errors in the order of their places. */
export function inFileOrder(errors: readonly FilterError[]): FilterError[] {
  return errors.toSorted(
    ({ place: a }, { place: b }) => (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0),
  )
}

/** `scanners[0].timeout`, `policy.virusNames["PUA.*"]`; '' for the whole file. */
function formatPath(path: KeyPath): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`
      if (index === 0) return step
      return /^[\w-]+$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
    })
    .join('')
}

/** The inverse of {@link formatPath}. */
export function parsePath(path: string): KeyPath {
  return [...path.matchAll(/\[(\d+)\]|[^.[\]]+/g)].map(([step, index]) =>
    index === undefined ? step : Number(index),
  )
}

/** An error whose message begins with the path of a value: with the place of that value. */
export function located(error: FilterError, file: YamlFile): FilterError {
  const path = /^([\w.[\]]+): /.exec(error.message)?.[1]
  if (error.place !== undefined || path === undefined) return error
  const { code, message, cause, hint } = error
  return new FilterError(code, message, {
    cause,
    place: file.valuePlace(parsePath(path)),
    ...(hint !== undefined && { hint }),
  })
}

/** An error about the value, or the key, at a path. */
export function errorAt(
  path: KeyPath,
  message: string,
  { place, hint }: { place: ErrorPlace; hint?: string | undefined },
): FilterError {
  const name = formatPath(path)
  return new FilterError('E_CONFIG', name === '' ? message : `${name}: ${message}`, {
    place,
    ...(hint !== undefined && { hint }),
  })
}

function unknownKey(key: string, path: KeyPath, schema: ConfigSchema, file: YamlFile): FilterError {
  const full = [...path, key]
  return errorAt(
    full.map((step) => (typeof step === 'string' ? step.slice(0, 60) : step)),
    'unknown key',
    { place: file.keyPlace(full), hint: hintForKey(key, path, schema, file) },
  )
}

function hintForKey(key: string, path: KeyPath, schema: ConfigSchema, file: YamlFile): string | undefined {
  if (key === '<<') return 'keys cannot be merged: write them out'
  const ours = keyForAmavis(key)
  if (ours !== undefined) return `amavisd's name: write ${ours}`
  const known = keysAt(schema, file.value, path)
  const similar = mostSimilar(key, known)
  if (similar !== undefined) return `did you mean "${similar}"?`
  return (
    homeNearby(key, path, schema, file) ?? homeElsewhere(key, path, schema) ?? knownKeys(schema, file, path)
  )
}

/** `it may have: …`; absent: the file as a whole, or what has no keys. */
function knownKeys(schema: ConfigSchema, file: YamlFile, path: KeyPath): string | undefined {
  const known = path.length === 0 ? [] : keysAt(schema, file.value, path)
  return known.length === 0 ? undefined : `it may have: ${known.join(', ')}`
}

/** A right key beside, or inside, the section where it belongs. */
function homeNearby(key: string, path: KeyPath, schema: ConfigSchema, file: YamlFile): string | undefined {
  // A key of the file's top is in no entry of a list.
  if (!path.some((step) => typeof step === 'number')) return undefined
  const has = (section: KeyPath): boolean =>
    keysAt(schema, file.value, section).some((name) => isSameWord(name, key))
  const below = keysAt(schema, file.value, path).find((name) => has([...path, name]))
  if (below !== undefined) return `it belongs to "${below}", here`
  const above = path.slice(0, -1)
  return typeof path.at(-1) === 'string' && has(above) ? `it belongs beside "${path.at(-1)}"` : undefined
}

/** A right key in a wrong section. */
function homeElsewhere(key: string, path: KeyPath, schema: ConfigSchema): string | undefined {
  // Keys of list entries, scanners above all, have namesakes everywhere.
  if (path.some((step) => typeof step === 'number')) return undefined
  const home = describeKeys(schema)
    .filter(({ path: known }) => !known.includes('[]'))
    .find(({ path: known }) => isSameWord(known.split('.').at(-1) ?? '', key))?.path
  if (home === undefined) return undefined
  const section = home.split('.').slice(0, -1).join('.')
  if (section === formatPath(path)) return undefined
  const name = home.split('.').at(-1) ?? ''
  const it = name === key ? 'it' : `"${name}"`
  return section === '' ? `${it} belongs to the top of the file` : `${it} belongs to "${section}"`
}

/** A key that its section's users choose. */
function wrongName(issue: Issue, file: YamlFile): FilterError {
  const path = keyPath(issue)
  return errorAt(path, `${issue.message}, got ${showValue(path.at(-1))}`, { place: file.keyPlace(path) })
}

function wrongValue(issue: Issue, schema: ConfigSchema, file: YamlFile): FilterError {
  const path = keyPath(issue)
  const got = valueAt(file.value, path)
  const notes = notesAt(schema, file.value, path)
  const { hint, actual } = issue.code === 'custom' ? readParams(issue.params) : {}
  const place = file.valuePlace(path)
  if (got === undefined && issue.code !== 'custom') {
    return errorAt(path, `missing, ${issue.message}`, { place, hint: hint ?? notes?.example })
  }
  const shown =
    actual === undefined ? showValue(got, issue.code) : `${got === undefined ? 'the default ' : ''}${actual}`
  // Of secrets nothing is shown; parsers of entries say themselves what they got.
  const whole = issue.message.startsWith('expected') && !issue.message.includes(', got ') && !notes?.secret
  const message = whole ? `${issue.message}, got ${shown}` : issue.message
  const better = hint ?? nearestWord(issue, got) ?? cure(notes, got) ?? sectionCure(issue, path, schema, file)
  return errorAt(path, message, { place, hint: better })
}

/** How to write a section, or the whole file. */
function sectionCure(issue: Issue, path: KeyPath, schema: ConfigSchema, file: YamlFile): string | undefined {
  if (issue.code !== 'invalid_type' || issue.expected !== 'object') return undefined
  const got = valueAt(file.value, path)
  if (Array.isArray(got)) return 'write its keys without - before them'
  if (path.length > 0) return knownKeys(schema, file, path)
  return typeof got === 'string'
    ? 'write each key with a colon and a blank behind it, then its value'
    : undefined
}

function cure(notes: KeyNotes | undefined, got: unknown): string | undefined {
  if (notes?.secret) return cureForSecret(got)
  return cureFor(notes?.notation ?? '', got)
}

function nearestWord(issue: Issue, got: unknown): string | undefined {
  if (typeof got !== 'string') return undefined
  const words =
    issue.code === 'invalid_value'
      ? issue.values
      : issue.code === 'invalid_union' && 'options' in issue && Array.isArray(issue.options)
        ? issue.options
        : []
  const similar = mostSimilar(
    got,
    words.filter((word): word is string => typeof word === 'string'),
  )
  return similar === undefined ? undefined : `did you mean "${similar}"?`
}

function readParams(params: Readonly<Record<string, unknown>> | undefined): {
  hint?: string
  actual?: string
} {
  const { hint, actual } = params ?? {}
  return { ...(typeof hint === 'string' && { hint }), ...(typeof actual === 'string' && { actual }) }
}

function keyPath({ path }: Issue): KeyPath {
  return path.map((step) => (typeof step === 'number' ? step : String(step)))
}

/** The value at a path of plain data; absent: there is none. */
export function valueAt(value: unknown, path: KeyPath): unknown {
  let found: unknown = value
  for (const step of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step)) return undefined
    found = (found as Readonly<Record<string | number, unknown>>)[step]
  }
  return found
}

function showValue(value: unknown, code?: Issue['code']): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === null || value === undefined) return 'nothing'
  if (!Array.isArray(value)) return 'a section'
  if (code === 'too_big') return String(value.length)
  return value.length === 0 ? 'an empty list' : 'a list'
}
