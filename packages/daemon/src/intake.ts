import { types } from 'node:util'
import {
  failpoint,
  FilterError,
  failureReply,
  type Direction,
  type Envelope,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import {
  type BodySink,
  type ReceiveHandler,
  type Spool,
  type SpooledMessage,
  type SpoolWriter,
} from '@ecluse/mail'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { MessageParts, PartsInUse } from './parts.ts'
import { processMessage, repliesFor, type Outcome } from './pipeline.ts'
import { messageRecord, type Handled } from './record.ts'

export interface IntakeOptions {
  readonly spool: Spool
  /** Each message borrows them at its dot, and works with these to its end. */
  readonly parts: PartsInUse
  readonly log: Log
  readonly metrics: Metrics
}

/** Takes messages from the listeners, within the limits, and sees each through to its one log line. */
export interface Intake extends ReceiveHandler {
  readonly inFlight: number
  /** From here on every new transaction is refused with 421; what runs goes on. Fulfilled when nothing runs any more. */
  drain(): Promise<void>
  /** Makes what still runs fail, and what comes to its dot from here on: each gets its 4xx. */
  abort(): void
}

const SHUTTING_DOWN: SmtpReply = {
  code: 421,
  enhanced: '4.3.2',
  text: 'Service shutting down, closing channel',
}
const BUSY: SmtpReply = { code: 451, enhanced: '4.3.2', text: 'Too many messages at once, try again later' }

export function createIntake(options: IntakeOptions): Intake {
  const { spool, parts } = options
  const work: Work = { running: new Set(), spare: [] }
  let inFlight = 0
  let draining = false
  let onIdle: (() => void) | undefined

  const admit = (): SmtpReply | undefined => {
    if (draining) return SHUTTING_DOWN
    return inFlight >= parts.newest.concurrency ? BUSY : undefined
  }
  const release = (): void => {
    inFlight--
    if (inFlight === 0) onIdle?.()
  }
  return {
    get inFlight() {
      return inFlight
    },
    admit,
    begin(envelope) {
      const refusal = admit()
      if (refusal) return refusal
      const received = { envelope, writer: spool.create() }
      // Behind all that could throw: who is counted must be released.
      inFlight++
      return transaction(options, received, { work, release })
    },
    async drain() {
      draining = true
      if (inFlight === 0) return
      await new Promise<void>((resolve) => {
        onIdle = resolve
      })
    },
    abort() {
      work.stopped = new FilterError('E_ABORTED', 'shutting down')
      for (const controller of work.running) controller.abort(work.stopped)
    },
  }
}

/** Messages between dot and reply, and why there shall be none. */
interface Work {
  readonly running: Set<AbortController>
  /** Those that served a message and never aborted: a new one costs as much as all of the header edits. */
  readonly spare: AbortController[]
  stopped?: FilterError
}

/** A message that comes in. */
interface Incoming {
  readonly envelope: Envelope
  readonly writer: SpoolWriter
}

function transaction(
  options: IntakeOptions,
  incoming: Incoming,
  { work, release }: { readonly work: Work; readonly release: () => void },
): BodySink {
  const { writer } = incoming
  const startedAt = performance.now()
  const discard = async (): Promise<void> => {
    try {
      await writer.discard()
    } catch (error) {
      report(options, error, { what: 'spool not freed' })
    } finally {
      release()
    }
  }
  return {
    write: (chunk) => writer.write(chunk),
    async end() {
      const borrowed = options.parts.borrow()
      const { parts } = borrowed
      const controller = work.spare.pop() ?? new AbortController()
      work.running.add(controller)
      if (work.stopped) controller.abort(work.stopped)
      const timer = setTimeout(() => {
        controller.abort(new FilterError('E_ABORTED', `no result in ${parts.deadlineMs} ms`))
      }, parts.deadlineMs)
      try {
        return await handle(options, { parts, startedAt, ...incoming }, controller.signal)
      } finally {
        clearTimeout(timer)
        work.running.delete(controller)
        if (!controller.signal.aborted) work.spare.push(controller)
        borrowed.release()
        release()
      }
    },
    abort() {
      void discard()
    },
  }
}

/** A message that came to its dot. */
interface Complete extends Incoming {
  readonly parts: MessageParts
  readonly startedAt: number
}

/** Whatever broke is a 4xx for this message alone. Rejects only where a bug leaves nothing to record. */
async function handle(
  options: IntakeOptions,
  complete: Complete,
  signal: AbortSignal,
): Promise<readonly SmtpReply[]> {
  const { envelope, parts, writer, startedAt } = complete
  const receiveMs = performance.now() - startedAt
  const { id } = writer
  const direction = await directionOf(options, complete)
  const known = { id, envelope, direction, receiveMs }
  let handled: Handled = { sizeBytes: 0, digest: '', ...known }
  let outcome: Outcome | undefined
  let replies: readonly SmtpReply[]
  try {
    failpoint('K3-dot-seen')
    const message = await writer.finish()
    try {
      const { sizeBytes, digest, header } = message
      handled = { sizeBytes, digest, header, ...known }
      outcome = await processMessage(parts.pipeline, { envelope, message, receivedAt: new Date() }, signal)
      replies = outcome.replies
      for (const error of outcome.forgotten) report(options, error, { id, what: 'delivery not remembered' })
    } finally {
      await free(options, message)
    }
  } catch (error) {
    report(options, error, { id, what: 'message deferred' })
    replies = envelope.recipients.map(() => failureReply(id))
  }
  const sent = repliesFor(envelope, replies, id)
  note(options, handled, { outcome, replies: sent, totalMs: performance.now() - startedAt })
  return sent
}

/** @throws what the rules throw, the spool freed: the client gets its 4xx from the listener */
async function directionOf(
  options: IntakeOptions,
  { envelope, parts, writer }: Complete,
): Promise<Direction> {
  try {
    return parts.directionOf(envelope)
  } catch (error) {
    await free(options, { id: writer.id, discard: () => writer.discard() })
    throw error
  }
}

/** Never rejects: what became of the message stands by now, and nobody shall send it again for this. */
async function free(options: IntakeOptions, message: Pick<SpooledMessage, 'id' | 'discard'>): Promise<void> {
  try {
    await message.discard()
  } catch (error) {
    report(options, error, { id: message.id, what: 'spool not freed' })
  }
}

/** Log and metrics. Never throws, for the reason of {@link free}. */
function note(options: IntakeOptions, handled: Handled, result: Parameters<typeof messageRecord>[1]): void {
  const { log, metrics } = options
  try {
    for (const scan of result.outcome?.scans ?? []) reportScan(options, handled.id, scan)
    const record = messageRecord(handled, result)
    log.message(record)
    metrics.record(record, result.outcome)
  } catch {
    // Where the log itself fails, the metric is the only one left to tell.
    metrics.internalErrors.inc()
  }
}

/** The cause of a scanner's failure: neither reply nor header tells it. */
function reportScan(options: IntakeOptions, id: string, scan: ScanResult): void {
  if (scan.outcome !== 'failed') return
  const { scanner, error } = scan
  // The runner makes a scanner's failure of whatever it throws, also of a bug.
  const bug = types.isNativeError(error.cause) && BUGS.has(error.cause.name) && !('code' in error.cause)
  report(options, bug ? error.cause : error, { id, scanner, what: 'scanner failed' })
}

const BUGS: ReadonlySet<string> = new Set(['TypeError', 'ReferenceError', 'RangeError'])

function report(
  { log, metrics }: IntakeOptions,
  error: unknown,
  { what, ...fields }: { readonly what: string; readonly id?: string; readonly scanner?: string },
): void {
  if (error instanceof FilterError) {
    log.warn({ ...fields, code: error.code, err: error }, what)
  } else {
    metrics.internalErrors.inc()
    log.error({ ...fields, err: error }, `internal error, ${what}`)
  }
}
