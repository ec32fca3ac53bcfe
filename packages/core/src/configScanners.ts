import { z } from 'zod'
import type { ScannerConfig } from './config.ts'
import { ON_ERROR, type ScannerKind } from './scanner.ts'
import { choice, count, duration, list, section, sectionError, size, type Section } from './schema.ts'

const NAME = 'expected 1–40 letters, digits, hyphens or underscores'

/**
 * The keys of one scanner of a kind: those that all have, then its own.
 *
 * @throws TypeError when the kind has a key of its own that all have.
 */
export function scannerSection(kind: ScannerKind): Section {
  const common = commonKeys(kind)
  const clash = Object.keys(kind.options.shape).find((key) => Object.hasOwn(common, key))
  if (clash !== undefined) throw new TypeError(`scanner kind ${kind.kind}: ${clash} belongs to all scanners`)
  return section(kind.description, { ...common, ...kind.options.shape })
}

function commonKeys({ kind, concerns, defaults }: ScannerKind) {
  return {
    name: z
      .string({ error: NAME })
      .regex(/^[A-Za-z0-9_-]{1,40}$/, { error: NAME })
      .meta({ description: 'Its name in log and metrics, unlike the others.', notation: 'name' })
      .prefault(kind),
    kind: z.literal(kind).meta({ description: 'What it is.', notation: kind }),
    timeout: duration('How long it may take for one message.', { min: '100ms', max: '590s' }).prefault(
      defaults?.timeout ?? '60s',
    ),
    maxSize: size(
      concerns.includes('virus')
        ? 'Larger messages are not shown to it and count as unchecked; absent: no limit.'
        : 'Larger messages are not shown to it and get no score from it; absent: no limit.',
      { min: '1KiB', max: '2GiB' },
    ).exactOptional(),
    concurrency: count(
      'Messages that it looks at at the same time, the others wait; absent: limits.concurrency.',
      { min: 1, max: 1000 },
    ).exactOptional(),
    onError: choice(
      'When it fails: tempfail, Postfix tries again; pass, as if it were not there; unchecked, the destiny of that.',
      ON_ERROR,
    ).prefault(defaults?.onError ?? 'tempfail'),
    backupFor: nameList(
      'Asked only when all the scanners named here have failed for the message.',
    ).exactOptional(),
    breaker: section('When it is left alone because it fails: meanwhile it counts as failed at once.', {
      failures: count('Failures in a row after which it is left alone; 0: never.', { max: 1000 }).prefault(5),
      retryAfter: duration('How long it is left alone; then one message tries.', {
        min: '1s',
        max: '1h',
      }).prefault('30s'),
    }).prefault({}),
  }
}

const NAMES = 'expected the name of a scanner, or a list of names'

/** One name, or several; names that no scanner has are found with the whole configuration. */
function nameList(description: string) {
  return z
    .union([z.string(), z.array(z.string()).min(1, { error: NAMES }).max(100, { error: NAMES })], {
      error: NAMES,
    })
    .meta({ description, notation: 'name, or list of names' })
    .transform((names): readonly string[] => (typeof names === 'string' ? [names] : names))
}

/** The schema of `scanners`: entries whose keys depend on their kind. */
export function scannerList(kinds: readonly ScannerKind[]) {
  const words = kinds.map(({ kind }) => kind)
  const options = kinds.map((kind) =>
    scannerSection(kind).transform((values): ScannerConfig => separateOptions(values, kind)),
  )
  // The list of kinds is not empty where it matters: with none, every entry is of an unknown kind.
  const entry = z.discriminatedUnion('kind', options as unknown as [(typeof options)[number]], {
    error: ({ code }) =>
      code === 'invalid_union' ? `expected one of: ${words.join(', ')}` : sectionError({ code }),
  })
  return list('What looks at each message, all at the same time.', entry, { max: 100 })
}

/** Puts the kind's own values under `options`. */
function separateOptions(values: Readonly<Record<string, unknown>>, kind: ScannerKind): ScannerConfig {
  const own = Object.keys(kind.options.shape)
  const entries = Object.entries(values)
  const common = Object.fromEntries(entries.filter(([key]) => !own.includes(key)))
  // The section has read each of these keys with the type that ScannerConfig names.
  return {
    ...(common as unknown as Omit<ScannerConfig, 'options'>),
    options: Object.fromEntries(entries.filter(([key]) => own.includes(key))),
  }
}
