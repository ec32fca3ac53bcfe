import { FilterError } from '@ecluse/core'
import { ledgerError } from './ledgerError.ts'
import type { KeyedLine, SegmentStore } from './segmentStore.ts'

interface Job {
  /** Empty: a probe. */
  readonly lines: readonly KeyedLine[]
  readonly resolve: () => void
  readonly reject: (error: FilterError) => void
}

/**
 * Writes what it is given, one write at a time: what comes while one is under way goes together into the next. Remembers
 * that writing failed until it works again.
 */
export class CommitQueue {
  readonly #store: SegmentStore
  readonly #now: () => number
  readonly #what: string
  #waiting: Job[] = []
  #work: Promise<void> | undefined
  #failure: FilterError | undefined
  #probe: Promise<void> | undefined
  #closed = false

  /** @param what begins the message of every error */
  constructor(store: SegmentStore, { now, what }: { readonly now: () => number; readonly what: string }) {
    this.#store = store
    this.#now = now
    this.#what = what
  }

  /** Whether the last write failed. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  /** Fulfilled when the kernel has the bytes. @throws FilterError E_LEDGER */
  async write(lines: readonly KeyedLine[]): Promise<void> {
    if (this.#closed) throw new FilterError('E_LEDGER', `${this.#what}: it is closed`)
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ lines, resolve, reject })
      this.#work ??= this.#run()
    })
  }

  /** Tests that it can be written; who asks while a test is under way gets its result. @throws FilterError E_LEDGER */
  async probe(): Promise<void> {
    this.#probe ??= this.write([]).finally(() => {
      this.#probe = undefined
    })
    return await this.#probe
  }

  /** Writes what waits, and takes nothing more. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#work
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting
      this.#waiting = []
      try {
        const lines = jobs.flatMap((job) => job.lines)
        await (lines.length > 0 ? this.#store.append(lines, this.#now()) : this.#store.probe(this.#now()))
        this.#failure = undefined
        for (const { resolve } of jobs) resolve()
      } catch (err) {
        this.#failure = ledgerError(err, this.#what)
        for (const { reject } of jobs) reject(this.#failure)
      }
    }
    this.#work = undefined
  }
}
