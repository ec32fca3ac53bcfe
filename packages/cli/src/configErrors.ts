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
import { cureFor } from './cures.ts'
import { mostSimilar } from './similar.ts'
import type { YamlFile } from './yamlFile.ts'

type Issue = NonNullable<ReturnType<ConfigSchema['safeParse']>['error']>['issues'][number]

/** One line for each thing that is wrong: `path.to.key: expected …, got …`, in the order of the file. */
export function explainIssues(issues: readonly Issue[], schema: ConfigSchema, file: YamlFile): FilterError[] {
  const explained = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => unknownKey(key, keyPath(issue), schema, file))
      : [wrongValue(issue, schema, file)],
  )
  return inFileOrder(explained)
}

/** Errors in the order of their places. */
export function inFileOrder(errors: readonly FilterError[]): FilterError[] {
  return errors.toSorted(
    ({ place: a }, { place: b }) => (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0),
  )
}

/** `scanners[0].timeout`; '' for the whole file. */
function formatPath(path: KeyPath): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${step}`))
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
  const known = keysAt(schema, file.value, path)
  const full = [...path, key]
  const similar = mostSimilar(key, known)
  const hint =
    similar !== undefined
      ? `did you mean "${similar}"?`
      : (otherHome(key, path, schema) ?? (path.length > 0 ? `it may have: ${known.join(', ')}` : undefined))
  return errorAt(
    full.map((step) => (typeof step === 'string' ? step.slice(0, 60) : step)),
    'unknown key',
    {
      place: file.keyPlace(full),
      hint,
    },
  )
}

/** A right key in a wrong section. */
function otherHome(key: string, path: KeyPath, schema: ConfigSchema): string | undefined {
  // Keys of list entries, scanners above all, have namesakes everywhere.
  if (path.some((step) => typeof step === 'number')) return undefined
  const home = describeKeys(schema).find(({ path: known }) => known.split('.').at(-1) === key)?.path
  if (home === undefined) return undefined
  const section = home.slice(0, -key.length).replace(/(?:\[\])?\.$/, '')
  if (section === formatPath(path)) return undefined
  return section === '' ? 'it belongs to the top of the file' : `it belongs to "${section}"`
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
  const shown = actual === undefined ? showValue(got) : `${got === undefined ? 'the default ' : ''}${actual}`
  const message =
    issue.message.startsWith('expected') && !notes?.secret ? `${issue.message}, got ${shown}` : issue.message
  return errorAt(path, message, { place, hint: hint ?? nearestWord(issue, got) ?? cure(notes, got) })
}

function cure(notes: KeyNotes | undefined, got: unknown): string | undefined {
  if (notes?.secret) return typeof got === 'number' ? 'put it in quotes' : undefined
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

function showValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === null || value === undefined) return 'nothing'
  if (!Array.isArray(value)) return 'a section'
  return value.length === 0 ? 'an empty list' : 'a list'
}
