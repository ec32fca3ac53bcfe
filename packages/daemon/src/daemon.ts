import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import { formatAddress, type Address, type Rules, type Scanner, type ScannerVersion } from '@ecluse/core'
import {
  createReceiver,
  createReinjector,
  type Receiver,
  type ReceiverOptions,
  type ReinjectOptions,
  type SpoolOptions,
} from '@ecluse/mail'
import type { FileLedgerOptions } from '@ecluse/state'
import { tellOf } from './connectionEvents.ts'
import { openFolders } from './folders.ts'
import { listenHttp, type HttpListener } from './http.ts'
import { createIntake, type Intake } from './intake.ts'
import type { Log } from './log.ts'
import { Metrics } from './metrics.ts'
import { watchReadiness, type Readiness } from './readiness.ts'
import type { NoticeOptions, NotifierParts } from './noticeOutbox.ts'
import { createNotifier, type Notifier } from './notify.ts'
import { PartsInUse, type MessageParts } from './parts.ts'
import type { PipelineParts } from './pipeline.ts'
import { ReleaseStack } from './releaseStack.ts'
import { openScanGuards, type DaemonGuards } from './scanGuards.ts'
import { scheduleDigests, type DigestParts } from './recipientDigest.ts'
import { Reloader, type ReadOptions, type ReloadableOptions } from './reload.ts'

export interface DaemonOptions extends ReloadableOptions {
  readonly hostname: string
  readonly receivers: readonly ReceiverOptions[]
  readonly reinject: ReinjectOptions
  readonly spool: SpoolOptions
  readonly quarantineDirectory: string
  /** Absent: nothing is remembered, and a lost reply is a second delivery. */
  readonly ledger?: FileLedgerOptions
  /** How often scanners are asked for their version. */
  readonly versionIntervalMs: number
  /** How long a scanner that cannot be connected to is given before it is tried once more. */
  readonly scanRetryMs: number
  /** Absent: nobody is told anything by mail. */
  readonly notices?: NoticeOptions
  /** Absent: no HTTP. */
  readonly http?: Address
  readonly log: Log
}

/** A running daemon. */
export interface Daemon {
  /** `lmtp 127.0.0.1:10024`, `http 127.0.0.1:9725`. */
  readonly addresses: readonly string[]
  readonly receivers: readonly Receiver[]
  /** What each scanner said last. */
  versions(): ReadonlyMap<string, ScannerVersion>
  notReady(): readonly string[]
  /**
   * Exchanges what may be exchanged while mail runs, all at once: each message works to its end with what was in force
   * at its dot. Scanners with the same name, kind and options stay as they are; the others are closed when the last
   * message that uses them is done. Several calls run one after the other, in their order.
   *
   * @param read called when it is its turn; a rejection changes nothing
   * @returns whether it is in force; false: the daemon is closing, and nothing was done
   * @throws what `read` threw
   */
  reload(read: ReadOptions): Promise<boolean>
  /** Counts an error of ours that showed elsewhere. */
  countInternalError(): void
  /** Takes no new mail, finishes what runs, frees everything. */
  close(): Promise<void>
}

/**
 * Starts everything; resolves when mail can come in. A scanner or next hop that does not answer is no reason not
 * to start: `/readyz` and the log say it, and mail gets a 4xx.
 *
 * @throws FilterError E_LISTEN, E_SPOOL, E_QUARANTINE; everything started is stopped then
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  // What lives as long as the daemon must not hold all options: the first rules are let go of when others come.
  const { log, receivers: wanted } = options
  const stack = new ReleaseStack()
  try {
    const { intake, readiness, metrics, reloader } = await openParts(options, stack)
    const onBug = (err: unknown): void => {
      metrics.internalErrors.inc()
      log.error({ err }, 'internal error, HTTP request not answered')
    }
    const http =
      options.http &&
      (await listenHttp(options.http, { notReady: () => readiness.notReady(), metrics, onBug }))
    if (http) stack.push(() => http.close())
    const receivers: Receiver[] = []
    stack.push(async () => await drain(intake, receivers, reloader.current.drainMs))
    stack.push(() => reloader.stop())
    for (const receiver of wanted) {
      receivers.push(await createReceiver(receiver, intake, (event) => tellOf(event, { log, metrics })))
    }
    return {
      addresses: addressesOf(wanted, receivers, http),
      receivers,
      versions: () => readiness.versions(),
      notReady: () => readiness.notReady(),
      reload: (read) => reloader.reload(read),
      countInternalError: () => metrics.internalErrors.inc(),
      close: () => stack.release(),
    }
  } catch (error) {
    await stack.release()
    throw error
  }
}

/** Of the time to drain, this is for the answers to what is given up, and for those that we take leave of. */
const LEAVE_MS = 1000

/** Lets what runs come to its end, or gives it up in time for each to get its 4xx. */
async function drain(intake: Intake, receivers: readonly Receiver[], drainMs: number): Promise<void> {
  const leaveMs = Math.min(LEAVE_MS, drainMs / 2)
  const timer = setTimeout(() => intake.abort(), drainMs - leaveMs)
  try {
    // A message goes on when its client is gone: closed listeners do not mean that nothing runs.
    const idle = atMost(drainMs, intake.drain())
    const limit = AbortSignal.timeout(drainMs)
    await Promise.all([idle, ...receivers.map((receiver) => receiver.close(limit))])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for it, but not longer. */
async function atMost(ms: number, event: Promise<void>): Promise<void> {
  const timer = new AbortController()
  try {
    await Promise.race([event, setTimeoutPromise(ms, undefined, { signal: timer.signal })])
  } finally {
    timer.abort()
  }
}

/** What is between listener and next hop. */
interface OpenedParts {
  readonly intake: Intake
  readonly readiness: Readiness
  readonly metrics: Metrics
  readonly reloader: Reloader
}

/** Everything between listener and next hop; asked once whether it answers. */
async function openParts(options: DaemonOptions, stack: ReleaseStack): Promise<OpenedParts> {
  const { hostname, log, drainMs } = options
  const { spool, quarantine, ledger, ...folders } = await openFolders(options, stack)
  const reinjector = createReinjector(options.reinject)
  // A next hop that does not answer QUIT must not hold us up.
  stack.push(() => atMost(Math.min(LEAVE_MS, drainMs), reinjector.close()))
  const metrics: Metrics = new Metrics({
    inFlight: () => intake.inFlight,
    spoolBytes: () => intake.spoolBytes,
    quarantineBytes: async () => (await quarantine.usage()).bytes,
    ledgerEntries: () => ledger?.entries ?? 0,
    circuits: () =>
      new Map(reloader.current.scanners.map((scanner) => [scanner.name, guards.breakers.isOpen(scanner)])),
  })
  const guards = openScanGuards(log, options.scanRetryMs)
  const sending = { hostname, reinjector, ...(ledger && { ledger }) }
  const notifier = openNotifier(options, { ...sending, log, count: (...of) => metrics.notice(...of) }, stack)
  const fixed = { quarantine, ...sending, ...(notifier && { notifier }) }
  const partsOf = (from: ReloadableOptions): MessageParts => messageParts(from, fixed, guards)
  const closing = closeScanners(log)
  const parts = new PartsInUse(partsOf(options), ({ scanners, names }) => {
    closing.close(scanners)
    for (const name of names) metrics.forgetScans(name)
  })
  stack.push(async () => {
    closing.close(parts.end())
    await closing.done()
  })
  const intake: Intake = createIntake({
    spool,
    spoolFails: folders.spoolFails,
    memoryBytes: options.spool.memoryBytes,
    parts,
    log,
    metrics,
  })
  const readiness = watchReadiness({
    scanners: options.scanners,
    breakers: guards.breakers,
    reinjector,
    folders: folders.check,
    intervalMs: options.versionIntervalMs,
    timeoutMs: Math.min(5000, options.versionIntervalMs),
    log,
    metrics,
  })
  stack.push(() => readiness.close())
  const reloader = new Reloader(options, {
    apply(next) {
      parts.swap(partsOf(next))
      // Not waited for: mail goes on with a scanner that has not answered yet, as after the start.
      void readiness.watch(next.scanners)
    },
    abandon: (scanners) => closing.close(scanners.map(({ scanner }) => scanner)),
    count: (result) => metrics.reload(result),
  })
  const rules = (): Rules => reloader.current.rules
  if (notifier) openDigests({ hostname, quarantine, rules, notifier, log }, stack)
  await readiness.ask()
  return { intake, readiness, metrics, reloader }
}

/** What still waits is sent at the end, as long as nobody is held up by it. */
function openNotifier(
  { notices, drainMs }: DaemonOptions,
  parts: NotifierParts,
  stack: ReleaseStack,
): Notifier | undefined {
  if (!notices) return undefined
  const notifier = createNotifier(notices, parts)
  stack.push(() => notifier.close(AbortSignal.timeout(Math.min(LEAVE_MS, drainMs))))
  return notifier
}

function openDigests(parts: DigestParts, stack: ReleaseStack): void {
  const { recipients } = parts.notifier.options
  if (!recipients) return
  const digests = scheduleDigests(recipients.time, parts)
  stack.push(() => digests.close())
}

/** Field by field: at the start `from` is all of the daemon's options. */
function messageParts(
  from: ReloadableOptions,
  fixed: Omit<PipelineParts, 'alertHeader' | 'scanners' | 'rules' | 'scanAll'>,
  guards: DaemonGuards,
): MessageParts {
  const { alertHeader, scanners, rules, limits } = from
  const scanAll = guards.scanAllWith(limits.scanFailures)
  return {
    pipeline: { alertHeader, scanners, rules, scanAll, ...fixed },
    directionOf: (envelope) => rules.directionOf(envelope),
    ...limits,
  }
}

/** Closes scanners in the background; one that cannot be closed is told of, and nothing else. */
function closeScanners(log: Log): { close(scanners: readonly Scanner[]): void; done(): Promise<void> } {
  const running = new Set<Promise<void>>()
  const closeOne = async (scanner: Scanner): Promise<void> => {
    try {
      await scanner.close?.()
    } catch (error) {
      log.warn({ err: error }, 'scanner not closed')
    }
  }
  return {
    close(scanners) {
      for (const scanner of scanners) {
        const closing = closeOne(scanner).finally(() => running.delete(closing))
        running.add(closing)
      }
    },
    done: async () => void (await Promise.all(running)),
  }
}

function addressesOf(
  wanted: readonly ReceiverOptions[],
  receivers: readonly Receiver[],
  http: HttpListener | undefined,
): string[] {
  return [
    ...receivers.map(({ address }, index) => `${wanted[index]?.protocol ?? ''} ${formatAddress(address)}`),
    ...(http ? [`http ${formatAddress(http.address)}`] : []),
  ]
}
