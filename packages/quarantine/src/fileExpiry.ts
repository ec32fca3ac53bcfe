import { unlink } from 'node:fs/promises'
import { FilterError } from '@ecluse/core'
import { removeEvents } from './eventFiles.ts'
import { takeLock } from './fileLock.ts'
import type { FileStoreParts } from './fileParts.ts'
import { firstOf } from './firstOf.ts'
import type { IndexLine } from './indexFile.ts'
import { compareForExpiry, isOverdue, type Perishable, type Retention } from './retention.ts'
import type { Expired, ExpiryWork, QuarantineUsage } from './store.ts'
import { codeOf } from './storeError.ts'

interface Candidate extends Perishable {
  readonly id: string
  readonly overdue: boolean
}

/** Deletes what the retention says, in its order; nothing where another process is at it. */
export async function expireFiles(
  parts: FileStoreParts,
  retention: Retention,
  work: ExpiryWork,
): Promise<Expired> {
  const lock = await takeLock(await parts.folders.lockPath('expire'))
  if (lock === undefined) return { files: 0, bytes: 0, more: false }
  try {
    const chosen = await choose(parts, retention, work)
    const now = chosen.slice(0, work.limit)
    const deleted = await removeAll(parts, now, work.signal)
    for (const shard of await parts.folders.shards()) await parts.catalogue.tidy(shard)
    return { ...deleted, more: chosen.length > work.limit }
  } finally {
    await lock.release()
  }
}

/** What has to go, in order; one more than the limit where there is more. */
async function choose(
  { catalogue }: FileStoreParts,
  retention: Retention,
  { now, limit, signal }: ExpiryWork,
): Promise<Candidate[]> {
  const first = firstOf<Candidate>(compareForExpiry, limit + 1)
  let bytes = 0
  await catalogue.walk({
    show: ({ row }: IndexLine) => {
      bytes += row.fileBytes
      const { id, category, storedAtMs, fileBytes, settled } = row
      const perishable = { category, storedAtMs, fileBytes, settled }
      const overdue = isOverdue(perishable, retention, now)
      if (!overdue && retention.maxBytes === undefined) return
      const candidate = { id, ...perishable, overdue }
      if (first.wants(candidate)) first.add(candidate)
    },
  })
  if (signal.aborted) throw new FilterError('E_ABORTED', 'nothing deleted')
  const { maxBytes = Infinity } = retention
  return first.take().filter((candidate) => {
    if (!candidate.overdue && bytes <= maxBytes) return false
    bytes -= candidate.fileBytes
    return true
  })
}

async function removeAll(
  { folders }: FileStoreParts,
  chosen: readonly Candidate[],
  signal: AbortSignal,
): Promise<QuarantineUsage> {
  const total = { files: 0, bytes: 0 }
  const touched = new Map<string, string>()
  for (const { id, fileBytes } of chosen) {
    if (signal.aborted) break
    const file = await folders.find(id)
    if (file === undefined || !(await unlinked(file.path))) continue
    await removeEvents(folders, id)
    touched.set(id.slice(0, 1), id)
    total.files++
    total.bytes += fileBytes
  }
  // Once for each folder, not for each message: a kill before that leaves them for the next time.
  for (const id of touched.values()) await folders.sync(id)
  return total
}

/** Whether it was there. */
async function unlinked(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return false
    throw err
  }
}
