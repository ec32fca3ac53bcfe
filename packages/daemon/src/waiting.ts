import { setTimeout as delay } from 'node:timers/promises'

/** Waits so long, or until the signal aborts. Never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch {
    // Only an abort ends it, which whoever waits looks at.
  }
}

/**
 * What `work` gives; absent: not within this time, or the signal aborted. The work itself goes on.
 *
 * @param work does not reject
 */
export function within<T>(
  work: Promise<T>,
  { ms, signal }: { readonly ms: number; readonly signal: AbortSignal },
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const leave = (value?: T): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      resolve(value)
    }
    const abort = (): void => leave()
    const timer = setTimeout(abort, ms)
    if (signal.aborted) return leave()
    signal.addEventListener('abort', abort, { once: true })
    void work.then(leave)
  })
}
