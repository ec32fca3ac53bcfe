import { setImmediate } from 'node:timers/promises'
import { FilterError, type Steps } from '@ecluse/core'

/** Short against what a message takes, which waits for some ten turns of the event loop. */
const TURN_MS = 2

/**
 * Does long work a few milliseconds at a time: what else there is to do, such as other mail, goes on in between. Short
 * work is done at once.
 *
 * @throws FilterError E_ABORTED when `signal` aborts in between
 */
export async function inTurns<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let until = performance.now() + TURN_MS
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() < until) continue
    await setImmediate()
    if (signal?.aborted) throw new FilterError('E_ABORTED', 'given up', { cause: signal.reason })
    until = performance.now() + TURN_MS
  }
}
