import { Breakers, Suspects, guardedScan, type CircuitChange, type ScanOne } from '@ecluse/scanners'
import type { Log } from './log.ts'

/** Messages that made a scanner fail, remembered for each scanner. */
const MAX_SUSPECTS = 10_000
/** maximal_queue_lifetime of Postfix: it does not come again with a message that is older. */
const SUSPECT_TTL_MS = 5 * 86_400_000

/** What is remembered of scanners and messages that failed, as long as the daemon runs. */
export interface DaemonGuards {
  readonly breakers: Breakers
  /** @param scanFailures how often one message may make a scanner fail; 0, or absent: without end */
  scanWith(scanFailures?: number): ScanOne
}

/** @param retryPauseMs before a connection that was refused is tried once more */
export function openScanGuards(log: Log, retryPauseMs: number): DaemonGuards {
  const now = (): number => performance.now()
  const breakers = new Breakers({ now, onChange: (change) => tellOfCircuit(change, log) })
  const suspects = new Suspects({ now, maxEntries: MAX_SUSPECTS, ttlMs: SUSPECT_TTL_MS })
  return {
    breakers,
    scanWith: (maxFailures = 0) => guardedScan({ breakers, suspects, maxFailures, retryPauseMs }),
  }
}

function tellOfCircuit({ scanner, open, failures, error }: CircuitChange, log: Log): void {
  if (open) log.warn({ scanner, failures, err: error }, 'scanner failed too often: circuit open, not asked')
  else log.info({ scanner }, 'scanner answers again: circuit closed')
}
