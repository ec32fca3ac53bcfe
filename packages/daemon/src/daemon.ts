import { formatAddress, type Rules, type ScannerVersion } from '@ecluse/core'
import { createReceiver, type Receiver, type ReceiverOptions, type Reinjector } from '@ecluse/mail'
import { tellOf } from './connectionEvents.ts'
import { listenHttp, type HttpListener } from './http.ts'
import type { Intake } from './intake.ts'
import { ReleaseStack } from './releaseStack.ts'
import type { ReadOptions } from './reload.ts'
import type { DaemonOptions } from './options.ts'
import { LEAVE_MS, atMost } from './leave.ts'
import { openParts } from './openParts.ts'

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
  /** The rules in force. */
  rules(): Rules
  /** The daemon's own way to the next hop, for what leaves the quarantine; ends with it. */
  readonly gate: Pick<Reinjector, 'deliver'>
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
    const { intake, readiness, metrics, reloader, reinjector } = await openParts(options, stack)
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
      rules: () => reloader.current.rules,
      gate: reinjector,
      countInternalError: () => metrics.internalErrors.inc(),
      close: () => stack.release(),
    }
  } catch (error) {
    await stack.release()
    throw error
  }
}

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
