import type { ReceiverEvent } from '@ecluse/mail'
import type { Log } from './log.ts'
import type { Metrics, Refusal } from './metrics.ts'

/** Why a connection was refused or closed, as metrics name it. */
const REFUSALS: ReadonlyMap<ReceiverEvent['event'], Refusal> = new Map([
  ['untrusted', 'untrusted'],
  ['proxy', 'proxy'],
  ['crowded', 'connections'],
  ['unused', 'unused'],
  ['slow', 'slow'],
])

/** What happens to connections, in log and metrics. */
export function tellOf(
  event: ReceiverEvent,
  { log, metrics }: { readonly log: Log; readonly metrics: Pick<Metrics, 'refused' | 'internalErrors'> },
): void {
  const reason = REFUSALS.get(event.event)
  if (reason) metrics.refused(reason, 'count' in event ? event.count : 1)
  if (!('cause' in event)) return log.warn({ ...event }, 'connection')
  const { cause, ...fields } = event
  if (event.event !== 'bug') return log.warn({ ...fields, err: cause }, 'connection')
  metrics.internalErrors.inc()
  log.error({ ...fields, err: cause }, 'internal error on a connection')
}
