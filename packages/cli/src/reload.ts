import { FilterError, type Config } from '@ecluse/core'
import type { Daemon, LevelledLog } from '@ecluse/daemon'
import type { Surroundings } from './command.ts'
import { configChanges } from './configChanges.ts'
import { loadConfig, type LoadedConfig } from './loadConfig.ts'
import { describeError } from './terminal.ts'
import { checkFiles, reloadableOptions } from './wiring.ts'

/** What a daemon was started with. */
export interface Started {
  readonly daemon: Daemon
  readonly config: Config
  readonly file: string
  readonly around: Surroundings
  readonly log: LevelledLog
}

const NOT_RELOADED = 'configuration not reloaded, the old one stays'

/**
 * Gives what to do when somebody asks to reload: reads the file as at the start and puts it in force, or says in the
 * log why not. Asked while it is at work, it does it once more after that, however often it was asked.
 */
export function reloading(started: Started): () => Promise<void> {
  let inForce = started.config
  let running = false
  let asked = false
  return async () => {
    asked = true
    if (running) return
    running = true
    try {
      while (asked) {
        asked = false
        inForce = (await reloadOnce(started, inForce)) ?? inForce
      }
    } finally {
      running = false
    }
  }
}

/** Never rejects. Absent: what was in force is so still. */
async function reloadOnce(started: Started, inForce: Config): Promise<Config | undefined> {
  const { daemon, log } = started
  const found: { loaded?: LoadedConfig; errors?: readonly FilterError[] } = {}
  try {
    const done = await daemon.reload(async () => {
      const loaded = await loadConfig(started.file, started.around)
      if ('errors' in loaded) {
        found.errors = loaded.errors
        throw new FilterError('E_CONFIG', `${loaded.errors.length} errors`)
      }
      await checkFiles(loaded.config)
      found.loaded = loaded
      return reloadableOptions(loaded)
    })
    if (!done || !found.loaded) return undefined
    log.setLevel(found.loaded.config.log.level)
    tell(log, found.loaded, configChanges({ started: started.config, inForce }, found.loaded.config))
    return found.loaded.config
  } catch (error) {
    if (error instanceof FilterError) {
      for (const each of found.errors ?? [error]) log.error({ error: describeError(each) }, NOT_RELOADED)
    } else {
      log.error({ err: error }, `internal error, ${NOT_RELOADED}`)
    }
    return undefined
  }
}

function tell(
  log: LevelledLog,
  { warnings }: LoadedConfig,
  { applied, needRestart }: ReturnType<typeof configChanges>,
): void {
  for (const warning of warnings) log.warn({ warning: describeError(warning) }, 'configuration')
  if (needRestart.length > 0) {
    log.warn({ keys: needRestart }, 'changed, but needs a restart: the old value stays')
  }
  log.info({ changed: applied }, 'configuration reloaded')
}
