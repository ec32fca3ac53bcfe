import { configSchema, FilterError, type Config } from '@ecluse/core'
import { CONFIG_OPTION, configFile, type Command } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { postfixEntries } from '../postfixEntries.ts'
import { describeError } from '../terminal.ts'

/** `postfix`. */
export const postfix: Command = {
  name: 'postfix',
  usage: '[--config FILE]',
  summary: 'Prints what to add to main.cf and master.cf of Postfix for a configuration.',
  options: { config: { ...CONFIG_OPTION, doc: 'The configuration file; absent: the defaults.' } },
  async run(args, around) {
    if (args.options['config'] === undefined) {
      around.out(postfixEntries(defaults(around.hostname)))
      return 0
    }
    const loaded = await loadConfig(configFile(args), around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    around.out(postfixEntries(loaded.config))
    return 0
  },
}

function defaults(hostname: string): Config {
  const { data } = configSchema([], hostname).safeParse({ localDomains: [] })
  if (data) return data
  throw new FilterError('E_CONFIG', `the system's name is no host name: ${hostname}`, {
    hint: 'use --config FILE with hostname in it',
  })
}
