import { parsePostgresUrl, type QuarantineConfig } from '@ecluse/core'
import { createFileStore, createPostgresStore, type QuarantineStore } from '@ecluse/quarantine'
import { postgresOptions } from './postgresWiring.ts'
import type { ReadConfigured } from './redisWiring.ts'

/**
 * The store that the configuration names. Whoever opens it closes it.
 *
 * @throws FilterError E_QUARANTINE when it cannot be used as configured; E_CONFIG when a file of it cannot be read
 */
export async function openQuarantine(kept: QuarantineConfig, read: ReadConfigured): Promise<QuarantineStore> {
  const postgres = await postgresOptions(kept, read)
  if (postgres) return createPostgresStore(postgres)
  return createFileStore(kept.directory, { compress: kept.compress })
}

/** Where copies are, for people: without the password. */
export function quarantinePlace({ store, url, directory }: QuarantineConfig): string {
  const place = store === 'postgres' && url !== undefined ? parsePostgresUrl(url) : directory
  if (typeof place === 'string') return place
  return `PostgreSQL ${place.host}:${place.port}/${place.database}`
}
