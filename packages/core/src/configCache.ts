import { count, duration, section, size } from './schema.ts'

/** What is remembered of what scanners found. */
export function cacheSection() {
  const ttl = { min: '1s', max: '30d' }
  return section('Memory of what scanners found: another copy of a message is not shown to them.', {
    maxEntries: count('Results remembered; 0 switches it off.', { max: 10_000_000 }).prefault(100_000),
    maxBytes: size('Memory that they may take.', { min: '1MiB', max: '8GiB' }).prefault('64MiB'),
    cleanTtl: duration(
      'How long "clean" is remembered; no longer than the signatures that said it.',
      ttl,
    ).prefault('6h'),
    infectedTtl: duration(
      'How long a virus is remembered; no longer than the signatures that found it.',
      ttl,
    ).prefault('24h'),
    spamTtl: duration(
      'How long what a spam scanner said is remembered: it also looks at the world outside.',
      ttl,
    ).prefault('10m'),
    versionInterval: duration(
      'How often scanners are asked who they are; clamd also each time that its verdict is used.',
      {
        min: '1s',
        max: '1h',
      },
    ).prefault('10s'),
  })
}
