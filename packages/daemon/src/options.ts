import type { Address } from '@ecluse/core'
import type { ReceiverOptions, ReinjectOptions, SpoolOptions } from '@ecluse/mail'
import type { QuarantineStore } from '@ecluse/quarantine'
import type { FileLedgerOptions, RedisOptions } from '@ecluse/state'
import type { ExpiryOptions } from './expiry.ts'
import type { Log } from './log.ts'
import type { NoticeOptions } from './noticeOutbox.ts'
import type { ReloadableOptions } from './reload.ts'

export interface DaemonOptions extends ReloadableOptions {
  readonly hostname: string
  readonly receivers: readonly ReceiverOptions[]
  readonly reinject: ReinjectOptions
  readonly spool: SpoolOptions
  /** Closed with the daemon, also where it does not start. */
  readonly quarantine: QuarantineStore
  /** What is deleted of it, and how often it is looked for. Absent: nothing is. */
  readonly expiry?: Pick<ExpiryOptions, 'retention' | 'intervalMs'>
  /** What is kept as unchecked is looked at again; `intervalMs` is that of tries that had to wait. Absent: never. */
  readonly rescan?: { readonly intervalMs: number }
  /** Absent: nothing is remembered, and a lost reply is a second delivery. */
  readonly ledger?: FileLedgerOptions
  /** Memory that instances share, and may lose; `ledger` says whether the ledger is there too. Absent: there is none. */
  readonly redis?: RedisOptions & { readonly ledger: boolean }
  /** How often scanners are asked for their version. */
  readonly versionIntervalMs: number
  /** How long each answer to that, and to whether 10025 is there, is waited for. */
  readonly answerMs: number
  /** How long a scanner that cannot be connected to is given before it is tried once more. */
  readonly scanRetryMs: number
  /** Absent: nobody is told anything by mail. */
  readonly notices?: NoticeOptions
  /** Absent: no HTTP. */
  readonly http?: Address
  readonly log: Log
}
