/** How slow a client may be. */
export interface PaceLimits {
  /** What it must send of a message, on average; 0: any. */
  readonly bytesPerSecond: number
  /** How long it may be slower than that, and how long it may take for one command. */
  readonly graceMs: number
  /** From DATA to the final dot, however fast. */
  readonly receiveMs: number
}

/** As slow as it likes. */
export const ANY_PACE: PaceLimits = { bytesPerSecond: 0, graceMs: Infinity, receiveMs: Infinity }

/** What took too long: a command without its end, a body below the rate, or the whole of a message. */
export type Lateness = 'command' | 'body' | 'message'

/** What a client is at when it is looked at. */
export interface PaceState {
  /** It has begun a command line and not ended it. */
  readonly inLine: boolean
  /** It is its turn: we do not make it wait. */
  readonly owes: boolean
  /** Places run out: it has a tenth of its grace. */
  readonly stressed: boolean
}

const STRESSED = 0.1

/**
 * Whether a client that sends keeps up, looked at now and then: nothing is measured while bytes come in. As
 * smtpd_min_data_rate of Postfix, a budget of time that goes down as time passes and up with each byte, never above
 * the grace. RFC 5321 section 4.5.3.2 wants patience with silence, not with a byte a second.
 */
export class Pace {
  readonly #limits: PaceLimits
  #inBody = false
  #bytes = 0
  #lookedAt = 0
  /** Absent: nothing was going on when it was last looked at. */
  #phase: { readonly what: 'command' | 'body'; readonly since: number; leftMs: number } | undefined

  constructor(limits: PaceLimits) {
    this.#limits = limits
  }

  startBody(): void {
    this.#inBody = true
    this.#bytes = 0
    this.#phase = undefined
  }

  endBody(): void {
    this.#inBody = false
    this.#phase = undefined
  }

  received(bytes: number): void {
    this.#bytes += bytes
  }

  /**
   * Absent: in time.
   *
   * @param now milliseconds of a steady clock
   */
  look(now: number, { inLine, owes, stressed }: PaceState): Lateness | undefined {
    const elapsed = now - this.#lookedAt
    this.#lookedAt = now
    const bytes = this.#bytes
    this.#bytes = 0
    const what = this.#inBody ? 'body' : inLine ? 'command' : undefined
    if (what === undefined) {
      this.#phase = undefined
      return undefined
    }
    const { graceMs, receiveMs } = this.#limits
    const allowed = stressed ? graceMs * STRESSED : graceMs
    // It began since the last look: that time is on us.
    this.#phase ??= { what, since: now, leftMs: allowed + elapsed }
    const phase = this.#phase
    if (what === 'body' && now - phase.since > receiveMs) return 'message'
    if (owes) phase.leftMs += this.#earned(what, bytes, elapsed) - elapsed
    phase.leftMs = Math.min(phase.leftMs, allowed)
    return phase.leftMs < 0 ? what : undefined
  }

  #earned(what: 'command' | 'body', bytes: number, elapsed: number): number {
    if (what === 'command') return 0
    const { bytesPerSecond } = this.#limits
    return bytesPerSecond === 0 ? elapsed : (bytes / bytesPerSecond) * 1000
  }
}

/** Time, for what is looked at now and then. */
export interface Clock {
  /** Milliseconds, steady. */
  now(): number
  /** Runs the task again and again; the result stops that. */
  every(ms: number, task: () => void): () => void
}

/** The real one. */
export const CLOCK: Clock = {
  now: () => performance.now(),
  every(ms, task) {
    const timer = setInterval(task, ms)
    return () => clearInterval(timer)
  },
}
