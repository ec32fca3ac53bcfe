import { fitsFacets, fitsText, wantsText } from './filter.ts'
import type { FileStoreParts } from './fileParts.ts'
import { firstOf } from './firstOf.ts'
import { HeldBytes, type HeldPlace } from './heldBytes.ts'
import { itemOfLine, type IndexLine, type IndexRow } from './indexFile.ts'
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
interface Listed {
  readonly row: IndexRow
  readonly rest: Buffer | HeldPlace
}

/** The newest first. */
function compare(a: Place, b: Place): number {
  return b.storedAtMs - a.storedAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

const compareListed = (a: Pick<Listed, 'row'>, b: Pick<Listed, 'row'>): number => compare(a.row, b.row)

/** The list of a file store: the index is read once, and only what is shown of it is held. */
export async function* listFiles(
  parts: FileStoreParts,
  filter: QuarantineFilter,
  page: QuarantinePage,
): AsyncGenerator<QuarantineItem> {
  const { limit = Infinity, offset = 0 } = page
  const held = new HeldBytes()
  // Of a page most are thrown away again, and can be.
  const hold = (rest: Buffer): Listed['rest'] => (limit === Infinity ? held.hold(rest) : Buffer.from(rest))
  const readsText = wantsText(filter)
  const listed = await within(`${parts.directory}: cannot be listed`, async () => {
    const after = page.after === undefined ? undefined : await placeOf(parts, page.after)
    const first = firstOf<Listed, Pick<Listed, 'row'>>(compareListed, offset + limit)
    const show = (line: IndexLine): void => {
      const { row, rest } = line
      if (!fitsFacets(row, filter) || (after !== undefined && compare(row, after) <= 0)) return
      if (!first.wants(line)) return
      if (readsText && !fitsText(itemOfLine(line), filter)) return
      first.add({ row, rest: hold(rest) })
    }
    await parts.catalogue.walk({ show, onDamaged: page.onDamaged })
    return first.take().slice(offset)
  })
  for (const { row, rest } of listed)
    yield itemOfLine({ row, rest: 'block' in rest ? held.read(rest) : rest })
}

async function placeOf({ folders }: FileStoreParts, id: string): Promise<Place> {
  checkId(id)
  const file = await folders.find(id)
  if (file === undefined) throw unknownId(id)
  const { entry } = await readFront(file)
  return { id, storedAtMs: entry.storedAt.getTime() }
}
