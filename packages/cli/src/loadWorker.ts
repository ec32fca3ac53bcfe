/**
 * The worker thread of loadAside.ts: reads one configuration and answers with plain values; then, each time that it is
 * asked, with a piece of what is long in them, and with `end` behind the last one.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { FilterError } from '@ecluse/core'
import { SCANNER_KINDS } from '@ecluse/scanners'
import type { AsideAnswer, AsideTask, PlainError } from './loadAside.ts'
import { loadConfig } from './loadConfig.ts'
import { takeApart } from './pieces.ts'

const { file, env, hostname } = workerData as AsideTask
const loaded = await loadConfig(file, { kinds: SCANNER_KINDS, env, hostname })
const answer: AsideAnswer =
  'errors' in loaded
    ? { errors: loaded.errors.map(plain) }
    : { config: loaded.config, warnings: loaded.warnings.map(plain) }
const { rest, pieces } = takeApart(answer)
const left = pieces.values()
parentPort?.on('message', () => parentPort?.postMessage(left.next().value ?? 'end'))
parentPort?.postMessage(rest)

/** An error loses its class on the way, and what it carries. */
function plain({ message, hint, place }: FilterError): PlainError {
  return { message, ...(hint !== undefined && { hint }), ...(place && { place }) }
}
