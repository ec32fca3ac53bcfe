import { secret, section } from './schema.ts'

/** Where instances share what they know. Read, without effect. */
export function redisSection() {
  return section('Memory shared by several instances; no effect in this version.', {
    url: secret('Where Redis is: redis://[user:password@]host:port/database, or rediss:// with TLS.').regex(
      /^rediss?:\/\/\S+$/,
      { error: 'expected a URL such as redis://127.0.0.1:6379/0' },
    ),
  })
}
