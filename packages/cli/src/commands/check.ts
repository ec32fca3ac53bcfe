import { CONFIG_OPTION, configFile, type Command } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError, escapeControls } from '../terminal.ts'
import { checkFiles } from '../wiring.ts'

/** `check`. */
export const check: Command = {
  name: 'check',
  usage: '--config FILE [--print]',
  summary: 'Tells what is wrong with a configuration file, and what is probably not meant.',
  options: {
    config: CONFIG_OPTION,
    print: { type: 'boolean', doc: 'Print the configuration with every default filled in, without secrets.' },
  },
  async run(args, around) {
    const file = configFile(args)
    const loaded = await loadConfig(file, around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    await checkFiles(loaded.config)
    const warnings = loaded.warnings
    if (args.options['print'] === true) {
      // Only the configuration goes to stdout: it may become a file.
      for (const warning of warnings) around.complain(`warning: ${describeError(warning)}`)
      around.out(loaded.effectiveYaml())
      return 0
    }
    for (const warning of warnings) around.out(`warning: ${describeError(warning)}\n`)
    around.out(`${escapeControls(file)}: well\n`)
    return 0
  },
}
