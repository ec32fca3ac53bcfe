import { afterAll, beforeAll, describe } from '@jest/globals'
import { describeWith, startPostgres, type PostgresService } from '@ecluse/fixtures'
import { at, emptyDatabase } from '../test/postgres.ts'
import { storeSuite } from '../test/storeSuite.ts'
import { createPostgresStore } from './postgresStore.ts'

let postgres: PostgresService
let url = ''

describeWith({ describe, beforeAll }, 'postgres')('PostgreSQL', () => {
  beforeAll(async () => {
    postgres = await startPostgres()
    url = await postgres.createDatabase()
    const store = createPostgresStore(at(url))
    await store.prepare()
    await store.close()
  })
  afterAll(async () => {
    await postgres.close()
  })

  storeSuite({
    setUp: () => emptyDatabase(postgres, url),
    open: () => createPostgresStore(at(url)),
    tearDown: async () => undefined,
  })
})
