import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Envelope } from '@ecluse/core'
import { createFileLedger, type FileLedgerOptions } from '../src/fileLedger.ts'
import type { Ledger, LedgerResult } from '../src/ledger.ts'

export const NEVER = new AbortController().signal
export const START = Date.UTC(2026, 10, 24)
export const TTL_MS = 160_000

/** A key as `ledgerKey` makes them. */
export function keyOf(text: string | number): string {
  return createHash('sha256').update(String(text)).digest('hex').slice(0, 32)
}

export function envelope(overrides: Partial<Envelope> = {}): Envelope {
  return {
    protocol: 'lmtp',
    mailFrom: 'sender@example.net',
    recipients: [{ address: 'anna@example.org' }, { address: 'bob@example.org' }],
    smtpUtf8: false,
    client: { address: '192.0.2.7', queueId: '4F5A2C' },
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    ...overrides,
  }
}

export function relayed(queuedAs = 'B1234'): LedgerResult {
  const text = `from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as ${queuedAs}`
  return { reply: { code: 250, enhanced: '2.0.0', text }, outcome: 'relayed', queuedAs }
}

/** Two recipients, in order. */
export const ANNA = '1 anna@example.org'
export const BOB = '1 bob@example.org'

/** A folder of its own, a clock that stands still, and all ledgers closed at the end. */
export class LedgerKit {
  now = START
  #root = ''
  readonly #open: Ledger[] = []

  get directory(): string {
    return join(this.#root, 'ledger')
  }

  async setUp(): Promise<void> {
    this.now = START
    this.#root = await mkdtemp(join(tmpdir(), 'ecluse-ledger-'))
  }

  async tearDown(): Promise<void> {
    await this.closeAll()
    await rm(this.#root, { recursive: true, force: true })
  }

  create(options: Partial<FileLedgerOptions> = {}): Ledger {
    const ledger = createFileLedger({
      directory: this.directory,
      ttlMs: TTL_MS,
      now: () => this.now,
      ...options,
    })
    this.#open.push(ledger)
    return ledger
  }

  async start(options: Partial<FileLedgerOptions> = {}): Promise<Ledger> {
    const ledger = this.create(options)
    await ledger.prepare()
    return ledger
  }

  async closeAll(): Promise<void> {
    for (const ledger of this.#open.splice(0)) await ledger.close()
  }

  /** As after the end of the process. */
  async restart(options: Partial<FileLedgerOptions> = {}): Promise<Ledger> {
    await this.closeAll()
    return await this.start(options)
  }
}

/** One whole attempt that records these results; gives what was done before. */
export async function remember(
  ledger: Ledger,
  key: string,
  results: Readonly<Record<string, LedgerResult>>,
): Promise<ReadonlyMap<string, LedgerResult>> {
  const attempt = await ledger.begin(key, Object.keys(results), NEVER)
  try {
    await attempt.record(new Map(Object.entries(results)))
    return attempt.done
  } finally {
    attempt.end()
  }
}

/** What is remembered of these recipients. */
export async function recall(
  ledger: Ledger,
  key: string,
  recipients: readonly string[] = [ANNA, BOB],
): Promise<Record<string, LedgerResult>> {
  const attempt = await ledger.begin(key, recipients, new AbortController().signal)
  attempt.end()
  return Object.fromEntries(attempt.done)
}
