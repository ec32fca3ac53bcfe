import { Readable } from 'node:stream'
import type { DeliveryResult, Envelope, Recipient } from '@ecluse/core'
import { startEvilMta, type EvilMta, type EvilMtaOptions } from '@ecluse/fixtures'
import type { OutgoingMessage } from './outgoing.ts'
import { createReinjector, type ReinjectOptions, type Reinjector } from './reinject.ts'

/** Longer than any test, in milliseconds. */
export const LONG = 5000
export const PATIENT = { connectMs: LONG, commandMs: LONG, dataMs: LONG, dotMs: LONG, idleMs: LONG }
export const TEXT = 'Subject: x\r\n\r\nbody\r\n'

const closers: (() => Promise<void>)[] = []

/** Closes what {@link start} opened; for `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).toReversed()) await close()
}

/** Is closed by {@link closeAll}, before what came earlier. */
export function closeLater(close: () => Promise<void>): void {
  closers.push(close)
}

/** A next hop that misbehaves as told, and a reinjector that knows it. */
export async function start(
  evil: EvilMtaOptions = {},
  options: Partial<ReinjectOptions> = {},
): Promise<{ mta: EvilMta; reinjector: Reinjector }> {
  const mta = await startEvilMta(evil)
  const reinjector = createReinjector({
    protocol: evil.protocol ?? 'smtp',
    address: mta.address,
    connections: 2,
    hostname: 'filter.example',
    timeouts: PATIENT,
    ...options,
  })
  closeLater(() => mta.close())
  closeLater(() => reinjector.close())
  return { mta, reinjector }
}

/** The envelope of a message that came in by LMTP. */
export function envelopeOf(recipients: readonly Recipient[], change: Partial<Envelope> = {}): Envelope {
  return {
    protocol: 'lmtp',
    mailFrom: 'a@example.org',
    recipients,
    smtpUtf8: false,
    client: {},
    peer: { helo: 'mx' },
    listener: '127.0.0.1:10024',
    ...change,
  }
}

/** Delivers a message to one recipient. */
export async function deliverOne(
  reinjector: Reinjector,
  message: OutgoingMessage = inMemory(TEXT),
  signal: AbortSignal = AbortSignal.timeout(LONG),
): Promise<DeliveryResult[]> {
  const recipients = [{ address: 'b@example.net' }]
  const envelope = envelopeOf(recipients)
  return await reinjector.deliver({ id: 'M1', envelope, recipients, message, allOrNothing: false }, signal)
}

export function inMemory(text: string): OutgoingMessage {
  const bytes = Buffer.from(text, 'latin1')
  return { sizeBytes: bytes.length, chunks: [bytes], open: () => Readable.from([bytes]) }
}

export function fromStream(source: Readable, sizeBytes: number): OutgoingMessage {
  return { sizeBytes, open: () => source }
}

/** `relayed`, `withheld`, `refused:STAGE:CODE`, `failed:CODE`; in the order of the results. */
export function brief(results: readonly DeliveryResult[]): string[] {
  return results.map(briefly)
}

function briefly(result: DeliveryResult): string {
  switch (result.outcome) {
    case 'relayed':
    case 'withheld':
      return result.outcome
    case 'refused':
      return `refused:${result.stage}:${result.line.slice(0, 3)}`
    case 'failed':
      return `failed:${result.error.code}`
  }
}

/** Waits, a turn of the event loop at a time. */
export async function until(claim: () => boolean): Promise<void> {
  while (!claim()) await new Promise((resolve) => setImmediate(resolve))
}
