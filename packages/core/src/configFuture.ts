import { z } from 'zod'
import { count, duration, secret, section } from './schema.ts'

/**
 * Keys whose feature is not there: read as they will be, so that a file stays right. Leaving them out loses speed
 * or comfort; nothing that would change what happens to mail may be among them.
 */
export function futureSections() {
  const ttl = { min: '1s', max: '30d' }
  return {
    redis: section('Memory shared by several instances; no effect in this version.', {
      url: secret('Where Redis is: redis://[user:password@]host:port/database, or rediss:// with TLS.').regex(
        /^rediss?:\/\/\S+$/,
        { error: 'expected a URL such as redis://127.0.0.1:6379/0' },
      ),
    }).exactOptional(),
    cache: section('Memory of what scanners found; no effect in this version.', {
      maxEntries: count('Results remembered; 0 switches it off.', { max: 10_000_000 }).prefault(100_000),
      cleanTtl: duration('How long "clean" is remembered.', ttl).prefault('6h'),
      infectedTtl: duration('How long a virus is remembered.', ttl).prefault('24h'),
      spamTtl: duration('How long a spam score is remembered.', ttl).prefault('10m'),
      versionInterval: duration('How often engines are asked for new signatures.', {
        min: '1s',
        max: '1h',
      }).prefault('10s'),
    }).exactOptional(),
    notices: section('Mail about what was found; no effect in this version.', {
      admin: z
        .string({ error: 'expected a mail address' })
        .regex(/^[^\s@<>]{1,64}@[^\s@<>]{1,255}$/, { error: 'expected a mail address' })
        .meta({ description: 'Who is told of viruses.', notation: 'mail address' }),
    }).exactOptional(),
  }
}

/** Keys of {@link futureSections} that are read and do nothing. */
export const WITHOUT_EFFECT = ['redis', 'cache', 'notices'] as const
