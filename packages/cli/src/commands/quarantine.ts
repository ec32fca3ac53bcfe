import { FilterError } from '@ecluse/core'
import { createReinjector } from '@ecluse/mail'
import { configFile, type Command, type Surroundings } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { QUARANTINE_OPTIONS, runQuarantine, type QuarantineSetup } from '../quarantine/actions.ts'
import { describeError } from '../terminal.ts'
import { reinjectOptions } from '../wiring.ts'

/** `quarantine`. */
export const quarantine: Command = {
  name: 'quarantine',
  usage:
    'list|show ID|release ID|delete ID|expire --config FILE [--json] [--raw] [--to ADDRESS]... [--force]',
  summary: 'Lists, shows, releases and deletes what is kept.',
  options: QUARANTINE_OPTIONS,
  positionals: 2,
  async run(args, around) {
    const interrupted = new AbortController()
    const interrupt = (): void => interrupted.abort()
    process.once('SIGINT', interrupt)
    try {
      return await runQuarantine(args, {
        configure: () => configure(configFile(args), around),
        stdout: process.stdout,
        stderr: process.stderr,
        signal: interrupted.signal,
        now: new Date(),
      })
    } finally {
      process.off('SIGINT', interrupt)
    }
  },
}

async function configure(file: string, around: Surroundings): Promise<QuarantineSetup> {
  const loaded = await loadConfig(file, around)
  if ('errors' in loaded) {
    const [first, ...others] = loaded.errors
    for (const error of others) around.complain(describeError(error))
    throw first ?? new FilterError('E_CONFIG', `${file}: cannot be used`)
  }
  const { quarantine: kept, hostname, reinject } = loaded.config
  const gate = await reinjectOptions(reinject, hostname)
  return {
    directory: kept.directory,
    hostname,
    ...(kept.keep !== undefined && { keepMs: kept.keep }),
    openGate: () => createReinjector(gate),
  }
}
