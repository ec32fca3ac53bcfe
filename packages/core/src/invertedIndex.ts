/** Key → lists that have it: asks many lists at once, in time that depends on the answer and not on their number. */
export interface InvertedIndex {
  /** Lists in ascending order. Of the same key twice in one list the first counts. */
  readonly add: (key: string, list: number, negated: boolean) => void
  /**
   * The numbers, ascending, of the lists that have one of the keys, and first without `!`. `more` is called with
   * those that no key has decided, through `decide`, and may add to the answer.
   */
  readonly find: (keys: readonly string[], more?: (answer: OpenAnswer) => void) => number[]
}

/** An answer that can still grow. */
interface OpenAnswer {
  readonly decided: (list: number) => boolean
  /** Does nothing for a list that is decided. */
  readonly decide: (list: number, negated: boolean) => void
}

export function invertedIndex(lists: number): InvertedIndex {
  // A posting is twice the list's number, and one more when negated. Nearly all keys stand in one list only: no array.
  const postings = new Map<string, number | number[]>()
  // The question at which a list was decided last: nothing to clear, and nothing to allocate, for each question.
  const decidedAt = new Uint32Array(lists)
  let question = 0

  return {
    add(key, list, negated) {
      const posting = list * 2 + Number(negated)
      const old = postings.get(key)
      if (old === undefined) postings.set(key, posting)
      else if (typeof old === 'number') {
        if (old >> 1 !== list) postings.set(key, [old, posting])
      } else if ((old.at(-1) ?? 0) >> 1 !== list) old.push(posting)
    },
    find(keys, more) {
      question = (question + 1) >>> 0
      if (question === 0) {
        decidedAt.fill(0)
        question = 1
      }
      const found: number[] = []
      const decided = (list: number): boolean => decidedAt[list] === question
      const decide = (list: number, negated: boolean): void => {
        if (decided(list)) return
        decidedAt[list] = question
        if (!negated) found.push(list)
      }
      for (const key of keys) {
        const posting = postings.get(key)
        if (posting === undefined) continue
        for (const each of typeof posting === 'number' ? [posting] : posting)
          decide(each >> 1, (each & 1) === 1)
      }
      more?.({ decided, decide })
      return found.sort((a, b) => a - b)
    },
  }
}
