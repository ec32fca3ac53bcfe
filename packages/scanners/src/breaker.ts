import type { BreakerSettings, ConfiguredScanner, ErrorCode, FilterError, Scanner } from '@ecluse/core'

/** How a scan ended, as far as it says something about the engine. */
type EngineOutcome = 'answered' | FilterError

/** A scan that was let through. */
export interface Admission {
  /** Whether it is the one message that tries while the others are not let through. */
  readonly isTrial: boolean
  /**
   * Tells how it ended, once.
   *
   * @returns whether the circuit opened because of it
   */
  settle(outcome: EngineOutcome): boolean
}

/** A circuit that opened or closed. */
export interface CircuitChange {
  /** Name of the scanner. */
  readonly scanner: string
  readonly open: boolean
  /** Failures in a row; 0 when it closed. */
  readonly failures: number
  /** The last one; absent when it closed. */
  readonly error?: FilterError
}

/** What {@link Breakers} work with. */
export interface BreakerOptions {
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number
  /** Told once of each change. */
  readonly onChange: (change: CircuitChange) => void
}

/**
 * Failures of the engine. A message that is too large for it (E_SCANNER_LIMIT), or whose time ran out for other
 * reasons (E_ABORTED, E_SCANNER_BUSY), says nothing about it.
 */
const ENGINE_FAILURES: ReadonlySet<ErrorCode> = new Set([
  'E_SCANNER_CONNECT',
  'E_SCANNER_LOST',
  'E_SCANNER_TIMEOUT',
  'E_SCANNER_PROTOCOL',
] as const)

interface Circuit {
  /** In a row. */
  failures: number
  /** When it opened, or its last trial failed; absent: closed. */
  openSince?: number
  lastError?: FilterError
  isTrying: boolean
}

/**
 * A circuit breaker for each engine. Closed: every message asks, and so many failures in a row as its settings say open
 * it. Open: nobody asks, each message has its failure at once. After `retryAfterMs` one message at a time tries: an
 * answer closes the circuit, a failure starts the wait anew. Whatever answers meanwhile, closes it too.
 *
 * The state belongs to the engine: it lives as long, also through a reload that keeps the engine.
 */
export class Breakers {
  readonly #circuits = new WeakMap<Scanner, Circuit>()
  readonly #options: BreakerOptions

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  /** Absent: do not ask, it failed too often just before. */
  admit(configured: ConfiguredScanner): Admission | undefined {
    const { breaker } = configured
    if (!isActive(breaker)) return UNGUARDED
    const circuit = this.#circuit(configured)
    const isTrial = circuit.openSince !== undefined
    if (isTrial) {
      if (!this.#wouldTry(circuit, breaker)) return undefined
      circuit.isTrying = true
    }
    return this.#admission(configured, breaker, isTrial)
  }

  /** Whether it is open, or being tried; false for a scanner without a breaker. */
  isOpen({ breaker, scanner }: ConfiguredScanner): boolean {
    return isActive(breaker) && this.#circuits.get(scanner)?.openSince !== undefined
  }

  /** Whether the next message would not be let through. Not so where it would try: somebody has to. */
  refuses({ breaker, scanner }: ConfiguredScanner): boolean {
    const circuit = this.#circuits.get(scanner)
    if (!isActive(breaker) || circuit?.openSince === undefined) return false
    return !this.#wouldTry(circuit, breaker)
  }

  /**
   * The engine answered another question than a scan. That closes a circuit that is open because nobody could connect;
   * an engine that answers VERSION may still hang or break at every message.
   */
  answered(configured: ConfiguredScanner): void {
    const circuit = this.#circuits.get(configured.scanner)
    if (circuit?.lastError?.code === 'E_SCANNER_CONNECT') this.#succeed(configured, circuit)
  }

  #admission(configured: ConfiguredScanner, settings: BreakerSettings, isTrial: boolean): Admission {
    const circuit = this.#circuit(configured)
    return {
      isTrial,
      settle: (outcome) => {
        if (isTrial) circuit.isTrying = false
        if (outcome === 'answered') this.#succeed(configured, circuit)
        else if (ENGINE_FAILURES.has(outcome.code)) {
          return this.#fail(configured, circuit, { settings, isTrial, error: outcome })
        }
        return false
      },
    }
  }

  #succeed({ name }: ConfiguredScanner, circuit: Circuit): void {
    const wasOpen = circuit.openSince !== undefined
    circuit.failures = 0
    delete circuit.openSince
    delete circuit.lastError
    if (wasOpen) this.#options.onChange({ scanner: name, open: false, failures: 0 })
  }

  #fail(
    { name }: ConfiguredScanner,
    circuit: Circuit,
    { settings, isTrial, error }: { settings: BreakerSettings; isTrial: boolean; error: FilterError },
  ): boolean {
    const isOpen = circuit.openSince !== undefined
    // It began before the circuit opened: known by now.
    if (isOpen && !isTrial) return false
    circuit.failures++
    circuit.lastError = error
    if (!isOpen && circuit.failures < settings.failures) return false
    circuit.openSince = this.#options.now()
    if (!isOpen) this.#options.onChange({ scanner: name, open: true, failures: circuit.failures, error })
    return !isOpen
  }

  #wouldTry({ openSince = 0, isTrying }: Circuit, { retryAfterMs }: BreakerSettings): boolean {
    return !isTrying && this.#options.now() - openSince >= retryAfterMs
  }

  #circuit({ scanner }: ConfiguredScanner): Circuit {
    let circuit = this.#circuits.get(scanner)
    if (!circuit) {
      circuit = { failures: 0, isTrying: false }
      this.#circuits.set(scanner, circuit)
    }
    return circuit
  }
}

function isActive(settings: BreakerSettings | undefined): settings is BreakerSettings {
  return settings !== undefined && settings.failures > 0
}

const UNGUARDED: Admission = { isTrial: false, settle: () => false }
