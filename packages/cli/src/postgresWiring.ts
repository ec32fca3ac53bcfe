import { parsePostgresUrl, type QuarantineConfig } from '@ecluse/core'
import type { PostgresOptions } from '@ecluse/quarantine'
import type { ReadConfigured } from './redisWiring.ts'

/**
 * How the configured PostgreSQL is spoken to; absent: copies are kept elsewhere.
 *
 * @throws FilterError E_CONFIG when a file that its URL names cannot be read
 */
export async function postgresOptions(
  { store, url = '', connections, timeout }: QuarantineConfig,
  read: ReadConfigured,
): Promise<PostgresOptions | undefined> {
  if (store !== 'postgres') return undefined
  const place = parsePostgresUrl(url)
  if (typeof place === 'string') throw new TypeError('quarantine.url: passed the schema, and is none')
  const { tls, ...rest } = place
  return {
    ...rest,
    ...(tls && {
      tls: {
        verify: tls.verify,
        ...(tls.ca !== undefined && { ca: await read(tls.ca, 'quarantine.url: sslrootcert') }),
      },
    }),
    connections,
    timeoutMs: timeout,
  }
}
