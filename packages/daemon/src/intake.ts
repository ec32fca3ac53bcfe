import { types } from 'node:util'
import {
  BUSY_REPLY,
  failpoint,
  FilterError,
  NO_ROOM_REPLY,
  failureReply,
  SHUTTING_DOWN_REPLY,
  type Envelope,
  type ScanResult,
  type SmtpReply,
} from '@ecluse/core'
import {
  type BodySink,
  type MailRequest,
  type ReceiveHandler,
  type Spool,
  type SpooledMessage,
  type SpoolWriter,
} from '@ecluse/mail'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { BorrowedParts, MessageParts, PartsInUse } from './parts.ts'
import { processMessage, repliesFor, type Outcome } from './pipeline.ts'
import { messageRecord, type Handled } from './record.ts'
import { SpoolRoom, type SpoolRent } from './room.ts'
import { Turn, Turns } from './messageTurns.ts'

export interface IntakeOptions {
  readonly spool: Spool
  /** Larger messages are in files. */
  readonly memoryBytes: number
  /** Files cannot be written, as far as is known: what needs one is refused before it is read. */
  readonly spoolFails?: () => boolean
  /** Each message borrows them at its dot, and works with these to its end. */
  readonly parts: PartsInUse
  readonly log: Log
  readonly metrics: Metrics
}

/** Takes messages from the listeners, within the limits, and sees each through to its one log line. */
export interface Intake extends ReceiveHandler {
  readonly inFlight: number
  /** Bytes of messages in files, declared ones that are still to come included. */
  readonly spoolBytes: number
  /** From here on every new transaction is refused with 421; what runs goes on. Fulfilled when nothing runs any more. */
  drain(): Promise<void>
  /** Makes what still runs fail, and what comes to its dot from here on: each gets its 4xx. */
  abort(): void
}

export function createIntake(options: IntakeOptions): Intake {
  const { spool, parts, memoryBytes, metrics } = options
  const turns = new Turns(() => parts.newest.concurrency)
  const room = new SpoolRoom(() => parts.newest.spoolBytes ?? Infinity)
  const work: Work = { turns, running: new Set(), spare: [] }
  let inFlight = 0
  let draining = false
  let onIdle: (() => void) | undefined

  const admit = ({ peer, declaredBytes = 0 }: MailRequest): SmtpReply | undefined => {
    if (draining) return SHUTTING_DOWN_REPLY
    if (!turns.mayBegin(peerName(peer))) {
      metrics.refused('concurrency')
      return BUSY_REPLY
    }
    if (declaredBytes <= memoryBytes) return undefined
    return options.spoolFails?.() === true || !room.fits(declaredBytes) ? noRoom() : undefined
  }
  const noRoom = (): SmtpReply => {
    metrics.refused('spool')
    return NO_ROOM_REPLY
  }
  const release = (): void => {
    inFlight--
    if (inFlight === 0) onIdle?.()
  }
  return {
    get inFlight() {
      return inFlight
    },
    get spoolBytes() {
      return room.bytes
    },
    admit,
    begin(envelope) {
      const { peer, declaredBytes = 0 } = envelope
      const refusal = admit({ ...(peer.address !== undefined && { peer: peer.address }), declaredBytes })
      if (refusal) return refusal
      const incoming = new Incoming(options, envelope, { writer: spool.create(), rent: room.rent() })
      if (declaredBytes > memoryBytes && !incoming.rent.reach(declaredBytes)) return noRoom()
      // Behind all that could throw: who is counted must be released.
      inFlight++
      return transaction(options, incoming, { work, release })
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

const peerName = (address: string | undefined): string => address ?? 'unix'

/** Messages between dot and reply, and why there shall be none. */
interface Work {
  readonly turns: Turns
  readonly running: Set<AbortController>
  /** Those that served a message and never aborted: a new one costs as much as all of the header edits. */
  readonly spare: AbortController[]
  stopped?: FilterError
}

/** A message that comes in. */
class Incoming {
  readonly envelope: Envelope
  readonly startedAt = performance.now()
  readonly #options: IntakeOptions
  readonly rent: SpoolRent
  readonly #writer: SpoolWriter
  #sizeBytes = 0
  #full: FilterError | undefined

  constructor(
    options: IntakeOptions,
    envelope: Envelope,
    { writer, rent }: { readonly writer: SpoolWriter; readonly rent: SpoolRent },
  ) {
    this.#options = options
    this.envelope = envelope
    this.#writer = writer
    this.rent = rent
  }

  get id(): string {
    return this.#writer.id
  }

  /** What there is no room for is thrown away: Postfix reads no reply before its dot, and would count a hang-up. */
  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#full) return undefined
    this.#sizeBytes += chunk.length
    const inFile = this.#sizeBytes > this.#options.memoryBytes
    if (!inFile || this.rent.reach(this.#sizeBytes)) return this.#writer.write(chunk)
    this.#options.metrics.refused('spool')
    this.#full = new FilterError('E_SPOOL_FULL', 'no room for more messages in files: limits.spoolBytes')
    return this.discard()
  }

  /** @throws FilterError E_SPOOL, E_SPOOL_FULL */
  async finish(): Promise<SpooledMessage> {
    if (this.#full) throw this.#full
    this.rent.shrink(this.#sizeBytes > this.#options.memoryBytes ? this.#sizeBytes : 0)
    return await this.#writer.finish()
  }

  /** Frees what there is of it. Never rejects. */
  async discard(): Promise<void> {
    try {
      await this.#writer.discard()
    } catch (error) {
      report(this.#options, error, { id: this.id, what: 'spool not freed' })
    } finally {
      this.rent.shrink(0)
    }
  }
}

function transaction(
  options: IntakeOptions,
  incoming: Incoming,
  { work, release }: { readonly work: Work; readonly release: () => void },
): BodySink {
  return {
    write: (chunk) => incoming.write(chunk),
    async end() {
      try {
        const borrowed = options.parts.borrow()
        try {
          return await withinDeadline(options, { incoming, parts: borrowed.parts }, work)
        } finally {
          giveBack(options, borrowed, incoming.id)
        }
      } catch (error) {
        await incoming.discard()
        throw error
      } finally {
        release()
      }
    },
    abort() {
      void incoming.discard().finally(release)
    },
  }
}

async function withinDeadline(
  options: IntakeOptions,
  { incoming, parts }: Omit<Complete, 'turn'>,
  { turns, running, spare, stopped }: Work,
): Promise<readonly SmtpReply[]> {
  const controller = spare.pop() ?? new AbortController()
  running.add(controller)
  if (stopped) controller.abort(stopped)
  const timer = setTimeout(() => {
    controller.abort(new FilterError('E_ABORTED', `no result in ${parts.deadlineMs} ms`))
  }, parts.deadlineMs)
  const turn = new Turn(turns, peerName(incoming.envelope.peer.address), controller.signal)
  try {
    return await handle(options, { incoming, parts, turn }, controller.signal)
  } finally {
    clearTimeout(timer)
    running.delete(controller)
    incoming.rent.shrink(0)
    turn.end()
    if (!controller.signal.aborted) spare.push(controller)
  }
}

/** Never throws, for the reason of {@link free}: it closes scanners that nobody uses any more. */
function giveBack(options: IntakeOptions, borrowed: BorrowedParts, id: string): void {
  try {
    borrowed.release()
  } catch (error) {
    report(options, error, { id, what: 'scanners not freed' })
  }
}

/** A message that came to its dot. */
interface Complete {
  readonly incoming: Incoming
  readonly parts: MessageParts
  readonly turn: Turn
}

/** Whatever broke is a 4xx for this message alone. Rejects only where a bug leaves nothing to record. */
async function handle(
  options: IntakeOptions,
  complete: Complete,
  signal: AbortSignal,
): Promise<readonly SmtpReply[]> {
  const { incoming, parts, turn } = complete
  const { envelope, startedAt, id } = incoming
  const receiveMs = performance.now() - startedAt
  const direction = parts.directionOf(envelope)
  const known = { id, envelope, direction, receiveMs }
  let handled: Handled = { sizeBytes: 0, digest: '', ...known }
  let outcome: Outcome | undefined
  let replies: readonly SmtpReply[]
  let message: SpooledMessage | undefined
  try {
    failpoint('K3-dot-seen')
    message = await incoming.finish()
    try {
      // Before the ledger is asked: whoever waits must not keep another try from it.
      if (turn.awaited) await turn.awaited
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
    if (!message) await incoming.discard()
    const reply = failureReply(id, error instanceof FilterError ? error : undefined)
    replies = envelope.recipients.map(() => reply)
  }
  const sent = repliesFor(envelope, replies, id)
  note(options, handled, { outcome, replies: sent, totalMs: performance.now() - startedAt })
  return sent
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
