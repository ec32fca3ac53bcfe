import type { FileLedgerOptions, Ledger, RedisOptions, SharedCache } from '@ecluse/state'
import {
  createRedisCache,
  createRedisLedger,
  createSharedLedger,
  openRedisLink,
  type RedisChange,
} from '@ecluse/state/redis'
import type { Log } from './log.ts'
import type { ReleaseStack } from './releaseStack.ts'

/** Redis, and what is kept in it. */
export interface SharedMemory {
  readonly cache: SharedCache
  /** Whether it answered last. */
  readonly isUp: () => boolean
  /** Values that were found under our keys and are not ours: cut, forged, or mixed up. */
  readonly oddValues: () => number
  /**
   * What puts a ledger that instances share beside one's own; absent: it is not wanted.
   *
   * @param deadlineMs how long a new message may take
   */
  ledgerBeside(options: LedgerOptions, deadlineMs: () => number): ((own: Ledger) => Ledger) | undefined
}

interface LedgerOptions {
  readonly ledger?: FileLedgerOptions
  readonly redis?: { readonly ledger: boolean }
}

/** From the deadline to the end of an attempt: its replies, and clocks that do not go alike. */
const ATTEMPT_GRACE_MS = 1000

/** Begins to connect. That Redis is away is no reason not to start, nor to refuse mail: the log and a metric tell. */
export function openSharedMemory(options: RedisOptions, log: Log, stack: ReleaseStack): SharedMemory {
  const link = openRedisLink(options, (change) => tell(log, change))
  stack.push(() => link.close())
  const { prefix, secret } = options
  const named = { prefix, ...(secret !== undefined && { secret }) }
  let odd = 0
  return {
    cache: createRedisCache(link, { ...named, onOdd: () => void odd++ }),
    isUp: () => link.state === 'up',
    oddValues: () => odd,
    ledgerBeside({ ledger, redis }, deadlineMs) {
      if (!ledger || redis?.ledger !== true) return undefined
      const { ttlMs } = ledger
      const attemptMs = (): number => deadlineMs() + ATTEMPT_GRACE_MS
      return (own) => createSharedLedger(own, createRedisLedger(link, { ...named, ttlMs, attemptMs }))
    },
  }
}

function tell(log: Log, { state, reason }: RedisChange): void {
  switch (state) {
    case 'up':
      return log.info({}, 'redis answers')
    case 'unwritable':
      return log.warn({ reason }, 'redis takes nothing new: what it has is used')
    case 'down':
      return log.warn({ reason }, 'redis does not answer: mail goes on without it')
  }
}
