import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FilterError, type Message } from '@ecluse/core'
import { createSpool } from '@ecluse/mail'
import type { QuarantinedMessage } from '@ecluse/quarantine'

/** Up to here a message is held in memory: one at a time. */
const MEMORY_BYTES = 1024 * 1024

/**
 * The original as scanners want it, which read it more than once and at the same time: in memory, or in a temporary folder
 * that is gone when this settles.
 *
 * @throws FilterError E_QUARANTINE when the message is not the one that was kept
 */
export async function withSpooled<T>(
  kept: QuarantinedMessage,
  use: (message: Message) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-quarantine-'))
  try {
    const writer = createSpool({ directory, memoryBytes: MEMORY_BYTES }).create()
    try {
      for await (const chunk of kept.open() as AsyncIterable<Buffer>) await writer.write(chunk)
    } catch (error) {
      await writer.discard()
      throw error
    }
    const message = await writer.finish()
    try {
      if (message.digest !== kept.entry.digest) {
        throw new FilterError('E_QUARANTINE', `${kept.entry.id}: has other bytes than were kept`)
      }
      return await use(message)
    } finally {
      await message.discard()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
