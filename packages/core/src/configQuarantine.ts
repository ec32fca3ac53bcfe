import { z } from 'zod'
import { parsePostgresUrl } from './postgresUrl.ts'
import { choice, count, duration, mailAddress, path, secret, section, size } from './schema.ts'
import { CATEGORIES, type Category } from './verdict.ts'

/** Milliseconds for each category; one that is absent is kept for ever. */
export type KeepTimes = Readonly<Partial<Record<Category, number>>>

/** `quarantine`. */
export function quarantineSection() {
  return section('Where copies are kept.', {
    store: choice(
      'What copies are kept in; postgres is for several machines, mailbox for whoever reads them as mail.',
      QUARANTINE_STORES,
    ).prefault('files'),
    url: postgresUrl().exactOptional(),
    connections: count('Connections to PostgreSQL at most.', { min: 1, max: 100 }).prefault(8),
    timeout: duration('How long one answer of PostgreSQL is waited for; then the mail is deferred.', {
      min: '100ms',
      max: '60s',
    }).prefault('10s'),
    mailbox: mailAddress(
      'With store: mailbox, who gets each copy as a mail, through the re-entry service; in localDomains.',
    ).exactOptional(),
    directory: path('Folder of the copies, for our user alone.').prefault(QUARANTINE_DIRECTORY),
    keep: keepTimes().exactOptional(),
    maxSize: size(
      'How much is kept at most: beyond it, what nobody waits for goes first, then the oldest spam, then the oldest.',
      { min: '1MiB', max: '16384GiB' },
    ).exactOptional(),
    compress: choice('How new copies are packed; zstd needs Node.js 22.15.', [
      'none',
      'gzip',
      'zstd',
    ]).prefault('none'),
    rescan: choice(
      'Whether mail that was discarded and kept because it was "unchecked" is looked at again when a virus scanner ' +
        'has other signatures, or answers again: what then passes is delivered.',
      ['none', 'unchecked'],
    ).prefault('none'),
    secret: secret(
      'Makes links that release a message, for `console`: at least 32 characters, the same for all instances; a new one makes all links void.',
    )
      .min(32, { error: 'expected at least 32 characters' })
      .exactOptional(),
  }).superRefine(({ store, url, mailbox }, context) => {
    const need = (message: string, hint: string): void =>
      context.addIssue({ code: 'custom', path: ['store'], message, params: { hint } })
    if (store === 'postgres' && url === undefined) {
      need(
        'postgres needs url',
        'write url: postgres://user:password@host/database, or file:PATH of a file with it',
      )
    }
    if (store === 'mailbox' && mailbox === undefined) {
      need('mailbox needs mailbox', 'write mailbox: quarantine@ and a domain of yours')
    }
  })
}

/** What copies can be kept in. */
export const QUARANTINE_STORES = ['files', 'postgres', 'mailbox'] as const

/** Where files are kept unless the configuration says another folder. */
export const QUARANTINE_DIRECTORY = '/var/lib/ecluse/quarantine'

function postgresUrl() {
  return secret(
    'Where PostgreSQL is: postgres://user:password@host:port/database, with ?sslmode=verify-full for TLS.',
  ).superRefine((url, context) => {
    const read = parsePostgresUrl(url)
    if (typeof read === 'string') context.addIssue({ code: 'custom', message: read })
  })
}

/** One duration for all, or one for each category that is named. */
function keepTimes() {
  const time = duration('How long.', { min: '1h', max: '3650d' })
  const each = section(
    'How long.',
    Object.fromEntries(CATEGORIES.map((category) => [category, z.exactOptional(time)])),
  )
  return z
    .unknown()
    .transform((input, context): KeepTimes => {
      const read = typeof input === 'object' && input !== null ? each.safeParse(input) : time.safeParse(input)
      if (read.success) return typeof read.data === 'number' ? forAll(read.data) : read.data
      for (const issue of read.error.issues) context.issues.push({ ...issue, input } as z.core.$ZodRawIssue)
      return z.NEVER
    })
    .meta({
      description:
        'How long copies are kept, all or by category, as { virus: 90d, spam: 14d }; absent: for ever.',
      notation: 'duration 1h–3650d',
    })
}

function forAll(time: number): KeepTimes {
  return Object.fromEntries(CATEGORIES.map((category) => [category, time]))
}
