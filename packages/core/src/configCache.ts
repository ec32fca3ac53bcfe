import { count, duration, section } from './schema.ts'

/** What is remembered of what scanners found. Read, without effect. */
export function cacheSection() {
  const ttl = { min: '1s', max: '30d' }
  return section('Memory of what scanners found; no effect in this version.', {
    maxEntries: count('Results remembered; 0 switches it off.', { max: 10_000_000 }).prefault(100_000),
    cleanTtl: duration('How long "clean" is remembered.', ttl).prefault('6h'),
    infectedTtl: duration('How long a virus is remembered.', ttl).prefault('24h'),
    spamTtl: duration('How long a spam score is remembered.', ttl).prefault('10m'),
    versionInterval: duration('How often engines are asked for new signatures.', {
      min: '1s',
      max: '1h',
    }).prefault('10s'),
  })
}
