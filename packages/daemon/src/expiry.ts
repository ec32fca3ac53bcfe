import type { QuarantineStore, Retention } from '@ecluse/quarantine'
import type { Log } from './log.ts'

/** What is tidied up, how, and how often. */
export interface ExpiryOptions {
  readonly quarantine: QuarantineStore
  readonly retention: Retention
  readonly intervalMs: number
  readonly log: Log
}

/** Messages that are deleted in one go at most: mail comes in meanwhile, and there is another go. */
const AT_ONCE = 1000

/**
 * Deletes what the retention says, a bounded number every `intervalMs`, for the first time after so long. Several
 * instances with one quarantine leave it to one of them at a time. A failure is logged, and tried again.
 */
export function watchExpiry({ quarantine, retention, intervalMs, log }: ExpiryOptions): {
  /** Stops, and waits for the message that is being deleted. */
  close(): Promise<void>
} {
  const ending = new AbortController()
  let running: Promise<void> | undefined
  const expire = async (): Promise<void> => {
    try {
      const work = { now: new Date(), limit: AT_ONCE, signal: ending.signal }
      const { files, bytes, more } = await quarantine.expire(retention, work)
      if (files > 0) log.info({ files, bytes, more }, 'quarantine: expired mail deleted')
    } catch (error) {
      if (!ending.signal.aborted) log.warn({ err: error }, 'quarantine: expired mail not deleted')
    }
  }
  const timer = setInterval(() => {
    running ??= expire().finally(() => {
      running = undefined
    })
  }, intervalMs)
  return {
    async close() {
      clearInterval(timer)
      ending.abort()
      await running
    },
  }
}
