import { FilterError, type Config } from '@ecluse/core'
import type { Daemon, LevelledLog } from '@ecluse/daemon'
import { configChanges } from './configChanges.ts'
import type { ListFile } from './listFiles.ts'
import { loadAside, type ReloadedConfig } from './loadAside.ts'
import type { ConfigSources, LoadedRules } from './loadConfig.ts'
import { describeError } from './terminal.ts'
import { checkFiles, reloadableOptions } from './wiring.ts'

/** A daemon, and what it was started with. */
export interface Started {
  readonly daemon: Pick<Daemon, 'reload'>
  readonly config: Config
  readonly lists: LoadedRules
  readonly file: string
  readonly around: ConfigSources
  readonly log: LevelledLog
}

const NOT_RELOADED = 'configuration not reloaded, the old one stays'
const NOT_REREAD = 'list not read again, its old entries stay'

/**
 * Puts in force what has changed, one thing after the other. Asked while it is at work, it does it once more after
 * that, however often it was asked.
 */
export class Reloading {
  readonly #started: Started
  #config: Config
  #lists: LoadedRules
  #running = false
  #hangup = false
  #changed = new Set<string>()

  constructor(started: Started) {
    this.#started = started
    this.#config = started.config
    this.#lists = started.lists
  }

  /** Of the configuration in force; another array whenever any of them was read again. */
  get listFiles(): readonly ListFile[] {
    return this.#lists.listFiles
  }

  /** Reads the file as at the start and puts it in force, or says in the log why not. Never rejects. */
  async reload(): Promise<void> {
    this.#hangup = true
    await this.#run()
  }

  /** Reads these of the list files again and puts those in force that can be used. Never rejects. */
  async reread(paths: Iterable<string>): Promise<void> {
    for (const path of paths) this.#changed.add(path)
    await this.#run()
  }

  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    try {
      while (this.#hangup || this.#changed.size > 0) {
        if (this.#hangup) {
          this.#hangup = false
          await this.#reloadOnce()
        } else {
          const changed = this.#changed
          this.#changed = new Set()
          await this.#rereadOnce(changed)
        }
      }
    } finally {
      this.#running = false
    }
  }

  async #reloadOnce(): Promise<void> {
    const { daemon, log, file, around, config: first } = this.#started
    const found: { loaded?: ReloadedConfig; errors?: readonly FilterError[] } = {}
    try {
      const done = await daemon.reload(async () => {
        const loaded = await loadAside(file, around)
        if ('errors' in loaded) {
          found.errors = loaded.errors
          throw new FilterError('E_CONFIG', `${loaded.errors.length} errors`)
        }
        await checkFiles(loaded.config)
        found.loaded = loaded
        return reloadableOptions(loaded)
      })
      if (!done || !found.loaded) return
      const { config, warnings } = found.loaded
      log.setLevel(config.log.level)
      for (const warning of warnings) log.warn({ warning: describeError(warning) }, 'configuration')
      tell(log, configChanges({ started: first, inForce: this.#config }, config))
      this.#config = config
      this.#lists = rulesAlone(found.loaded)
    } catch (error) {
      tellFailure(log, { error, told: found.errors }, NOT_RELOADED)
    }
  }

  async #rereadOnce(changed: ReadonlySet<string>): Promise<void> {
    const { daemon, log } = this.#started
    const found: { lists?: LoadedRules } = {}
    try {
      const done = await daemon.reload(async () => {
        const lists = await this.#lists.reread(changed)
        found.lists = lists
        return { rules: lists.rules }
      })
      if (!done || !found.lists) return
      this.#lists = found.lists
      log.info({ files: [...changed] }, 'lists read again')
    } catch (error) {
      tellFailure(log, { error }, NOT_REREAD)
      // One wrong file is no reason to leave the others as they were.
      const wrong = error instanceof FilterError ? error.place?.file : undefined
      if (wrong === undefined || !changed.has(wrong)) return
      const others = [...changed].filter((path) => path !== wrong)
      for (const path of others) this.#changed.add(path)
    }
  }
}

/** What is needed later on of a configuration: the text that it was read from is not. */
export function rulesAlone({ rules, listFiles, reread }: LoadedRules): LoadedRules {
  return { rules, listFiles, reread }
}

function tellFailure(
  log: LevelledLog,
  { error, told }: { readonly error: unknown; readonly told?: readonly FilterError[] | undefined },
  message: string,
): void {
  if (!(error instanceof FilterError)) return log.error({ err: error }, `internal error, ${message}`)
  for (const each of told ?? [error]) log.error({ error: describeError(each) }, message)
}

function tell(log: LevelledLog, { applied, needRestart }: ReturnType<typeof configChanges>): void {
  if (needRestart.length > 0) {
    log.warn({ keys: needRestart }, 'changed, but needs a restart: the old value stays')
  }
  log.info({ changed: applied }, 'configuration reloaded')
}
