import { FilterError } from '@ecluse/core'
import { CommitQueue } from './commitQueue.ts'
import type { Attempt, Ledger, LedgerReport, LedgerResult } from './ledger.ts'
import { ledgerError } from './ledgerError.ts'
import { formatRecord, type LedgerItem, type LedgerRecord } from './ledgerRecord.ts'
import { KERNEL_DISK, SegmentStore, type Disk } from './segmentStore.ts'
import { abortable, aborted, Turns, type Turn } from './turns.ts'

/** Where a ledger is, and how long it remembers. */
export interface FileLedgerOptions {
  /** Made with mode 0700 where it is missing. For one process, and on a local disk. */
  readonly directory: string
  /** How long what was done is remembered. Postfix tries for `maximal_queue_lifetime`, but a lost reply comes again soon. */
  readonly ttlMs: number
  /** Milliseconds since 1970; absent: the clock of the machine. */
  readonly now?: () => number
  readonly disk?: Disk
}

/**
 * A ledger in files `ledger-TIME-RANDOM.log` of mode 0600, one line for each record. Memory holds where the records of a
 * message are, not what they say: 11 to 22 bytes for each record.
 */
export function createFileLedger(options: FileLedgerOptions): Ledger {
  return new FileLedger(options)
}

class FileLedger implements Ledger {
  readonly #store: SegmentStore
  readonly #commits: CommitQueue
  readonly #turns = new Turns()
  readonly #directory: string
  readonly #now: () => number
  #isOpen = false

  constructor({ directory, ttlMs, now = Date.now, disk = KERNEL_DISK }: FileLedgerOptions) {
    this.#directory = directory
    this.#now = now
    this.#store = new SegmentStore({ directory, ttlMs, disk })
    this.#commits = new CommitQueue(this.#store, { now, what: `${directory}: the ledger cannot be written` })
  }

  get entries(): number {
    return this.#store.entries
  }

  async prepare(): Promise<LedgerReport> {
    try {
      const damaged = await this.#store.prepare(this.#now())
      this.#isOpen = true
      return { entries: this.entries, damaged }
    } catch (err) {
      await this.#store.close()
      throw ledgerError(err, `${this.#directory}: cannot be used for the ledger`)
    }
  }

  async begin(key: string, recipients: readonly string[], signal: AbortSignal): Promise<Attempt> {
    if (signal.aborted) throw aborted(signal)
    await this.#usable(signal)
    const wanted = new Set(recipients)
    const turn = this.#turns.enter(key, wanted)
    try {
      const joined = await turn.wait(signal)
      if (joined) await this.#usable(signal)
      return new FileAttempt({
        key,
        recipients: wanted,
        records: await this.#find(key, signal),
        joined,
        turn,
        commits: this.#open(),
        now: this.#now,
      })
    } catch (err) {
      turn.leave()
      throw err
    }
  }

  async check(): Promise<void> {
    this.#open()
    await this.#commits.probe()
    this.#expire()
    await this.#store.removeExpired()
  }

  async close(): Promise<void> {
    this.#isOpen = false
    await this.#commits.close()
    await this.#store.close()
  }

  #open(): CommitQueue {
    if (!this.#isOpen) throw new FilterError('E_LEDGER', `${this.#directory}: the ledger is not open`)
    return this.#commits
  }

  async #usable(signal: AbortSignal): Promise<void> {
    const commits = this.#open()
    if (commits.failed) await abortable(commits.probe(), signal)
  }

  async #find(key: string, signal: AbortSignal): Promise<readonly LedgerRecord[]> {
    this.#expire()
    const found = this.#store.find(key, this.#now())
    if (!(found instanceof Promise)) return found
    try {
      return await abortable(found, signal)
    } catch (err) {
      throw ledgerError(err, `${this.#directory}: the ledger cannot be read`)
    }
  }

  #expire(): void {
    if (this.#store.expire(this.#now())) void this.#store.removeExpired()
  }
}

interface AttemptParts {
  readonly key: string
  readonly recipients: ReadonlySet<string>
  readonly records: readonly LedgerRecord[]
  readonly joined: boolean
  readonly turn: Turn
  readonly commits: CommitQueue
  readonly now: () => number
}

class FileAttempt implements Attempt {
  readonly done: ReadonlyMap<string, LedgerResult>
  readonly joined: boolean
  readonly #parts: AttemptParts
  readonly #reserved = new Map<string, string>()
  #writing = 0
  #hasEnded = false

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.joined = parts.joined
    const done = new Map<string, LedgerResult>()
    for (const { recipient, result, reservedId } of parts.records.flatMap(({ items }) => items)) {
      if (!parts.recipients.has(recipient)) continue
      if (result !== undefined) done.set(recipient, result)
      if (reservedId !== undefined) this.#reserved.set(recipient, reservedId)
    }
    this.done = done
  }

  reservedId(recipients: Iterable<string>): string | undefined {
    const ids = new Set([...recipients].map((recipient) => this.#reserved.get(this.#own(recipient))))
    const [id] = ids
    return ids.size === 1 ? id : undefined
  }

  async reserve(id: string, recipients: Iterable<string>): Promise<void> {
    const wanted = [...recipients]
    const items = wanted
      .filter((recipient) => this.#reserved.get(this.#own(recipient)) !== id)
      .map((recipient) => ({ recipient, reservedId: id }))
    await this.#write(items)
    for (const recipient of wanted) this.#reserved.set(recipient, id)
  }

  async record(results: ReadonlyMap<string, LedgerResult>): Promise<void> {
    const items: LedgerItem[] = []
    for (const [recipient, result] of results) {
      const { code } = result.reply
      if (code < 400 || code >= 500) items.push({ recipient: this.#own(recipient), result })
    }
    await this.#write(items)
  }

  end(): void {
    this.#hasEnded = true
    if (this.#writing === 0) this.#parts.turn.leave()
  }

  #own(recipient: string): string {
    if (this.#parts.recipients.has(recipient)) return recipient
    throw new TypeError('not a recipient of this attempt')
  }

  async #write(items: readonly LedgerItem[]): Promise<void> {
    const { key, commits, now, turn } = this.#parts
    if (this.#hasEnded) throw new TypeError('the attempt has ended')
    if (items.length === 0) return
    const lines = formatRecord({ key, at: now(), items })
    this.#writing++
    try {
      await commits.write(lines.map((bytes) => ({ key, bytes })))
    } finally {
      this.#writing--
      if (this.#hasEnded && this.#writing === 0) turn.leave()
    }
  }
}
