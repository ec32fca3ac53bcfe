export * from './ledger.ts'
export * from './ledgerKey.ts'
export { createFileLedger, type FileLedgerOptions } from './fileLedger.ts'
export type { SharedCache } from './sharedCache.ts'
