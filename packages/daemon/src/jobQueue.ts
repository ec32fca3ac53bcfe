type Job = () => Promise<void>

/** Notices that wait; each is some KiB. */
const MAX_WAITING = 1000

/** Runs jobs one after the other. */
export class JobQueue {
  readonly #waiting: Job[] = []
  readonly #onBug: (error: unknown) => void
  #running: Promise<void> | undefined
  #ended = false

  constructor(onBug: (error: unknown) => void) {
    this.#onBug = onBug
  }

  /** Whether there is room for it. */
  push(job: Job): boolean {
    if (this.#ended || this.#waiting.length >= MAX_WAITING) return false
    this.#waiting.push(job)
    this.#running ??= this.#run()
    return true
  }

  /** Takes no more but this one, for which there is always room; fulfilled when it is done. */
  async end(last: Job): Promise<void> {
    this.#ended = true
    this.#waiting.push(last)
    this.#running ??= this.#run()
    await this.#running
  }

  async #run(): Promise<void> {
    // The message whose notice this is gets its reply first.
    await new Promise<void>((resolve) => void setImmediate(resolve))
    for (let job = this.#waiting.shift(); job; job = this.#waiting.shift()) {
      try {
        await job()
      } catch (error) {
        this.#onBug(error)
      }
    }
    this.#running = undefined
  }
}
