import { FilterError, type Scanner } from '@ecluse/core'

/**
 * The scanner, asked about so many messages at a time; the others wait in order, within the deadline that their signal
 * tells. For engines with fewer workers than we have messages: what waits here is answered in order, what waits in a
 * backlog of theirs is refused when that is full. Questions for the version do not wait.
 *
 * @param atOnce at least 1
 */
export function queued(scanner: Scanner, { name, atOnce }: { name: string; atOnce: number }): Scanner {
  const waiting = new Set<() => void>()
  let running = 0

  const turn = async (signal: AbortSignal): Promise<void> => {
    if (running < atOnce) {
      running++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        waiting.delete(go)
        const what = `${name}: ${running} scans at once, and it was not yet its turn`
        reject(new FilterError('E_SCANNER_TIMEOUT', what, { cause: signal.reason }))
      }
      const go = (): void => {
        waiting.delete(go)
        signal.removeEventListener('abort', abort)
        resolve()
      }
      if (signal.aborted) return abort()
      signal.addEventListener('abort', abort, { once: true })
      waiting.add(go)
    })
  }
  const leave = (): void => {
    const [next] = waiting
    // The place goes from hand to hand, so that nobody overtakes.
    if (next) next()
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
    version: (signal) => scanner.version(signal),
    ...(scanner.close && { close: () => scanner.close?.() ?? Promise.resolve() }),
  }
}
