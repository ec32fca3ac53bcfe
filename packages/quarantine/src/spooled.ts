import { FilterError } from '@ecluse/core'
import type { Spool, SpooledMessage } from '@ecluse/mail'
import type { QuarantinedMessage } from './store.ts'

/**
 * The original in a spool, as scanners want it, which read it more than once and at the same time. Whoever gets it discards
 * it.
 *
 * @throws FilterError E_SPOOL; E_QUARANTINE when the message cannot be read, or is not the one that was kept
 */
export async function spoolKept(
  kept: QuarantinedMessage,
  spool: Pick<Spool, 'create'>,
): Promise<SpooledMessage> {
  const writer = spool.create()
  try {
    for await (const chunk of kept.open() as AsyncIterable<Buffer>) await writer.write(chunk)
  } catch (error) {
    await writer.discard()
    throw error
  }
  const message = await writer.finish()
  const { id, digest } = kept.entry
  if (message.digest === digest) return message
  await message.discard()
  throw new FilterError('E_QUARANTINE', `${id}: has other bytes than were kept`)
}
