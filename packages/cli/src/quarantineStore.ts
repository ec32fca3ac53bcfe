import type { QuarantineConfig } from '@ecluse/core'
import { createFileStore, type QuarantineStore } from '@ecluse/quarantine'

/**
 * The store that the configuration names. Whoever opens it closes it.
 *
 * @throws FilterError E_QUARANTINE when it cannot be used as configured; E_CONFIG when a file of it cannot be read
 */
export async function openQuarantine({ directory, compress }: QuarantineConfig): Promise<QuarantineStore> {
  return createFileStore(directory, { compress })
}
