import type { QuarantineConfig } from '@ecluse/core'
import { createReinjector, type ReinjectOptions } from '@ecluse/mail'
import { createFileStore, createMailboxStore, type QuarantineStore } from '@ecluse/quarantine'

/** Beside those of reinject.connections: what is kept is little. */
const MAILBOX_CONNECTIONS = 2

/**
 * The store that the configuration names. Whoever opens it closes it.
 *
 * @param nextHop how the re-entry service is spoken to; asked only where mail is kept in a mailbox
 * @throws FilterError E_QUARANTINE when it cannot be used as configured; E_CONFIG when a file of it cannot be read
 */
export async function openQuarantine(
  { store, mailbox, directory, compress }: QuarantineConfig,
  nextHop: () => Promise<ReinjectOptions>,
): Promise<QuarantineStore> {
  if (store === 'mailbox' && mailbox !== undefined) {
    const options = await nextHop()
    const gate = createReinjector({ ...options, connections: MAILBOX_CONNECTIONS })
    return createMailboxStore({ mailbox, hostname: options.hostname, gate })
  }
  return createFileStore(directory, { compress })
}
