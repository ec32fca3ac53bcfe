import { z } from 'zod'
import { choice, duration, mailAddress, path, secret, section, size } from './schema.ts'
import { CATEGORIES, type Category } from './verdict.ts'

/** Milliseconds for each category; one that is absent is kept for ever. */
export type KeepTimes = Readonly<Partial<Record<Category, number>>>

/** `quarantine`. */
export function quarantineSection() {
  return section('Where copies are kept.', {
    store: choice(
      'What copies are kept in; mailbox is for whoever reads them as mail.',
      QUARANTINE_STORES,
    ).prefault('files'),
    mailbox: mailAddress(
      'With store: mailbox, who gets each copy as a mail, through the re-entry service; in localDomains.',
    ).exactOptional(),
    directory: path('Folder of the copies, for our user alone.').prefault('/var/lib/ecluse/quarantine'),
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
    secret: secret(
      'Makes links that release a message, for `console`: at least 32 characters, the same for all instances; a new one makes all links void.',
    )
      .min(32, { error: 'expected at least 32 characters' })
      .exactOptional(),
  }).superRefine(({ store, mailbox }, context) => {
    if (store !== 'mailbox' || mailbox !== undefined) return
    const params = { hint: 'write mailbox: quarantine@ and a domain of yours' }
    context.addIssue({ code: 'custom', path: ['store'], message: 'mailbox needs mailbox', params })
  })
}

/** What copies can be kept in. */
export const QUARANTINE_STORES = ['files', 'mailbox'] as const

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
