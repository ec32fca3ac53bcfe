export * from './record.ts'
export * from './store.ts'
export * from './fileStore.ts'
export * from './release.ts'
