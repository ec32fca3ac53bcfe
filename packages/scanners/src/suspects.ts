import type { ErrorCode, FilterError, Scanner } from '@ecluse/core'

/** What {@link Suspects} works with. */
export interface SuspectOptions {
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number
  /** Messages remembered for each engine; the one that failed longest ago is forgotten first. */
  readonly maxEntries: number
  /** How long after its last failure a message is remembered. */
  readonly ttlMs: number
}

/** How a scan ended. */
export interface ScanEnd {
  /** Absent: with an answer. */
  readonly error?: FilterError
  /** Whether it could not connect, be it at the second try. */
  readonly refused: boolean
  /** Whether the circuit of the engine opened because of it. */
  readonly opened: boolean
  /** Whether the circuit was open before it, and this message tried. */
  readonly isTrial: boolean
}

/** Failures that a message may have caused itself; a connection that never came about is none. */
const OWN_FAILURES: ReadonlySet<ErrorCode> = new Set([
  'E_SCANNER_TIMEOUT',
  'E_SCANNER_LOST',
  'E_SCANNER_PROTOCOL',
] as const)

/** All that an engine did between two answers. */
interface Run {
  /** So many failed that its circuit opened. */
  opened: boolean
  /** Somebody could not connect: it was not there. */
  refused: boolean
}

interface Suspect {
  /** Failures that count. */
  failures: number
  /** The last one, as long as it is not known whether it counts. */
  pending?: { readonly run: Run; readonly code: ErrorCode }
  at: number
}

interface Engine {
  run: Run
  /** By message, the one that failed last at the end. */
  readonly suspects: Map<string, Suspect>
  readonly turns: Turns
}

/**
 * Remembers which messages made which engine fail, so that one that does it again and again does not come back for
 * days.
 *
 * The rule: a failure counts for a message when the scan itself went wrong (no answer in time, connection lost, no sense
 * in the answer) while the circuit was closed, and the engine has answered for some other message since; until then,
 * nobody knows whether it is dead for everybody, and further failures of the message are the same one. Where so many
 * messages failed in between that the circuit opened, it was not the message: only a lost connection still counts, and
 * only where somebody could not connect after it, since that is what a crash looks like. A message that gets its answer
 * has a clean slate. Those with a failure that counts ask one after the other: else, of several that were
 * there when the engine crashed and come again together, nobody could tell who it was.
 */
export class Suspects {
  readonly #engines = new WeakMap<Scanner, Engine>()
  readonly #options: SuspectOptions

  constructor(options: SuspectOptions) {
    this.#options = options
  }

  /** How often the message made the engine fail, by the rule above. */
  failures(scanner: Scanner, message: string): number {
    const engine = this.#engine(scanner)
    const suspect = engine.suspects.get(message)
    if (!suspect) return 0
    if (this.#options.now() - suspect.at >= this.#options.ttlMs) {
      engine.suspects.delete(message)
      return 0
    }
    const { pending } = suspect
    if (pending && pending.run !== engine.run) {
      delete suspect.pending
      if (counts(pending)) suspect.failures++
      else if (suspect.failures === 0) engine.suspects.delete(message)
    }
    return suspect.failures
  }

  note(scanner: Scanner, message: string, { error, refused, opened, isTrial }: ScanEnd): void {
    const engine = this.#engine(scanner)
    if (!error) {
      engine.run = { opened: false, refused: false }
      engine.suspects.delete(message)
      return
    }
    if (refused) engine.run.refused = true
    if (opened) engine.run.opened = true
    if (isTrial || !OWN_FAILURES.has(error.code)) return
    const failures = this.failures(scanner, message)
    engine.suspects.delete(message)
    engine.suspects.set(message, {
      failures,
      pending: { run: engine.run, code: error.code },
      at: this.#options.now(),
    })
    if (engine.suspects.size <= this.#options.maxEntries) return
    for (const oldest of engine.suspects.keys()) {
      engine.suspects.delete(oldest)
      break
    }
  }

  /**
   * Waits until no other suspect asks the engine.
   *
   * @returns to be called when this one has asked
   * @throws what `signal` aborted with
   */
  async turn(scanner: Scanner, signal: AbortSignal): Promise<() => void> {
    return await this.#engine(scanner).turns.take(signal)
  }

  #engine(scanner: Scanner): Engine {
    let engine = this.#engines.get(scanner)
    if (!engine) {
      engine = { run: { opened: false, refused: false }, suspects: new Map(), turns: new Turns() }
      this.#engines.set(scanner, engine)
    }
    return engine
  }
}

function counts({ run, code }: NonNullable<Suspect['pending']>): boolean {
  return !run.opened || (run.refused && code === 'E_SCANNER_LOST')
}

/** One at a time, in the order of asking. */
class Turns {
  #taken = false
  readonly #waiting = new Set<() => void>()

  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken) await this.#wait(signal)
    this.#taken = true
    return () => this.#pass()
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        this.#waiting.delete(go)
        reject(signal.reason as Error)
      }
      this.#waiting.add(go)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** To the next one, without a moment in which somebody else could take it. */
  #pass(): void {
    const [next] = this.#waiting
    if (!next) {
      this.#taken = false
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
