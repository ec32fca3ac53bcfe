/** Keeps the first of many, in order, without holding them all. */
export interface FirstOf<T extends P, P = T> {
  /** Whether it would be among the first ones: else there is no need to make it. */
  wants(place: P): boolean
  add(value: T): void
  /** In order; at most `count`. */
  take(): T[]
}

/** @param count how many are of interest; absent: all */
export function firstOf<T extends P, P = T>(
  compare: (a: P, b: P) => number,
  count = Infinity,
): FirstOf<T, P> {
  let kept: T[] = []
  let last: T | undefined
  const cut = (): void => {
    kept = kept.sort(compare).slice(0, count)
    last = kept[count - 1]
  }
  return {
    wants: (place) => last === undefined || compare(place, last) < 0,
    add(value) {
      kept.push(value)
      // Now and then: sorting for each one would be the work of all.
      if (kept.length >= 2 * count + 1000) cut()
    },
    take() {
      cut()
      return kept
    },
  }
}
