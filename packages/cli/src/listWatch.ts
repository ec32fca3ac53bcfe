import { stampOf, type ListFile } from './listFiles.ts'

/** How often list files are looked at. A change is in force within twice that. */
const LIST_INTERVAL_MS = 5000

/** What a watch is about. */
export interface Watched {
  /** As they were read last; another array whenever any of them was read again. */
  readonly listFiles: readonly ListFile[]
  /** Reads these paths again. Never rejects. */
  reread(paths: readonly string[]): Promise<void>
}

/**
 * Looks whether list files are other than when they were read. By their stamps and not by events of the system: those
 * do not come from network folders, and follow a file that has been replaced to where it went.
 */
export class ListWatch {
  readonly #watched: Watched
  #known: readonly ListFile[] = []
  /** By path: the stamp that was read, or was tried in vain. */
  #done = new Map<string, string>()
  /** By path: the stamp when it was looked at last. */
  #seen = new Map<string, string>()
  #looking = false

  constructor(watched: Watched) {
    this.#watched = watched
  }

  /**
   * Looks once. What has changed is read when two looks in a row see the same: a file that is being written is let
   * alone. Does nothing while the look before is not done: a network folder may take its time.
   */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const settled = await this.#settled()
      if (settled.length > 0) await this.#watched.reread(settled)
    } finally {
      this.#looking = false
    }
  }

  async #settled(): Promise<string[]> {
    const { listFiles } = this.#watched
    if (listFiles !== this.#known) {
      const tried = this.#done
      // Of a file that was not read again with the others, what was tried in vain stays tried.
      const before = new Map(this.#known.map(({ path, stamp }) => [path, stamp]))
      this.#done = new Map(
        listFiles.map(({ path, stamp }) => [
          path,
          before.get(path) === stamp ? (tried.get(path) ?? stamp) : stamp,
        ]),
      )
      this.#known = listFiles
    }
    const stamps = await Promise.all(listFiles.map(async ({ path }) => [path, await stampOf(path)] as const))
    const seen = this.#seen
    this.#seen = new Map(stamps)
    const settled = stamps.filter(
      ([path, stamp]) => stamp !== this.#done.get(path) && stamp === seen.get(path),
    )
    for (const [path, stamp] of settled) this.#done.set(path, stamp)
    return settled.map(([path]) => path)
  }
}

/** Looks from time to time, until it is closed. */
export function watchLists(watched: Watched): { close(): void } {
  const watch = new ListWatch(watched)
  const timer = setInterval(() => void watch.look(), LIST_INTERVAL_MS)
  return { close: () => clearInterval(timer) }
}
