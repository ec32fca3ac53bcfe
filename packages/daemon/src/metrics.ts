import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { CATEGORIES } from '@ecluse/core'
import { NOTICE_KINDS, type NoticeKind, type NoticeResult } from './noticeOutbox.ts'
import type { Outcome } from './pipeline.ts'
import { SCAN_VERDICTS, type MessageRecord } from './record.ts'
import { LOOKUP_RESULTS, type LookupResult } from './rememberedScans.ts'

/** What the gauges read when they are asked. */
export interface GaugeSources {
  readonly inFlight: () => number
  readonly spoolBytes: () => number
  readonly quarantineBytes: () => Promise<number>
  readonly ledgerEntries: () => number
  readonly cacheEntries: () => number
  /** By the name of each scanner that new messages ask, whether its circuit is open. */
  readonly circuits: () => ReadonlyMap<string, boolean>
}

/**
 * Why something was not taken: connections beyond `limits.connections`, of untrusted peers, of proxies without a header,
 * closed as the one that was used least, or too slow; messages beyond `limits.concurrency`, or `limits.spoolBytes`.
 */
const REFUSALS = ['connections', 'untrusted', 'proxy', 'unused', 'slow', 'concurrency', 'spool'] as const
export type Refusal = (typeof REFUSALS)[number]

/**
 * The only module that knows prom-client. Label values come from closed sets alone: categories, destinies, the
 * names of configured scanners; never an address, a virus name or anything else from a message.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #registers = [this.registry]
  readonly #messages = new Counter({
    name: 'ecluse_messages_total',
    help: 'Messages handled.',
    labelNames: ['category', 'direction'],
    registers: this.#registers,
  })
  readonly #recipients = new Counter({
    name: 'ecluse_recipients_total',
    help: 'Recipients answered for.',
    labelNames: ['category', 'destiny', 'outcome'],
    registers: this.#registers,
  })
  readonly #bytes = new Histogram({
    name: 'ecluse_message_bytes',
    help: 'Size of a message.',
    buckets: [1e3, 1e4, 1e5, 1e6, 1e7, 1e8],
    registers: this.#registers,
  })
  readonly #seconds = new Histogram({
    name: 'ecluse_message_seconds',
    help: 'Time that a message spent in each stage.',
    labelNames: ['stage'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300],
    registers: this.#registers,
  })
  readonly #scans = new Counter({
    name: 'ecluse_scans_total',
    help: 'Scans, by what the scanner said.',
    labelNames: ['scanner', 'verdict'],
    registers: this.#registers,
  })
  readonly #scanSeconds = new Histogram({
    name: 'ecluse_scan_seconds',
    help: 'Time of one scan.',
    labelNames: ['scanner'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60],
    registers: this.#registers,
  })
  readonly #scannerUp = new Gauge({
    name: 'ecluse_scanner_up',
    help: 'Whether the scanner answered when it was last asked.',
    labelNames: ['scanner'],
    registers: this.#registers,
  })
  readonly #signatureTimestamp = new Gauge({
    name: 'ecluse_scanner_signature_timestamp_seconds',
    help: 'When the signatures of the scanner were made.',
    labelNames: ['scanner'],
    registers: this.#registers,
  })
  readonly #givenUp = new Counter({
    name: 'ecluse_scans_given_up_total',
    help: 'Scans not tried again, since the message had made the scanner fail too often.',
    labelNames: ['scanner'],
    registers: this.#registers,
  })
  readonly #lookups = new Counter({
    name: 'ecluse_cache_lookups_total',
    help: 'Verdicts looked for: remembered, not, being made for another copy, or something that is no verdict of ours.',
    labelNames: ['scanner', 'result'],
    registers: this.#registers,
  })
  readonly #reinjections = new Counter({
    name: 'ecluse_reinjections_total',
    help: 'Recipients handed to the next hop, by its answer.',
    labelNames: ['result'],
    registers: this.#registers,
  })
  readonly #quarantined = new Counter({
    name: 'ecluse_quarantined_total',
    help: 'Messages kept.',
    labelNames: ['category'],
    registers: this.#registers,
  })
  readonly #reloads = new Counter({
    name: 'ecluse_config_reloads_total',
    help: 'Reloads while mail ran, by how they ended; after an error everything is as before.',
    labelNames: ['result'],
    registers: this.#registers,
  })
  readonly #reloadSuccess = new Gauge({
    name: 'ecluse_config_last_reload_success_timestamp_seconds',
    help: 'When what is in force was read: at the last reload without error, or at the start.',
    registers: this.#registers,
  })
  readonly #refusals = new Counter({
    name: 'ecluse_refusals_total',
    help: 'Connections and messages that a limit refused or ended; Postfix tries again.',
    labelNames: ['reason'],
    registers: this.#registers,
  })
  readonly #replays = new Counter({
    name: 'ecluse_ledger_replays_total',
    help: 'Recipients that got the reply of an earlier try.',
    registers: this.#registers,
  })
  readonly #unknowable = new Counter({
    name: 'ecluse_ledger_without_ident_total',
    help: 'Messages without a queue id (XFORWARD IDENT): a second try cannot be told from a new message.',
    registers: this.#registers,
  })
  readonly #notices = new Counter({
    name: 'ecluse_notices_total',
    help: 'Mails about mail, by what became of them.',
    labelNames: ['kind', 'result'],
    registers: this.#registers,
  })
  readonly internalErrors = new Counter({
    name: 'ecluse_internal_errors_total',
    help: 'Errors that nobody foresaw: each is a bug.',
    registers: this.#registers,
  })

  constructor(sources: GaugeSources) {
    collectDefaultMetrics({ register: this.registry })
    new Gauge({
      name: 'ecluse_in_flight_messages',
      help: 'Messages between DATA and reply.',
      registers: this.#registers,
      collect() {
        this.set(sources.inFlight())
      },
    })
    new Gauge({
      name: 'ecluse_spool_bytes',
      help: 'Messages in files of the spool, as declared or received.',
      registers: this.#registers,
      collect() {
        this.set(sources.spoolBytes())
      },
    })
    new Gauge({
      name: 'ecluse_quarantine_bytes',
      help: 'Size of the quarantine.',
      registers: this.#registers,
      async collect() {
        this.set(await sources.quarantineBytes())
      },
    })
    new Gauge({
      name: 'ecluse_ledger_entries',
      help: 'Records that the ledger remembers.',
      registers: this.#registers,
      collect() {
        this.set(sources.ledgerEntries())
      },
    })
    new Gauge({
      name: 'ecluse_cache_entries',
      help: 'Verdicts remembered in the memory of this process.',
      registers: this.#registers,
      collect() {
        this.set(sources.cacheEntries())
      },
    })
    new Gauge({
      name: 'ecluse_scanner_circuit_open',
      help: 'Whether the scanner is left alone because it failed too often in a row.',
      labelNames: ['scanner'],
      registers: this.#registers,
      collect() {
        this.reset()
        for (const [scanner, open] of sources.circuits()) this.set({ scanner }, open ? 1 : 0)
      },
    })
    for (const result of ['ok', 'tempfail', 'reject', 'error']) this.#reinjections.inc({ result }, 0)
    for (const category of CATEGORIES) this.#quarantined.inc({ category }, 0)
    for (const result of ['ok', 'error']) this.#reloads.inc({ result }, 0)
    for (const kind of NOTICE_KINDS) this.#notices.inc({ kind, result: 'sent' }, 0)
    for (const reason of REFUSALS) this.#refusals.inc({ reason }, 0)
    this.#reloadSuccess.setToCurrentTime()
  }

  /** Tells of Redis from here on; where none is configured there is nothing to tell. */
  watchRedis({ isUp, oddValues }: { readonly isUp: () => boolean; readonly oddValues: () => number }): void {
    new Gauge({
      name: 'ecluse_redis_up',
      help: 'Whether Redis answered last; mail goes on without it.',
      registers: this.#registers,
      collect() {
        this.set(isUp() ? 1 : 0)
      },
    })
    new Gauge({
      name: 'ecluse_redis_odd_values',
      help: 'Values in Redis since the start that were not ours: cut, forged, or mixed up.',
      registers: this.#registers,
      collect() {
        this.set(oddValues())
      },
    })
  }

  refused(reason: Refusal, count = 1): void {
    this.#refusals.inc({ reason }, count)
  }

  notice(kind: NoticeKind, result: NoticeResult): void {
    this.#notices.inc({ kind, result })
  }

  record(record: MessageRecord, outcome: Outcome | undefined): void {
    const { category, direction, times } = record
    this.#messages.inc({ category, direction })
    this.#bytes.observe(record.sizeBytes)
    for (const { category: of, destiny, outcome: result } of record.recipients) {
      this.#recipients.inc({ category: of, destiny, outcome: result })
    }
    for (const { name: scanner, verdict, ms, cached } of record.scanners) {
      if (cached) continue
      this.#scans.inc({ scanner, verdict })
      this.#scanSeconds.observe({ scanner }, ms / 1000)
    }
    if (record.quarantineId !== undefined) this.#quarantined.inc({ category })
    this.#seconds.observe({ stage: 'receive' }, record.receiveMs / 1000)
    this.#seconds.observe({ stage: 'total' }, record.totalMs / 1000)
    for (const stage of ['scan', 'decide', 'quarantine', 'reinject'] as const) {
      const ms = times[stage]
      if (ms !== undefined) this.#seconds.observe({ stage }, ms / 1000)
    }
    if (outcome) this.#outcome(outcome)
  }

  #outcome(outcome: Outcome): void {
    if (outcome.decisions.some(({ suppressed }) => suppressed !== undefined)) this.notice('dsn', 'suppressed')
    if (outcome.unknowable) this.#unknowable.inc()
    if (outcome.replayed.size > 0) this.#replays.inc(outcome.replayed.size)
    for (const scan of outcome.scans) {
      if (scan.outcome === 'failed' && scan.error.code === 'E_SCANNER_GIVEN_UP') {
        this.#givenUp.inc({ scanner: scan.scanner })
      }
    }
    for (const delivery of outcome.deliveries.values()) {
      if (delivery.outcome === 'relayed') this.#reinjections.inc({ result: 'ok' })
      else if (delivery.outcome === 'failed') this.#reinjections.inc({ result: 'error' })
      else if (delivery.outcome === 'refused') {
        this.#reinjections.inc({ result: delivery.line.startsWith('5') ? 'reject' : 'tempfail' })
      }
    }
  }

  lookup(scanner: string, result: LookupResult): void {
    this.#lookups.inc({ scanner, result })
  }

  scanner(scanner: string, state: { readonly up: boolean; readonly signatureTimestamp?: number }): void {
    this.#scannerUp.set({ scanner }, state.up ? 1 : 0)
    if (state.signatureTimestamp !== undefined) {
      this.#signatureTimestamp.set({ scanner }, state.signatureTimestamp)
    }
  }

  /** What a scanner said of itself; for one that is not asked any more. */
  forgetScanner(scanner: string): void {
    this.#scannerUp.remove({ scanner })
    this.#signatureTimestamp.remove({ scanner })
  }

  /** What a scanner said of messages; for one that no message asks any more. */
  forgetScans(scanner: string): void {
    this.#scanSeconds.remove({ scanner })
    this.#givenUp.remove({ scanner })
    for (const verdict of SCAN_VERDICTS) this.#scans.remove({ scanner, verdict })
    for (const result of LOOKUP_RESULTS) this.#lookups.remove({ scanner, result })
  }

  reload(result: 'ok' | 'error'): void {
    this.#reloads.inc({ result })
    if (result === 'ok') this.#reloadSuccess.setToCurrentTime()
  }
}
