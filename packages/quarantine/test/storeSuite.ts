import { afterEach, beforeEach } from '@jest/globals'
import type { QuarantineStore } from '../src/store.ts'
import { events, expiry } from './storeEvents.ts'
import { failing, keeping } from './storeKeeping.ts'
import type { Current } from './storeKit.ts'
import { filters, lists } from './storeLists.ts'

/** Where the suite gets its stores from; between two tests nothing is kept. */
export interface StoreSource {
  setUp(): Promise<void>
  /** Another process on the same messages; not prepared. */
  open(): QuarantineStore
  tearDown(): Promise<void>
}

/** What every store does, wherever it keeps messages. */
export function storeSuite(source: StoreSource): void {
  let store: QuarantineStore
  const at: Current = { store: () => store, other: () => source.open() }

  beforeEach(async () => {
    await source.setUp()
    store = source.open()
    await store.prepare()
  })

  afterEach(async () => {
    await store.close()
    await source.tearDown()
  })

  keeping(at)
  failing(at)
  lists(at)
  filters(at)
  events(at)
  expiry(at)
}
