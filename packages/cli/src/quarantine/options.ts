import { CATEGORIES, duration, FilterError, type Category } from '@ecluse/core'
import {
  RELEASE_FORMS,
  type QuarantineFilter,
  type QuarantinePage,
  type ReleaseForm,
} from '@ecluse/quarantine'
import { escapeControls } from '../terminal.ts'

/** The options of all actions, as node:util parseArgs takes them. */
export const QUARANTINE_OPTIONS = {
  config: { type: 'string', doc: 'The configuration file.' },
  json: { type: 'boolean', doc: 'list, show, stats, rescan: for scripts.' },
  recipient: { type: 'string', doc: 'Only mail to this address, or to this domain.' },
  sender: { type: 'string', doc: 'Only mail from this address, or from this domain; "" is the null sender.' },
  category: { type: 'string', multiple: true, doc: 'Only mail of this category; may be repeated.' },
  'min-score': { type: 'string', doc: 'Only mail with at least so many points.' },
  'max-score': { type: 'string', doc: 'Only mail with at most so many points.' },
  'older-than': { type: 'string', doc: 'Only mail that is older: 14d, 2h.' },
  'newer-than': { type: 'string', doc: 'Only mail that is newer: 14d, 2h.' },
  subject: { type: 'string', doc: 'Only mail with this text in its subject.' },
  limit: { type: 'string', doc: 'list: at most so many.' },
  offset: { type: 'string', doc: 'list: without the first so many.' },
  after: { type: 'string', doc: 'list: only what comes behind this id.' },
  raw: { type: 'boolean', doc: 'show: the original bytes.' },
  attachments: { type: 'boolean', doc: 'show: the names of the attachments only.' },
  to: {
    type: 'string',
    multiple: true,
    doc: 'release: to this address, and not to the blocked recipients; may be repeated.',
  },
  as: { type: 'string', doc: 'release: resend, attachment or plain.' },
  learn: { type: 'string', doc: 'release: ham, what the spam scanners shall learn.' },
  force: { type: 'boolean', doc: 'release: even a virus, and even a second time.' },
  format: { type: 'string', doc: 'export: eml or mbox.' },
  release: { type: 'boolean', doc: 'rescan: releases what would now pass.' },
} as const

type Name = keyof typeof QUARANTINE_OPTIONS

/** Those that choose messages. */
export const FILTER_OPTIONS: readonly Name[] = [
  'recipient',
  'sender',
  'category',
  'min-score',
  'max-score',
  'older-than',
  'newer-than',
  'subject',
]

/** What the options say; those of other actions are absent or empty. */
export interface QuarantineOptions {
  readonly config?: string
  readonly filter: QuarantineFilter
  readonly page: Pick<QuarantinePage, 'limit' | 'offset' | 'after'>
  readonly json: boolean
  readonly raw: boolean
  readonly attachments: boolean
  readonly to: readonly string[]
  readonly as?: ReleaseForm
  readonly learn?: 'ham'
  readonly force: boolean
  readonly format: 'eml' | 'mbox'
  readonly release: boolean
}

/** Values as node:util parseArgs reads them. */
export type GivenOptions = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>

/**
 * Reads the options of an action.
 *
 * @throws FilterError E_USAGE for one that the action does not know, or that makes no sense.
 */
export function readOptions(
  { name, options: known }: { readonly name: string; readonly options: readonly string[] },
  given: GivenOptions,
  now: Date,
): QuarantineOptions {
  // Options of every command, such as --debug, are not ours to judge.
  const own = Object.keys(given).filter((key) => key !== 'config' && Object.hasOwn(QUARANTINE_OPTIONS, key))
  const unknown = own.find((key) => !known.includes(key))
  if (unknown !== undefined) throw usage(`quarantine ${name}: does not know --${unknown}`)
  const values = new Values(name, given)
  const chosen = ['json', 'raw', 'attachments'].filter((key) => key !== 'attachments' && given[key] === true)
  if (chosen.length > 1) throw usage(`quarantine ${name}: either --json or --raw`)
  const config = values.text('config')
  return {
    ...(config !== undefined && { config }),
    filter: filterOf(values, now),
    page: { ...values.count('limit'), ...values.count('offset'), ...values.named('after') },
    json: given['json'] === true,
    raw: given['raw'] === true,
    attachments: given['attachments'] === true,
    to: values.texts('to'),
    ...values.word('as', RELEASE_FORMS),
    ...values.word('learn', ['ham'] as const),
    force: given['force'] === true,
    format: values.word('format', ['eml', 'mbox']).format ?? 'eml',
    release: given['release'] === true,
  }
}

/** @returns E_USAGE with where to look */
export function usage(message: string): FilterError {
  return new FilterError('E_USAGE', message, { hint: 'see ecluse quarantine --help' })
}

function filterOf(values: Values, now: Date): QuarantineFilter {
  const categories = values.texts('category').map((word): Category => {
    const category = CATEGORIES.find((each) => each === word)
    if (category === undefined) throw values.wrong('category', word, `one of: ${CATEGORIES.join(', ')}`)
    return category
  })
  const [before, since] = [values.age('older-than'), values.age('newer-than')]
  const [minScore, maxScore] = [values.score('min-score'), values.score('max-score')]
  return {
    ...(categories.length > 0 && { categories }),
    ...(before !== undefined && { storedBefore: new Date(now.getTime() - before) }),
    ...(since !== undefined && { storedSince: new Date(now.getTime() - since) }),
    ...(minScore !== undefined && { minScore }),
    ...(maxScore !== undefined && { maxScore }),
    ...values.named('recipient'),
    ...values.named('sender'),
    ...values.named('subject'),
  }
}

const AGE = duration('Age.')

class Values {
  readonly #action: string
  readonly #given: GivenOptions
  constructor(action: string, given: GivenOptions) {
    this.#action = action
    this.#given = given
  }

  text(name: Name): string | undefined {
    const value = this.#given[name]
    return typeof value === 'string' ? value : undefined
  }

  texts(name: Name): string[] {
    return [this.#given[name]].flat().filter((value) => typeof value === 'string')
  }

  named<N extends Name>(name: N): { [K in N]?: string } {
    const value = this.text(name)
    return (value === undefined ? {} : { [name]: value }) as { [K in N]?: string }
  }

  word<N extends Name, const W extends string>(name: N, words: readonly W[]): { [K in N]?: W } {
    const value = this.text(name)
    if (value === undefined) return {}
    const word = words.find((each) => each === value)
    if (word === undefined) throw this.wrong(name, value, `one of: ${words.join(', ')}`)
    return { [name]: word } as { [K in N]?: W }
  }

  count<N extends Name>(name: N): { [K in N]?: number } {
    const value = this.text(name)
    if (value === undefined) return {}
    if (!/^\d{1,9}$/.test(value)) throw this.wrong(name, value, 'a number')
    return { [name]: Number(value) } as { [K in N]?: number }
  }

  score(name: Name): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (!/^-?\d{1,6}(?:\.\d{1,3})?$/.test(value)) throw this.wrong(name, value, 'a number of points')
    return Number(value)
  }

  /** Milliseconds. */
  age(name: Name): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const read = AGE.safeParse(value)
    if (!read.success) throw this.wrong(name, value, 'a duration such as 30s, 5m, 2h or 30d')
    return read.data
  }

  wrong(name: Name, value: string, expected: string): FilterError {
    const got = escapeControls(JSON.stringify(value.slice(0, 64)))
    return usage(`quarantine ${this.#action}: --${name}: expected ${expected}, got ${got}`)
  }
}
