import { fitsFacets, fitsText, wantsText } from './filter.ts'
import type { FileStoreParts } from './fileParts.ts'
import { firstOf } from './firstOf.ts'
import type { IndexLine } from './indexFile.ts'
import { readFront } from './messageFile.ts'
import type { QuarantineItem } from './record.ts'
import type { QuarantineFilter, QuarantinePage } from './store.ts'
import { checkId, unknownId, within } from './storeError.ts'

/** Where in the list a message stands. */
interface Place {
  readonly id: string
  readonly storedAtMs: number
}

/** A message of the list: its item is made when it is shown. */
interface Listed extends Place {
  readonly item?: () => QuarantineItem
}

/** The newest first. */
function compare(a: Place, b: Place): number {
  return b.storedAtMs - a.storedAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

/** The list of a file store: the index is read once, and only what is shown of it is held. */
export async function* listFiles(
  parts: FileStoreParts,
  filter: QuarantineFilter,
  page: QuarantinePage,
): AsyncGenerator<QuarantineItem> {
  const { limit = Infinity, offset = 0 } = page
  const listed = await within(`${parts.directory}: cannot be listed`, async () => {
    const after = page.after === undefined ? undefined : await placeOf(parts, page.after)
    const first = firstOf<Listed>(compare, offset + limit)
    const show = (line: IndexLine): void => {
      const { row } = line
      if (!fitsFacets(row, filter) || (after !== undefined && compare(row, after) <= 0)) return
      if (!first.wants(row)) return
      const item = line.hold()
      if (wantsText(filter) && !fitsText(item(), filter)) return
      first.add({ id: row.id, storedAtMs: row.storedAtMs, item })
    }
    await parts.catalogue.walk({ show, onDamaged: page.onDamaged })
    return first.take().slice(offset)
  })
  for (const { item } of listed) if (item !== undefined) yield item()
}

async function placeOf({ folders }: FileStoreParts, id: string): Promise<Place> {
  checkId(id)
  const file = await folders.find(id)
  if (file === undefined) throw unknownId(id)
  const { entry } = await readFront(file)
  return { id, storedAtMs: entry.storedAt.getTime() }
}
