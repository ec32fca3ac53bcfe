import type { ConfiguredScanner, LoadedSignatures, Scanner, ScannerVersion } from '@ecluse/core'

/** A question that some wait for. */
interface Asking {
  /** The one that is under way. */
  now?: Promise<LoadedSignatures | undefined>
  /** The one that follows it, for whoever came meanwhile. */
  next?: Promise<LoadedSignatures | undefined>
}

interface Engine extends Asking {
  /** Absent: it has not been asked, or did not answer. */
  known?: LoadedSignatures
}

/**
 * What each engine is and has loaded, as far as its answers depend on it. Only what an engine said after the
 * question was put counts as known for that question: so a signature that it has loaded before a message came is
 * never missed by what is remembered.
 */
export class EngineVersions {
  readonly #engines = new WeakMap<Scanner, Engine>()
  readonly #questions = new Set<AbortController>()
  readonly #timeoutMs: number

  /** @param timeoutMs for each question; an engine that does not answer is unknown from then on */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** What it said last, however long ago; absent: unknown. */
  known({ scanner }: ConfiguredScanner): LoadedSignatures | undefined {
    return this.#engines.get(scanner)?.known
  }

  /** It was asked in the background. Fulfilled when {@link known} is right. Never rejects. */
  async answered({ scanner }: ConfiguredScanner, version: ScannerVersion | undefined): Promise<void> {
    const engine = this.#engine(scanner)
    if (!version) delete engine.known
    else if (scanner.loaded) await this.#ask(scanner)
    else {
      const state = JSON.stringify([version.engine, version.signatures, version.signatureTimestamp])
      engine.known = { state, isCertain: true }
    }
  }

  /**
   * What it has loaded, asked after this call; of an engine that cannot tell, what it said last. One question serves all
   * who come before it is put. Never rejects.
   *
   * @returns absent: it does not answer
   */
  async confirm({ scanner }: ConfiguredScanner): Promise<LoadedSignatures | undefined> {
    return scanner.loaded ? await this.#ask(scanner) : this.#engines.get(scanner)?.known
  }

  /** Ends what is being asked. */
  close(): void {
    for (const question of this.#questions) question.abort()
  }

  #ask(scanner: Scanner): Promise<LoadedSignatures | undefined> {
    const engine = this.#engine(scanner)
    if (!engine.now) {
      engine.now = this.#put(scanner, engine).finally(() => delete engine.now)
      return engine.now
    }
    engine.next ??= this.#afterwards(scanner, engine.now)
    return engine.next
  }

  async #afterwards(scanner: Scanner, before: Promise<unknown>): Promise<LoadedSignatures | undefined> {
    await before
    const engine = this.#engine(scanner)
    delete engine.next
    return await this.#ask(scanner)
  }

  async #put(scanner: Scanner, engine: Engine): Promise<LoadedSignatures | undefined> {
    const question = new AbortController()
    const timer = setTimeout(() => question.abort(), this.#timeoutMs)
    this.#questions.add(question)
    try {
      const loaded = await scanner.loaded?.(question.signal)
      if (loaded === undefined) delete engine.known
      else engine.known = loaded
    } catch {
      // Whoever scans is told why; here it is enough that nobody knows.
      delete engine.known
    } finally {
      clearTimeout(timer)
      this.#questions.delete(question)
    }
    return engine.known
  }

  #engine(scanner: Scanner): Engine {
    let engine = this.#engines.get(scanner)
    if (!engine) {
      engine = {}
      this.#engines.set(scanner, engine)
    }
    return engine
  }
}
