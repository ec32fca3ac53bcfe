import { setTimeout as setTimeoutPromise } from 'node:timers/promises'

/** Of the time to drain, this is for the answers to what is given up, and for those that we take leave of. */
export const LEAVE_MS = 1000

/** Waits for it, but not longer. */
export async function atMost(ms: number, event: Promise<void>): Promise<void> {
  const timer = new AbortController()
  try {
    await Promise.race([event, setTimeoutPromise(ms, undefined, { signal: timer.signal })])
  } finally {
    timer.abort()
  }
}
