import type { ConfiguredScanner, LoadedSignatures, Scanner } from '@ecluse/core'
import type { QuarantineStore } from '@ecluse/quarantine'
import type { Log } from './log.ts'
import { lookAgain, type LookParts, type Looked } from './rescanOne.ts'

/** What is looked at again, with what, and when. */
export interface RescanParts extends Omit<LookParts, 'told'> {
  /** Whether it has to wait: mail that comes in needs the room, or what it takes does not answer. */
  readonly isBusy: () => boolean
  /** After so long what had to wait is tried again. */
  readonly intervalMs: number
}

type Looking = RescanParts & LookParts

/** Looks again at what is kept as unchecked. */
export interface Rescanner {
  /** What a scanner has loaded; absent: it does not answer. */
  engineSaid(scanner: ConfiguredScanner, loaded: LoadedSignatures | undefined): void
  /** Begins nothing more, and waits for the message that is looked at. */
  close(): Promise<void>
}

/** Messages of one look into the list. */
const PAGE = 100
/** Then another process may have its turn: who has a lock for ten minutes counts as gone. */
const ROUND_MS = 60_000

/** One way through all of them. */
interface Pass {
  /** Id of the last one that was looked at; absent: none was. */
  after?: string
  readonly done: Record<Looked, number>
}

const newPass = (): Pass => ({ done: { released: 0, kept: 0, infected: 0, failed: 0 } })

/**
 * Looks at what is kept as unchecked, one message at a time, each time a virus scanner has loaded something else, answers
 * again, or is new. Several instances with one quarantine do it one after the other, in rounds of a minute. A failure is
 * logged, and the pass begun anew after `intervalMs`.
 */
export function watchRescan(parts: RescanParts): Rescanner {
  const ending = new AbortController()
  const looking = { ...parts, told: new Set<string>() }
  const states = new WeakMap<Scanner, string>()
  let pass: Pass | undefined
  let running: Promise<void> | undefined

  const goOn = async (): Promise<void> => {
    try {
      while (pass && !ending.signal.aborted) {
        const current: Pass = pass
        const end = await round(looking, current, ending.signal)
        if (end === 'later') return
        if (end === 'more') continue
        tellOf(current, parts.log)
        // Who came meanwhile wants another one.
        if (pass === current) pass = undefined
      }
    } catch (error) {
      if (ending.signal.aborted) return
      parts.log.warn({ err: error }, 'quarantine: cannot be looked at again')
      pass = newPass()
    }
  }
  const start = (): void => {
    if (ending.signal.aborted || !pass) return
    running ??= goOn().finally(() => {
      running = undefined
    })
  }
  const timer = setInterval(start, parts.intervalMs)
  return {
    engineSaid({ scanner, concerns }, loaded) {
      if (!concerns.includes('virus')) return
      if (!loaded) {
        states.delete(scanner)
        return
      }
      if (states.get(scanner) === loaded.state) return
      states.set(scanner, loaded.state)
      pass = newPass()
      start()
    },
    async close() {
      clearInterval(timer)
      ending.abort()
      await running
    },
  }
}

/** @returns `more`: the round is over, and not all were looked at; `later`: it has to wait */
async function round(parts: Looking, pass: Pass, signal: AbortSignal): Promise<'done' | 'more' | 'later'> {
  if (parts.isBusy()) return 'later'
  return (
    (await parts.quarantine.alone('rescan', async () => await lookAtSome(parts, pass, signal))) ?? 'later'
  )
}

const WAITING: Parameters<QuarantineStore['list']>[0] = { categories: ['unchecked'], states: ['kept'] }

async function lookAtSome(
  parts: Looking,
  pass: Pass,
  signal: AbortSignal,
): Promise<'done' | 'more' | 'later'> {
  const until = performance.now() + ROUND_MS
  const { after } = pass
  let count = 0
  const page = { limit: PAGE, ...(after !== undefined && { after }) }
  for await (const { id } of parts.quarantine.list(WAITING, page)) {
    if (signal.aborted || parts.isBusy()) return 'later'
    if (performance.now() > until) return 'more'
    pass.done[await lookAgain(parts, id, signal)]++
    pass.after = id
    count++
  }
  return count < PAGE ? 'done' : 'more'
}

function tellOf({ done }: Pass, log: Log): void {
  const looked = Object.values(done).reduce((sum, count) => sum + count, 0)
  log[looked > 0 ? 'info' : 'debug']({ looked, ...done }, 'quarantine: looked again at unchecked mail')
}
