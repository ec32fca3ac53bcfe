import type { Log } from '@ecluse/daemon'

/** The end of a process in which something broke that nobody caught. */
export interface CrashWatch {
  /** Fulfilled with the first one. From then on the state of the process cannot be trusted for long. */
  readonly happened: Promise<void>
  readonly crashed: boolean
  /** Whom to tell that it was an internal error; one that happened before is told at once. */
  counted(count: () => void): void
}

/** What a process does for it; tests give their own. */
export interface CrashingProcess {
  on(event: 'uncaughtException', listener: (error: unknown, origin: string) => void): unknown
  exit(code: number): void
}

/** For what does not come to its end although everything was closed. */
const LEAVE_MS = 5000

/**
 * Watches for exceptions and rejections that nobody caught. The first one is told to the log, and whoever waits for
 * {@link CrashWatch.happened} shall stop in order; the process ends with exit code 1 when that takes longer than it may,
 * and at once for a second one.
 *
 * @param drainMs how long stopping may take
 */
export function watchCrashes(log: Log, drainMs: number, around: CrashingProcess = process): CrashWatch {
  let crashed = false
  let tell: (() => void) | undefined
  let stop: () => void = () => undefined
  const happened = new Promise<void>((resolve) => {
    stop = resolve
  })
  around.on('uncaughtException', (err, origin) => {
    const again = crashed
    crashed = true
    try {
      const what = again ? 'ending at once' : 'stopping'
      log.error({ err, origin }, `internal error that nobody caught, ${what}`)
      tell?.()
    } catch {
      // Where not even this works, the exit code is left to tell.
      return around.exit(1)
    }
    if (again) return around.exit(1)
    setTimeout(() => around.exit(1), drainMs + LEAVE_MS).unref()
    stop()
  })
  return {
    happened,
    get crashed() {
      return crashed
    },
    counted(count) {
      tell = count
      if (crashed) count()
    },
  }
}
