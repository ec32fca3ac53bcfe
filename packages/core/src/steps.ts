/**
 * Long work in small steps: whoever runs it may let others have their turn between two of them. Nothing of it can be
 * seen before it is done.
 */
export type Steps<T> = Generator<void, T, void>

/** Entries of a list that are one step, a fraction of a millisecond. */
const ENTRIES_OF_STEP = 500
/** Of short lists, so many are one step. */
export const LISTS_OF_STEP = 100

/** All steps at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** The items with their numbers, a step after each {@link ENTRIES_OF_STEP} of them. */
export function* inSteps<T>(items: readonly T[], work: (item: T, index: number) => void): Steps<void> {
  for (const [index, item] of items.entries()) {
    if (index % ENTRIES_OF_STEP === ENTRIES_OF_STEP - 1) yield
    work(item, index)
  }
}
