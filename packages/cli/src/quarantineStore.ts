import { parsePostgresUrl, type QuarantineConfig } from '@ecluse/core'
import { createReinjector, type ReinjectOptions } from '@ecluse/mail'
import { createFileStore, createMailboxStore, type QuarantineStore } from '@ecluse/quarantine'
import { postgresOptions } from './postgresWiring.ts'
import type { ReadConfigured } from './redisWiring.ts'

/** Beside those of reinject.connections: what is kept is little. */
const MAILBOX_CONNECTIONS = 2

/** What opening a store may take; each is asked only where the store needs it. */
interface StoreNeeds {
  /** Reads the authorities of PostgreSQL. */
  readonly read: ReadConfigured
  /** How the re-entry service is spoken to, for a mailbox. */
  readonly nextHop: () => Promise<ReinjectOptions>
}

/**
 * The store that the configuration names. Whoever opens it closes it.
 *
 * @throws FilterError E_QUARANTINE when it cannot be used as configured; E_CONFIG when a file of it cannot be read
 */
export async function openQuarantine(kept: QuarantineConfig, needs: StoreNeeds): Promise<QuarantineStore> {
  const { mailbox } = kept
  if (kept.store === 'mailbox' && mailbox !== undefined) {
    const options = await needs.nextHop()
    const gate = createReinjector({ ...options, connections: MAILBOX_CONNECTIONS })
    return createMailboxStore({ mailbox, hostname: options.hostname, gate })
  }
  const postgres = await postgresOptions(kept, needs.read)
  if (postgres) {
    const { createPostgresStore } = await import('@ecluse/quarantine/postgres')
    return createPostgresStore(postgres)
  }
  return createFileStore(kept.directory, { compress: kept.compress })
}

/** Where copies are, for people: without the password. */
export function quarantinePlace({ store, url, mailbox, directory }: QuarantineConfig): string {
  if (store === 'mailbox' && mailbox !== undefined) return mailbox
  const place = store === 'postgres' && url !== undefined ? parsePostgresUrl(url) : directory
  if (typeof place === 'string') return place
  return `PostgreSQL ${place.host}:${place.port}/${place.database}`
}
