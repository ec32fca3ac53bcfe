import { FilterError } from '@ecluse/core'
import { escapeControls } from '../terminal.ts'

/** What one question of `doctor` came to. */
export interface Diagnosis {
  /** What was asked, in a few fixed words: scripts look for it. */
  readonly check: string
  /** `warning`: mail is handled rightly as it is, but something is probably not meant. */
  readonly level: 'well' | 'warning' | 'wrong'
  /** One line. May hold text of servers and files: it is made printable on the way out. */
  readonly detail: string
  /** What to do; absent: nothing. */
  readonly cure?: string
}

/** Text of servers and files is cut off here. */
const MAX_CHARACTERS = 600

const SIGNS = { well: '✓', warning: '!', wrong: '✗' } as const

/** Nothing to do. */
export function well(check: string, detail: string): Diagnosis {
  return { check, level: 'well', detail }
}

/** Somebody should look at it; the exit code stays 0. */
export function warn(check: string, detail: string, cure: string): Diagnosis {
  return { check, level: 'warning', detail, cure }
}

/** Somebody must act: the exit code is 1. */
export function wrong(check: string, detail: string, cure: string): Diagnosis {
  return { check, level: 'wrong', detail, cure }
}

/** One line, and one with the cure where there is one; printable, with line ends. */
export function formatDiagnosis({ check, level, detail, cure }: Diagnosis): string {
  const line = `${SIGNS[level]} ${show(check)}: ${show(detail)}\n`
  return cure === undefined ? line : `${line}  → ${show(cure)}\n`
}

/** `12 checks: 10 ✓, 1 !, 1 ✗`, with line end. */
export function formatSummary(diagnoses: readonly Diagnosis[]): string {
  const counts = (['well', 'warning', 'wrong'] as const).map(
    (level) => `${diagnoses.filter((diagnosis) => diagnosis.level === level).length} ${SIGNS[level]}`,
  )
  return `${diagnoses.length} checks: ${counts.join(', ')}\n`
}

/** An array of `{check, ok, warning, detail, cure}` as JSON; `warning` and `cure` only where there is one. */
export function formatJson(diagnoses: readonly Diagnosis[]): string {
  const rows = diagnoses.map(({ check, level, detail, cure }) => ({
    check: show(check),
    ok: level !== 'wrong',
    ...(level === 'warning' && { warning: true }),
    detail: show(detail),
    ...(cure !== undefined && { cure: show(cure) }),
  }))
  return `${JSON.stringify(rows, undefined, 2)}\n`
}

/** What failed, with the system's own code where there is one: `clamd: cannot connect (EACCES)`. */
export function failureOf(error: unknown): string {
  if (!(error instanceof FilterError)) return String(error)
  const { message, cause } = error
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' && !message.includes(code) ? `${message} (${code})` : message
}

function show(text: string): string {
  return escapeControls(text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text)
}
