import { createSpool, type Spool, type SpoolOptions } from '@ecluse/mail'
import type { QuarantineStore } from '@ecluse/quarantine'
import { createFileLedger, type FileLedgerOptions, type Ledger } from '@ecluse/state'
import type { Log } from './log.ts'
import type { ReleaseStack } from './releaseStack.ts'

/** Where messages and what is known of them are kept. */
export interface Folders {
  readonly spool: Spool
  readonly quarantine: QuarantineStore
  readonly ledger?: Ledger
  /** Tries all of them. @throws FilterError E_SPOOL, E_QUARANTINE, E_LEDGER */
  readonly check: () => Promise<void>
  /** Whether the spool could not be written when it was last tried. */
  readonly spoolFails: () => boolean
}

/** What the folders are and hold. */
interface FolderOptions {
  readonly spool: SpoolOptions
  readonly wantsContent: () => boolean
  readonly quarantine: QuarantineStore
  readonly ledger?: FileLedgerOptions
  readonly log: Log
}

/**
 * @param shared where what was done is remembered too; absent: in the folder alone
 * @throws FilterError E_SPOOL, E_QUARANTINE, E_LEDGER when one cannot be used
 */
export async function openFolders(
  options: FolderOptions,
  stack: ReleaseStack,
  shared?: (own: Ledger) => Ledger,
): Promise<Folders> {
  const { quarantine } = options
  stack.push(() => quarantine.close())
  const spool = createSpool({ ...options.spool, wantsContent: options.wantsContent })
  const own = options.ledger && createFileLedger(options.ledger)
  const ledger = own && shared ? shared(own) : own
  await Promise.all([spool.prepare(), quarantine.prepare()])
  if (ledger) await openLedger(ledger, options.log, stack)
  const watched = watchSpool(spool)
  return {
    spool,
    quarantine,
    ...(ledger && { ledger }),
    check: async () => void (await Promise.all([watched.check(), quarantine.check(), ledger?.check()])),
    spoolFails: watched.fails,
  }
}

/** Remembers whether the spool could be written when it was last tried. */
function watchSpool(spool: Spool): { readonly check: () => Promise<void>; readonly fails: () => boolean } {
  let failed = false
  return {
    fails: () => failed,
    check: async () => {
      try {
        await spool.check()
        failed = false
      } catch (error) {
        failed = true
        throw error
      }
    },
  }
}

/** Reads what is remembered; closed after everything that could still write to it. */
async function openLedger(ledger: Ledger, log: Log, stack: ReleaseStack): Promise<void> {
  const { entries, damaged } = await ledger.prepare()
  stack.push(async () => await ledger.close())
  log.info({ entries }, 'ledger read')
  if (damaged > 0) log.warn({ damaged }, 'ledger: lines torn by a crash were passed over')
}
