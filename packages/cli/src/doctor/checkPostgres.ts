import { FilterError, type QuarantineConfig } from '@ecluse/core'
import { postgresOptions } from '../postgresWiring.ts'
import { quarantinePlace } from '../quarantineStore.ts'
import { readConfigured } from '../wiring.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** Asks the PostgreSQL of the quarantine: who it is, how long it takes, whether its tables are ours. Never rejects. */
export async function checkPostgres(kept: QuarantineConfig): Promise<Diagnosis[]> {
  try {
    const options = await postgresOptions(kept, readConfigured)
    if (!options) throw new TypeError('the quarantine is not in PostgreSQL')
    const { createPostgresStore } = await import('@ecluse/quarantine/postgres')
    const store = createPostgresStore(options)
    try {
      const { version, answerMs, durable } = await store.health()
      const facts = `${quarantinePlace(kept)}: ${version}, answers in ${answerMs.toFixed(1)} ms`
      if (durable) return [well('quarantine', facts)]
      return [warn('quarantine', `${facts}, fsync is off: a power cut loses mail`, 'fsync = on there')]
    } finally {
      await store.close()
    }
  } catch (err) {
    if (!(err instanceof FilterError)) throw err
    return [wrong('quarantine', err.message, err.hint ?? 'see the log of the server')]
  }
}
