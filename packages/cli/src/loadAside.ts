import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { FilterError, type Config, type ErrorPlace } from '@ecluse/core'
import {
  loadConfig,
  rulesOf,
  type ConfigSources,
  type LoadedConfig,
  type RefusedConfig,
} from './loadConfig.ts'
import { putBack, type Piece } from './pieces.ts'

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
  const ended = new AbortController()
  worker.once('error', (cause) => ended.abort(cause))
  worker.once('exit', (code) => ended.abort(new TypeError(`the worker ended with ${code} and no answer`)))
  try {
    const answer = await said<AsideAnswer>(worker, ended.signal)
    for (;;) {
      worker.postMessage('more')
      const piece = await said<Piece | 'end'>(worker, ended.signal)
      if (piece === 'end') return answer
      putBack(answer, piece)
      // Mail comes first.
      await turn()
    }
  } finally {
    await worker.terminate()
  }
}

/** The next thing that it says. */
async function said<T>(worker: Worker, ended: AbortSignal): Promise<T> {
  try {
    const [message] = (await once(worker, 'message', { signal: ended })) as [T]
    return message
  } catch (error) {
    throw ended.aborted ? ended.reason : error
  }
}

function restored({ message, ...options }: PlainError): FilterError {
  return new FilterError('E_CONFIG', message, options)
}
