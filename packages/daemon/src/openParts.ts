import type { ConfiguredScanner, Rules, Scanner } from '@ecluse/core'
import { createReinjector, type Reinjector } from '@ecluse/mail'
import type { QuarantineStore } from '@ecluse/quarantine'
import type { ScanAll } from '@ecluse/scanners'
import { watchExpiry } from './expiry.ts'
import { openFolders, type Folders } from './folders.ts'
import { createIntake, type Intake } from './intake.ts'
import type { Log } from './log.ts'
import { Metrics } from './metrics.ts'
import { watchReadiness, type Readiness, type ReadinessOptions } from './readiness.ts'
import type { NotifierParts } from './noticeOutbox.ts'
import { createNotifier, type Notifier } from './notify.ts'
import { PartsInUse, type MessageParts } from './parts.ts'
import type { PipelineParts } from './pipeline.ts'
import { ReleaseStack } from './releaseStack.ts'
import { openScanGuards, type DaemonGuards } from './scanGuards.ts'
import type { SharedMemory } from './sharedMemory.ts'
import { scheduleDigests, type DigestParts } from './recipientDigest.ts'
import { watchRescan, type Rescanner, type RescanParts } from './rescan.ts'
import { Reloader, type ReloadableOptions } from './reload.ts'
import { openScanMemory, type DaemonMemory } from './scanMemory.ts'
import type { DaemonOptions } from './options.ts'
import { LEAVE_MS, atMost } from './leave.ts'

/** What is between listener and next hop. */
export interface OpenedParts {
  readonly intake: Intake
  readonly readiness: Readiness
  readonly metrics: Metrics
  readonly reloader: Reloader
  /** The way to the next hop. */
  readonly reinjector: Reinjector
}

/** Everything between listener and next hop; asked once whether it answers. */
export async function openParts(options: DaemonOptions, stack: ReleaseStack): Promise<OpenedParts> {
  const { hostname, log, drainMs } = options
  const { shared, spool, quarantine, ledger, ...folders } = await openStores(options, stack, {
    wantsContent: () => memory.remembers(reloader.current.scanners),
    deadlineMs: () => reloader.current.limits.deadlineMs,
  })
  openExpiry(options, quarantine, stack)
  const reinjector = createReinjector(options.reinject)
  // A next hop that does not answer QUIT must not hold us up.
  stack.push(() => atMost(Math.min(LEAVE_MS, drainMs), reinjector.close()))
  const metrics: Metrics = new Metrics({
    inFlight: () => intake.inFlight,
    spoolBytes: () => intake.spoolBytes,
    quarantineBytes: async () => (await quarantine.usage()).bytes,
    ledgerEntries: () => ledger?.entries ?? 0,
    cacheEntries: () => memory.entries,
    circuits: () => circuitsOf(reloader.current.scanners, guards),
  })
  if (shared) metrics.watchRedis(shared)
  const guards = openScanGuards(log, options.scanRetryMs)
  const memory = openMemory(options, { shared, metrics }, stack)
  const sending = { hostname, reinjector, ...(ledger && { ledger }) }
  const notifier = openNotifier(options, { ...sending, log, count: (...of) => metrics.notice(...of) }, stack)
  const fixed = { quarantine, ...sending, ...(notifier && { notifier }) }
  const scanAllWith = (failures?: number): ScanAll => memory.scanAllWith(guards.scanWith(failures))
  const partsOf = (from: ReloadableOptions): MessageParts => messageParts(from, { ...fixed, scanAllWith })
  const { closing, parts } = useParts(partsOf(options), { log, metrics }, stack)
  const intake: Intake = createIntake({
    spool,
    spoolFails: folders.spoolFails,
    memoryBytes: options.spool.memoryBytes,
    parts,
    log,
    metrics,
  })
  const isBusy = (): boolean =>
    intake.inFlight * 2 > reloader.current.limits.concurrency || readiness.notReady().length > 0
  const rescanner = openRescan(options, { ...fixed, spool, parts, isBusy, log }, stack)
  const onVersion: ReadinessOptions['onVersion'] = async (scanner, version) => {
    await memory.answered(scanner, version)
    rescanner?.engineSaid(scanner, memory.loaded(scanner))
  }
  const asked = { breakers: guards.breakers, onVersion, reinjector, folders: folders.check, metrics }
  const readiness: Readiness = openReadiness(options, asked, stack)
  const reloader = new Reloader(options, {
    apply(next) {
      memory.limit(next.cache)
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
  return { intake, readiness, metrics, reloader, reinjector }
}

function openReadiness(
  { scanners, versionIntervalMs: intervalMs, answerMs: timeoutMs, log }: DaemonOptions,
  parts: Omit<ReadinessOptions, 'scanners' | 'intervalMs' | 'timeoutMs' | 'log'>,
  stack: ReleaseStack,
): Readiness {
  const readiness = watchReadiness({ scanners, intervalMs, timeoutMs, log, ...parts })
  stack.push(() => readiness.close())
  return readiness
}

/** The parts of the first messages; their scanners are closed with the last message that uses them. */
function useParts(
  first: MessageParts,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
  stack: ReleaseStack,
): { readonly closing: ScannerCloser; readonly parts: PartsInUse } {
  const closing = closeScanners(log)
  const parts = new PartsInUse(first, ({ scanners, names }) => {
    closing.close(scanners)
    for (const name of names) metrics.forgetScans(name)
  })
  stack.push(async () => {
    closing.close(parts.end())
    await closing.done()
  })
  return { closing, parts }
}

/** What is kept beyond one message, in folders and in Redis; asked for nothing before everything is open. */
async function openStores(
  options: DaemonOptions,
  stack: ReleaseStack,
  { wantsContent, deadlineMs }: { readonly wantsContent: () => boolean; readonly deadlineMs: () => number },
): Promise<Folders & { readonly shared?: SharedMemory }> {
  const shared = await openShared(options, stack)
  const beside = shared?.ledgerBeside(options, deadlineMs)
  return { ...(await openFolders({ ...options, wantsContent }, stack, beside)), ...(shared && { shared }) }
}

/** Loads the client of Redis only where there is one. */
async function openShared(
  { redis, log }: DaemonOptions,
  stack: ReleaseStack,
): Promise<SharedMemory | undefined> {
  if (!redis) return undefined
  const { openSharedMemory } = await import('./sharedMemory.ts')
  return openSharedMemory(redis, log, stack)
}

function openExpiry({ expiry, log }: DaemonOptions, quarantine: QuarantineStore, stack: ReleaseStack): void {
  if (!expiry) return
  const watch = watchExpiry({ quarantine, log, ...expiry })
  stack.push(() => watch.close())
}

/** It is not waited for long: what it has not done then, the next start does. */
function openRescan(
  { rescan, drainMs }: DaemonOptions,
  parts: Omit<RescanParts, 'intervalMs'>,
  stack: ReleaseStack,
): Rescanner | undefined {
  if (!rescan) return undefined
  const rescanner = watchRescan({ ...parts, ...rescan })
  stack.push(() => atMost(Math.min(LEAVE_MS, drainMs), rescanner.close()))
  return rescanner
}

function circuitsOf(
  scanners: readonly ConfiguredScanner[],
  { breakers }: DaemonGuards,
): ReadonlyMap<string, boolean> {
  return new Map(scanners.map((scanner) => [scanner.name, breakers.isOpen(scanner)]))
}

/** For the question what an engine has loaded: it is quick, or of no use. */
const LOADED_MS = 1000

function openMemory(
  options: DaemonOptions,
  { shared, metrics }: { readonly shared: SharedMemory | undefined; readonly metrics: Metrics },
  stack: ReleaseStack,
): DaemonMemory {
  const memory = openScanMemory({
    limits: options.cache,
    ...(shared && { shared }),
    timeoutMs: Math.min(LOADED_MS, options.answerMs),
    count: (scanner, result) => metrics.lookup(scanner, result),
  })
  stack.push(() => memory.close())
  return memory
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
  {
    scanAllWith,
    ...fixed
  }: Omit<PipelineParts, 'alertHeader' | 'scanners' | 'rules' | 'scanAll'> & {
    readonly scanAllWith: (scanFailures?: number) => ScanAll
  },
): MessageParts {
  const { alertHeader, scanners, rules, limits } = from
  const scanAll = scanAllWith(limits.scanFailures)
  return {
    pipeline: { alertHeader, scanners, rules, scanAll, ...fixed },
    directionOf: (envelope) => rules.directionOf(envelope),
    ...limits,
  }
}

interface ScannerCloser {
  close(scanners: readonly Scanner[]): void
  done(): Promise<void>
}

/** Closes scanners in the background; one that cannot be closed is told of, and nothing else. */
function closeScanners(log: Log): ScannerCloser {
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
