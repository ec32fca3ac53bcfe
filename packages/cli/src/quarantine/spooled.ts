import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Message } from '@ecluse/core'
import { createSpool } from '@ecluse/mail'
import { spoolKept, type QuarantinedMessage } from '@ecluse/quarantine'

/** Up to here a message is held in memory: one at a time. */
const MEMORY_BYTES = 1024 * 1024

/**
 * The original as scanners want it: in memory, or in a temporary folder that is gone when this settles.
 *
 * @throws FilterError E_QUARANTINE when the message is not the one that was kept
 */
export async function withSpooled<T>(
  kept: QuarantinedMessage,
  use: (message: Message) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-quarantine-'))
  try {
    const message = await spoolKept(kept, createSpool({ directory, memoryBytes: MEMORY_BYTES }))
    try {
      return await use(message)
    } finally {
      await message.discard()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
