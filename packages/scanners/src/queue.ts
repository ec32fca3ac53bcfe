import { FilterError, type Scanner } from '@ecluse/core'

/**
 * The scanner, asked about so many messages at a time; the others wait in order, until their signal aborts: then they
 * fail with E_SCANNER_BUSY, which says nothing about the engine. For engines with fewer workers than we have messages: what waits here is answered in order, what waits in a
 * backlog of theirs is refused when that is full. Questions for the version do not wait.
 *
 * @param atOnce at least 1
 */
export function queued(scanner: Scanner, { name, atOnce }: { name: string; atOnce: number }): Scanner {
  const waiting = new Set<{ readonly signal: AbortSignal; readonly go: () => void }>()
  let running = 0

  const turn = async (signal: AbortSignal): Promise<void> => {
    if (running < atOnce) {
      running++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        waiting.delete(waiter)
        const what = `${name}: ${running} scans at once, and it was not yet its turn`
        reject(new FilterError('E_SCANNER_BUSY', what, { cause: signal.reason }))
      }
      const go = (): void => {
        waiting.delete(waiter)
        signal.removeEventListener('abort', abort)
        resolve()
      }
      const waiter = { signal, go }
      if (signal.aborted) return abort()
      signal.addEventListener('abort', abort, { once: true })
      waiting.add(waiter)
    })
  }
  const leave = (): void => {
    const [next] = waiting
    // The place goes from hand to hand, so that nobody overtakes.
    if (next) next.go()
    else running--
  }
  return {
    async scan(request, signal) {
      await turn(signal)
      try {
        return await scanner.scan(request, signal)
      } finally {
        leave()
      }
    },
    isWaiting: (signal) => [...waiting].some((waiter) => waiter.signal === signal),
    version: (signal) => scanner.version(signal),
    ...(scanner.loaded && { loaded: scanner.loaded.bind(scanner) }),
    ...(scanner.learn && { learn: (...about) => scanner.learn?.(...about) ?? Promise.resolve(false) }),
    ...(scanner.close && { close: () => scanner.close?.() ?? Promise.resolve() }),
  }
}
