import { stat } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { FilterError, type Config, type ErrorPlace } from '@ecluse/core'
import {
  loadConfig,
  rulesOf,
  type ConfigSources,
  type LoadedConfig,
  type RefusedConfig,
} from './loadConfig.ts'

/** Reading more than this would hold up mail for longer than some 30 ms; a thread takes as long to start. */
const ASIDE_BYTES = 64 * 1024

/** What the worker is given. */
export interface AsideTask {
  readonly file: string
  readonly env: ConfigSources['env']
  readonly hostname: string
}

/** A FilterError with code E_CONFIG, as threads hand it over. */
export interface PlainError {
  readonly message: string
  readonly hint?: string
  readonly place?: ErrorPlace
}

/** What the worker answers. */
export type AsideAnswer =
  | { readonly errors: readonly PlainError[] }
  | { readonly config: Config; readonly warnings: readonly PlainError[] }

/** What a reload needs of a configuration. */
export type ReloadedConfig = Omit<LoadedConfig, 'effectiveYaml' | 'placeOf'>

/**
 * As loadConfig, for use while mail runs: a large file is read in a thread of its own, since YAML cannot be read in
 * steps. What is not a copy of plain values, the rules, is made here, in turns.
 *
 * @throws FilterError E_CONFIG when a list file has changed since the thread has read it, and cannot be used
 */
export async function loadAside(
  file: string,
  sources: ConfigSources,
): Promise<ReloadedConfig | RefusedConfig> {
  if (!(await isLarge(file))) return await loadConfig(file, sources)
  const answer = await askWorker({ file, env: { ...sources.env }, hostname: sources.hostname })
  if ('errors' in answer) return { errors: answer.errors.map(restored) }
  const { config } = answer
  return { ...(await rulesOf(config, file)), config, warnings: answer.warnings.map(restored) }
}

async function isLarge(file: string): Promise<boolean> {
  try {
    return (await stat(file)).size > ASIDE_BYTES
  } catch {
    // Whoever reads it says why it cannot be read.
    return false
  }
}

async function askWorker(task: AsideTask): Promise<AsideAnswer> {
  const worker = new Worker(new URL('./loadWorker.js', import.meta.url), { workerData: task })
  // A daemon that has ended does not wait for it.
  worker.unref()
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', (code) => reject(new TypeError(`the worker ended with ${code} and no answer`)))
    })
  } finally {
    await worker.terminate()
  }
}

function restored({ message, ...options }: PlainError): FilterError {
  return new FilterError('E_CONFIG', message, options)
}
