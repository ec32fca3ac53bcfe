/** Items of one piece: some 2 ms of reading what another thread has sent. */
const PIECE_ITEMS = 2000

/** Some items of a long list. */
export interface Piece {
  /** Keys and indexes that lead to the list. */
  readonly path: readonly (string | number)[]
  /** They belong behind those that are there. */
  readonly items: readonly unknown[]
}

/** Plain values without what is long in them. */
export interface Apart {
  readonly rest: unknown
  /** In the order in which {@link putBack} needs them. */
  readonly pieces: readonly Piece[]
}

/**
 * Takes the items of all long lists out of a copy of plain values, so that they can be sent in steps: who receives them
 * reads each message in one go.
 */
export function takeApart(value: unknown): Apart {
  const pieces: Piece[] = []
  return { rest: without(value, [], pieces), pieces }
}

function without(value: unknown, path: Piece['path'], pieces: Piece[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (!Array.isArray(value)) {
    const entries = Object.entries(value)
    return Object.fromEntries(entries.map(([key, inner]) => [key, without(inner, [...path, key], pieces)]))
  }
  const list: readonly unknown[] = value
  const part = (start: number, inner: Piece[]): unknown[] =>
    list
      .slice(start, start + PIECE_ITEMS)
      .map((item, index) => without(item, [...path, start + index], inner))
  if (list.length <= PIECE_ITEMS) return part(0, pieces)
  for (let start = 0; start < list.length; start += PIECE_ITEMS) {
    const inner: Piece[] = []
    pieces.push({ path, items: part(start, inner) })
    for (const piece of inner) pieces.push(piece)
  }
  return []
}

/** Puts a piece back where it was. @throws TypeError when there is no list */
export function putBack(value: unknown, { path, items }: Piece): void {
  let list = value
  for (const step of path) list = (list as Readonly<Record<string | number, unknown>>)[step]
  if (!Array.isArray(list)) throw new TypeError(`no list at ${path.join('.')}`)
  for (const item of items) list.push(item)
}
