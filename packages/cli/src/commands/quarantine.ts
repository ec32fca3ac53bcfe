import { userInfo } from 'node:os'
import { FilterError } from '@ecluse/core'
import { createReinjector } from '@ecluse/mail'
import { configFile, type Command, type Surroundings } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { runQuarantine } from '../quarantine/actions.ts'
import { QUARANTINE_OPTIONS } from '../quarantine/options.ts'
import type { QuarantineSetup } from '../quarantine/task.ts'
import { openQuarantine } from '../quarantineStore.ts'
import { describeError } from '../terminal.ts'
import { configuredScanners, readConfigured, reinjectOptions, retentionOf } from '../wiring.ts'

/** `quarantine`. */
export const quarantine: Command = {
  name: 'quarantine',
  usage: 'list|show ID|release ID|delete ID|expire|stats|export [ID]|rescan --config FILE [OPTION]...',
  summary: 'Lists, shows, releases, deletes, exports and looks again at what is kept.',
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
        user: userName(around.env['SUDO_USER']),
      })
    } finally {
      process.off('SIGINT', interrupt)
    }
  },
}

/** Who is to be asked about a release: of whoever became root, the name before that too. */
function userName(before: string | undefined): string {
  const name = ownName()
  return before === undefined || before === name ? name : `${before.replace(/\p{Cc}/gu, '?')} (${name})`
}

function ownName(): string {
  try {
    return userInfo().username
  } catch {
    // A number without a name, as in containers.
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}

async function configure(file: string, around: Surroundings): Promise<QuarantineSetup> {
  const loaded = await loadConfig(file, around)
  if ('errors' in loaded) {
    const [first, ...others] = loaded.errors
    for (const error of others) around.complain(describeError(error))
    throw first ?? new FilterError('E_CONFIG', `${file}: cannot be used`)
  }
  const { config, rules } = loaded
  const { quarantine: kept, hostname, alertHeader, reinject } = config
  const gate = await reinjectOptions(reinject, hostname)
  const retention = retentionOf(kept)
  return {
    store: await openQuarantine(kept, { read: readConfigured, nextHop: async () => gate }),
    hostname,
    ...(retention && { retention }),
    openGate: () => createReinjector(gate),
    openJudge: async () => ({ hostname, alertHeader, rules, scanners: configuredScanners(config) }),
  }
}
