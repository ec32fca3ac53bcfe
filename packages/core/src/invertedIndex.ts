import type { ListEntry } from './listEntry.ts'

/** Key → lists that have it: asks many lists at once, in time that depends on the answer and not on their number. */
export interface InvertedIndex {
  /** Lists in ascending order. Of the same key twice in one list the first counts. */
  readonly add: (key: string, posting: Posting) => void
  /**
   * The lists, ascending, that have one of the keys, and first without `!`. `more` is called with those that no key has
   * decided, through `decide`, and may add to the answer.
   *
   * @param among ascending; absent: all. With few of them it takes a step for each and not for each list with the key.
   */
  readonly find: (
    keys: readonly string[],
    among?: ReadonlySet<number>,
    more?: (answer: OpenAnswer) => void,
  ) => IndexHit[]
}

/** One entry of one list. */
export interface Posting {
  readonly list: number
  readonly negated: boolean
  readonly entry: ListEntry
}

/** A list that holds what was asked, and the entry and key that decided. */
export interface IndexHit {
  /** Its number, from 0. */
  readonly list: number
  readonly entry: ListEntry
  readonly key: string
}

/** An answer that can still grow. */
interface OpenAnswer {
  readonly decided: (list: number) => boolean
  /** Does nothing for a list that is decided. */
  readonly decide: (posting: Posting, key: string) => void
}

/** An empty index for that many lists. Their postings are added list by list, in ascending order. */
export function invertedIndex(lists: number): InvertedIndex {
  // Numbers in place of objects: with a million entries that is half of the memory. The number of a posting is twice
  // its place in these two, and one more when negated. Nearly all keys stand in one list only: no array.
  const listOf: number[] = []
  const entryOf: ListEntry[] = []
  const postings = new ShardedMap<number | number[]>()
  // The question at which a list was decided last: nothing to clear, and nothing to allocate, for each question.
  const decidedAt = new Uint32Array(lists)
  let question = 0

  const keep = ({ list, negated, entry }: Posting): number => {
    entryOf.push(entry)
    return (listOf.push(list) - 1) * 2 + Number(negated)
  }
  const read = (posting: number): Posting => ({
    list: listOf[posting >> 1] as number,
    entry: entryOf[posting >> 1] as ListEntry,
    negated: (posting & 1) === 1,
  })

  return {
    add(key, posting) {
      const old = postings.get(key)
      if (old === undefined) postings.set(key, keep(posting))
      else if (typeof old === 'number') {
        if (listOf[old >> 1] !== posting.list) postings.set(key, [old, keep(posting)])
      } else if (listOf[(old.at(-1) ?? 0) >> 1] !== posting.list) old.push(keep(posting))
    },
    find(keys, among, more) {
      question = (question + 1) >>> 0
      if (question === 0) {
        decidedAt.fill(0)
        question = 1
      }
      const found: IndexHit[] = []
      const decided = (list: number): boolean => decidedAt[list] === question
      const decide = ({ list, negated, entry }: Posting, key: string): void => {
        if (decided(list)) return
        decidedAt[list] = question
        if (!negated) found.push({ list, entry, key })
      }
      for (const key of keys) {
        const posting = postings.get(key)
        if (posting === undefined) continue
        const all = typeof posting === 'number' ? [posting] : posting
        for (const each of among ? chosen(all, among, listOf) : all) decide(read(each), key)
      }
      more?.({ decided, decide })
      return found.sort((a, b) => a.list - b.list)
    },
  }
}

/** What a binary search costs against a look at one list. */
const SEARCH_STEPS = 20

/** Of postings, by ascending list, those in the lists that are asked for. */
function chosen(
  postings: readonly number[],
  among: ReadonlySet<number>,
  listOf: readonly number[],
): readonly number[] {
  const list = (posting: number | undefined): number => listOf[(posting ?? 0) >> 1] as number
  if (among.size * SEARCH_STEPS > postings.length) return postings.filter((each) => among.has(list(each)))
  return Array.from(among).flatMap((wanted) => {
    let low = 0
    for (let high = postings.length; low < high;) {
      const middle = (low + high) >> 1
      if (list(postings[middle]) < wanted) low = middle + 1
      else high = middle
    }
    const each = postings[low]
    return each !== undefined && list(each) === wanted ? [each] : []
  })
}

const SHARDS = 64

/**
 * A map in many small ones: a map that grows is copied in one go, which for a million keys holds everything up for
 * 100 ms.
 */
class ShardedMap<V> {
  readonly #shards = Array.from({ length: SHARDS }, () => new Map<string, V>())

  get(key: string): V | undefined {
    return this.#of(key).get(key)
  }

  set(key: string, value: V): void {
    this.#of(key).set(key, value)
  }

  #of(key: string): Map<string, V> {
    // Some characters from all over the key are enough to spread keys, and few enough for long ones.
    let sum = key.length
    const stride = 1 + (key.length >> 3)
    for (let at = 0; at < key.length; at += stride) sum = (sum * 31 + key.charCodeAt(at)) | 0
    return this.#shards[(sum ^ (sum >>> 12)) & (SHARDS - 1)] as Map<string, V>
  }
}
