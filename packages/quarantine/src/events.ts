import { FilterError } from '@ecluse/core'
import {
  RELEASE_FORMS,
  type Infection,
  type QuarantineEntry,
  type QuarantineOutcome,
  type Release,
} from './record.ts'

/** What happened to a message after it was stored, one file each: the message itself is never written again. */
export type QuarantineEvent =
  | { readonly event: 'released'; readonly release: Release }
  /** For these addresses. */
  | { readonly event: 'deleted'; readonly at: Date; readonly recipients: readonly string[] }
  | ({ readonly event: 'infected' } & Infection)

/** Most events of one message; a thousand releases of it are none that somebody needs. */
export const MAX_EVENTS = 999

/** A message of {@link MAX_EVENTS} has had enough. */
export function tooManyEvents(id: string): FilterError {
  return new FilterError('E_QUARANTINE', `${id}: was released and deleted too often`, {
    hint: `${MAX_EVENTS} times at most`,
  })
}

/** One line of JSON. */
export function formatEvent(event: QuarantineEvent): string {
  const { release, ...others } = event.event === 'released' ? event : { ...event, release: {} }
  return `${JSON.stringify({ ...others, ...release })}\n`
}

/** Absent: it is damaged, or of a version that we do not know. */
export function readEvent(text: string): QuarantineEvent | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // What no JSON is, is damaged.
    return undefined
  }
  if (typeof json !== 'object' || json === null) return undefined
  const { event, at, by, to, as, recipients, reason }: Record<string, unknown> = { ...json }
  const date = new Date(typeof at === 'string' ? at : Number.NaN)
  if (Number.isNaN(date.getTime())) return undefined
  if (event === 'deleted' && isTexts(recipients)) return { event, at: date, recipients }
  if (event === 'infected') {
    return isTexts(recipients) && isReason(reason) ? { event, at: date, recipients, reason } : undefined
  }
  const form = RELEASE_FORMS.find((each) => each === as)
  if (event !== 'released' || !isTexts(to) || typeof by !== 'string' || form === undefined) return undefined
  return { event, release: { at: date, by, to, as: form } }
}

const MAX_REASON = 2000

function isReason(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_REASON && /^[\x20-\x7e]*$/.test(value)
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

/** The entry as it is after the events, the first one first. */
export function applyEvents(entry: QuarantineEntry, events: readonly QuarantineEvent[]): QuarantineEntry {
  return events.reduce(apply, entry)
}

function apply(entry: QuarantineEntry, event: QuarantineEvent): QuarantineEntry {
  if (event.event === 'released') {
    const to = new Set(event.release.to)
    return {
      ...entry,
      outcomes: entry.outcomes.map((each): QuarantineOutcome =>
        to.has(each.recipient.address) ? { ...each, state: 'released' } : each,
      ),
      releases: [...entry.releases, event.release],
    }
  }
  const named = new Set(event.recipients)
  const change = (outcome: QuarantineOutcome): QuarantineOutcome => {
    if (!named.has(outcome.recipient.address)) return outcome
    if (event.event === 'infected') return { ...outcome, category: 'virus', reason: event.reason }
    return outcome.state === undefined ? outcome : { ...outcome, state: 'deleted' }
  }
  return { ...entry, outcomes: entry.outcomes.map(change) }
}

/** Whether every copy that was kept is deleted. */
export function isDeletedForAll({ outcomes }: QuarantineEntry): boolean {
  return outcomes.every(({ state }) => state === undefined || state === 'deleted')
}
