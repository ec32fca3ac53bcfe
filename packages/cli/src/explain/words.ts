import { formatScore } from '@ecluse/core'
import { escapeControls } from '../terminal.ts'
import type { FoundEntry } from './explanation.ts'

const LABEL_WIDTH = 12
const MAX_LENGTH = 2000

/** One line: a label and what is to be said under it. */
export function row(label: string, text: string, indent = '  '): string {
  return `${indent}${label.padEnd(LABEL_WIDTH)} ${text}`
}

/** Text of strangers, safe for a terminal, and not endless. */
export function shown(text: string): string {
  if (text.length <= MAX_LENGTH) return escapeControls(text)
  return `${escapeControls(text.slice(0, MAX_LENGTH))}… (${text.length - MAX_LENGTH} more)`
}

/** The same in quotes. */
export function quoted(text: string): string {
  return `"${shown(text)}"`
}

/** An address in its angle brackets. */
export function address(text: string): string {
  return `<${shown(text)}>`
}

/** Spam points as header fields have them. */
export function points(score: number): string {
  return formatScore(score)
}

/** A value of the configuration. */
export function value(of: unknown): string {
  if (of === undefined) return 'not set'
  return typeof of === 'string' ? quoted(of) : shown(JSON.stringify(of))
}

/** The entry that decided, how it was found, and where it stands. */
export function found({ entry, key, negated, place }: FoundEntry): string {
  const by = key === undefined || key === entry ? '' : ` by the key ${shown(key)}`
  return `${negated ? 'taken out by ' : ''}${shown(entry)}${by} (${shown(place)})`
}
