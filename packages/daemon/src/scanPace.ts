import type { ConfiguredScanner, Scanner } from '@ecluse/core'

interface Sample {
  readonly sizeBytes: number
  readonly ms: number
}

const MAX_SAMPLES = 16
/** Below this, the size of a message does not tell how long it takes. */
const SMALL_BYTES = 64 * 1024
/** While nothing is known of a scanner, so long; at most a quarter of its timeout. */
const UNKNOWN_MS = 5000
/** Nobody is to wait 50 ms longer than its own scan takes; timers of a busy process are late. */
const MARGIN_MS = 35

/** How long the last scans of each engine took, and so what another one may take. */
export class ScanPace {
  readonly #samples = new WeakMap<Scanner, Sample[]>()

  /** A scan that came to its end. */
  note({ scanner }: ConfiguredScanner, sample: Sample): void {
    const samples = this.#samples.get(scanner)
    if (!samples) return void this.#samples.set(scanner, [sample])
    samples.push(sample)
    if (samples.length > MAX_SAMPLES) samples.shift()
  }

  /**
   * How long it is worth waiting for somebody else's scan of such a message, in milliseconds: what the slowest of the
   * last ones would have taken for it, and 35 ms; at most half of the scanner's timeout, since a scan of one's own may
   * follow.
   */
  patienceMs({ scanner, timeoutMs }: ConfiguredScanner, sizeBytes: number): number {
    const samples = this.#samples.get(scanner)
    if (!samples) return Math.min(UNKNOWN_MS, timeoutMs / 4)
    const expected = samples.map((of) => of.ms * Math.max(1, sizeBytes / Math.max(of.sizeBytes, SMALL_BYTES)))
    return Math.min(Math.max(...expected) + MARGIN_MS, timeoutMs / 2)
  }
}
