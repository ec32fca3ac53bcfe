/** The worker thread of loadAside.ts: reads one configuration and answers with plain values. */
import { parentPort, workerData } from 'node:worker_threads'
import type { FilterError } from '@ecluse/core'
import { SCANNER_KINDS } from '@ecluse/scanners'
import type { AsideAnswer, AsideTask, PlainError } from './loadAside.ts'
import { loadConfig } from './loadConfig.ts'

const { file, env, hostname } = workerData as AsideTask
const loaded = await loadConfig(file, { kinds: SCANNER_KINDS, env, hostname })
const answer: AsideAnswer =
  'errors' in loaded
    ? { errors: loaded.errors.map(plain) }
    : { config: loaded.config, warnings: loaded.warnings.map(plain) }
parentPort?.postMessage(answer)

/** An error loses its class on the way, and what it carries. */
function plain({ message, hint, place }: FilterError): PlainError {
  return { message, ...(hint !== undefined && { hint }), ...(place && { place }) }
}
