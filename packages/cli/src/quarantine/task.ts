import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { FilterError, type ConfiguredScanner } from '@ecluse/core'
import type { JudgeParts } from '@ecluse/daemon'
import type { QuarantineStore, ReleaseGate, Retention } from '@ecluse/quarantine'
import type { QuarantineOptions } from './options.ts'

/** What the command needs of the configuration. */
export interface QuarantineSetup {
  /** Closed after the action. */
  readonly store: QuarantineStore
  readonly hostname: string
  /** Absent: everything for ever. */
  readonly retention?: Retention
  /** Whoever opens it closes it. */
  openGate(): ReleaseGate & { close(): Promise<void> }
  /** What `rescan` judges by; its scanners are those that `release --learn` teaches. Whoever opens it closes them. */
  openJudge(): Promise<JudgeParts>
}

/** What the command needs of the process. */
export interface QuarantineContext {
  /** @throws FilterError E_USAGE without a file, E_CONFIG for a wrong one. */
  configure(file: string | undefined): Promise<QuarantineSetup>
  readonly stdout: Writable
  readonly stderr: Writable
  readonly signal: AbortSignal
  readonly now: Date
  /** Who runs it: stands in the record of a release. */
  readonly user: string
}

/** What one action works with. */
export interface Task {
  readonly setup: QuarantineSetup
  readonly context: QuarantineContext
  readonly options: QuarantineOptions
  /** '' for an action on none. */
  readonly id: string
}

/** Waits where the reader is slower. */
export async function print(stream: Writable, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain')
}

/** The same of bytes, one character each. */
export async function printBytes(stream: Writable, bytes: string): Promise<void> {
  if (!stream.write(bytes, 'latin1')) await once(stream, 'drain')
}

/** @throws FilterError E_ABORTED when the user has interrupted it. */
export function goOn({ signal }: QuarantineContext, done: string): void {
  if (signal.aborted) throw new FilterError('E_ABORTED', done)
}

/** Frees what judging has opened; one that cannot be closed is of no interest any more. */
export async function closeAll(scanners: readonly ConfiguredScanner[]): Promise<void> {
  await Promise.allSettled(scanners.map(async ({ scanner }) => await scanner.close?.()))
}
