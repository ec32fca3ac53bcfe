/** What was opened, closed in the opposite order, once, however often it is asked for. */
export class ReleaseStack {
  readonly #releasers: (() => Promise<void> | void)[] = []
  #released: Promise<void> | undefined

  push(releaser: () => Promise<void> | void): void {
    this.#releasers.push(releaser)
  }

  async release(): Promise<void> {
    this.#released ??= this.#releaseAll()
    await this.#released
  }

  async #releaseAll(): Promise<void> {
    for (let next = this.#releasers.pop(); next; next = this.#releasers.pop()) await next()
  }
}
