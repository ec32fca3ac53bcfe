import type { ConfiguredScanner, Direction, Envelope, Scanner } from '@ecluse/core'
import type { PipelineParts } from './pipeline.ts'

/** What one message works with, from its dot to its reply, whatever is reloaded meanwhile. */
export interface MessageParts {
  readonly pipeline: PipelineParts
  readonly directionOf: (envelope: Envelope) => Direction
  /** Most messages between dot and reply; the newest parts say it for all. */
  readonly concurrency: number
  /** Bytes of all messages in files, as the newest parts say; absent: no limit. */
  readonly spoolBytes?: number
  /** From the final dot to the reply. */
  readonly deadlineMs: number
}

/** The parts of the instant in which they were borrowed. */
export interface BorrowedParts {
  readonly parts: MessageParts
  /** The message is done with them. Once. */
  release(): void
}

/** What nobody works with any more. */
export interface UnusedScanners {
  readonly scanners: readonly Scanner[]
  /** Names that no parts in use have. */
  readonly names: readonly string[]
}

interface Generation {
  readonly parts: MessageParts
  users: number
}

/** The parts that new messages get, and the older ones that some messages still work with. */
export class PartsInUse {
  #newest: Generation
  readonly #inUse = new Set<Generation>()
  readonly #onUnused: (unused: UnusedScanners) => void

  /** @param onUnused told of scanners once the last message that may ask them is done, and they are in no newer parts */
  constructor(first: MessageParts, onUnused: (unused: UnusedScanners) => void) {
    this.#newest = { parts: first, users: 0 }
    this.#inUse.add(this.#newest)
    this.#onUnused = onUnused
  }

  get newest(): MessageParts {
    return this.#newest.parts
  }

  borrow(): BorrowedParts {
    const generation = this.#newest
    generation.users++
    return {
      parts: generation.parts,
      release: () => {
        generation.users--
        this.#retire(generation)
      },
    }
  }

  /** Whoever borrows from here on gets these. */
  swap(next: MessageParts): void {
    const before = this.#newest
    this.#newest = { parts: next, users: 0 }
    this.#inUse.add(this.#newest)
    this.#retire(before)
  }

  /** Ends: the scanners of all parts, each once, those of messages that still run included. */
  end(): readonly Scanner[] {
    const scanners = this.#scanners().map(({ scanner }) => scanner)
    this.#inUse.clear()
    return [...new Set(scanners)]
  }

  #retire(generation: Generation): void {
    if (generation === this.#newest || generation.users > 0) return
    if (!this.#inUse.delete(generation)) return
    const left = this.#scanners()
    const gone = generation.parts.pipeline.scanners
    this.#onUnused({
      scanners: gone.map((of) => of.scanner).filter((of) => !left.some(({ scanner }) => scanner === of)),
      names: gone.map((of) => of.name).filter((of) => !left.some(({ name }) => name === of)),
    })
  }

  #scanners(): ConfiguredScanner[] {
    return [...this.#inUse].flatMap(({ parts }) => parts.pipeline.scanners)
  }
}
