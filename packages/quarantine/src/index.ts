export * from './record.ts'
export { readFields, type ReadFields } from './fields.ts'
export * from './store.ts'
export type { Retention } from './retention.ts'
export { PACKINGS, canPack, type Packing } from './packing.ts'
export { createFileStore, type FileStoreOptions } from './fileStore.ts'
export { createMailboxStore, type MailboxStoreOptions } from './mailboxStore.ts'
export {
  releasePlan,
  resentFields,
  withFields,
  type ReleasePlan,
  type ReleaseWish,
  type Resender,
} from './release.ts'
export { UnknownIdError } from './storeError.ts'
export * from './releaseMessage.ts'
export { spoolKept } from './spooled.ts'
export * from './releaseSecret.ts'
export * from './selfRelease.ts'
export * from './release.ts'
export { createPostgresStore, type PostgresHealth, type PostgresStore } from './postgresStore.ts'
export type { PostgresOptions, PostgresPlace } from './postgresLink.ts'
