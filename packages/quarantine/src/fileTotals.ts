import { CATEGORIES, type Category } from '@ecluse/core'
import { fitsFacets, fitsText, wantsText } from './filter.ts'
import type { FileStoreParts } from './fileParts.ts'
import { itemOfLine, type IndexLine } from './indexFile.ts'
import type { QuarantineFilter, QuarantineStats, QuarantineUsage } from './store.ts'

// A file system's clock may tick slowly: what changed so recently may change again under the same time.
const SETTLED_MS = 2000

/** Counts what is kept, and remembers it for the folders that do not change. */
export function createTotals({ folders, catalogue }: FileStoreParts): { usage(): Promise<QuarantineUsage> } {
  const counted = new Map<string, QuarantineUsage & { readonly changedMs: number }>()

  async function count(shard: string): Promise<QuarantineUsage> {
    const changedMs = await folders.changedMs(shard)
    const known = counted.get(shard)
    if (known?.changedMs === changedMs) return known
    const total = { files: 0, bytes: 0 }
    await catalogue.walkShard(shard, {
      show: ({ row }) => {
        total.files++
        total.bytes += row.fileBytes
      },
    })
    if (Date.now() - changedMs > SETTLED_MS) counted.set(shard, { ...total, changedMs })
    return total
  }

  return {
    async usage() {
      let [files, bytes] = [0, 0]
      for (const shard of await folders.shards()) {
        const total = await count(shard)
        files += total.files
        bytes += total.bytes
      }
      return { files, bytes }
    },
  }
}

interface Figures {
  files: number
  bytes: number
  oldestMs: number
  newestMs: number
}

/** The figures of what the filter lets through. */
export async function statsOf(
  { catalogue }: FileStoreParts,
  filter: QuarantineFilter,
): Promise<QuarantineStats> {
  const figures = new Map<Category, Figures>()
  let settled = 0
  const show = (line: IndexLine): void => {
    const { category, fileBytes, storedAtMs } = line.row
    if (!fitsFacets(line.row, filter) || (wantsText(filter) && !fitsText(itemOfLine(line), filter))) return
    if (line.row.settled) settled++
    const of = figures.get(category) ?? { files: 0, bytes: 0, oldestMs: Infinity, newestMs: -Infinity }
    figures.set(category, {
      files: of.files + 1,
      bytes: of.bytes + fileBytes,
      oldestMs: Math.min(of.oldestMs, storedAtMs),
      newestMs: Math.max(of.newestMs, storedAtMs),
    })
  }
  await catalogue.walk({ show })
  const categories = CATEGORIES.flatMap((category) => {
    const of = figures.get(category)
    if (of === undefined) return []
    const { files, bytes, oldestMs, newestMs } = of
    return [{ category, files, bytes, oldest: new Date(oldestMs), newest: new Date(newestMs) }]
  })
  return {
    files: categories.reduce((sum, { files }) => sum + files, 0),
    bytes: categories.reduce((sum, { bytes }) => sum + bytes, 0),
    categories,
    settled,
  }
}
