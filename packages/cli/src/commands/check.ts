import path from 'node:path'
import { FilterError, type Config } from '@ecluse/core'
import { CONFIG_OPTION, configFile, type Arguments, type Command, type Surroundings } from '../command.ts'
import { checkPostfix } from '../doctor/checkPostfix.ts'
import { programFolders } from '../doctor/postconf.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError, escapeControls } from '../terminal.ts'
import { checkFiles } from '../wiring.ts'

/** `check`. */
export const check: Command = {
  name: 'check',
  usage: '--config FILE [--print] [--postfix DIR]',
  summary: 'Tells what is wrong with a configuration file, and what is probably not meant.',
  options: {
    config: CONFIG_OPTION,
    print: { type: 'boolean', doc: 'Print the configuration with every default filled in, without secrets.' },
    postfix: { type: 'string', doc: 'Compare it with the main.cf and master.cf of this folder too.' },
  },
  async run(args, around) {
    const file = configFile(args)
    const loaded = await loadConfig(file, around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    await checkFiles(loaded.config)
    const warnings = [
      ...loaded.warnings.map(describeError),
      ...(await postfixWarnings(loaded.config, args, around)),
    ]
    if (args.options['print'] === true) {
      // Only the configuration goes to stdout: it may become a file.
      for (const warning of warnings) around.complain(`warning: ${warning}`)
      around.out(loaded.effectiveYaml())
      return 0
    }
    for (const warning of warnings) around.out(`warning: ${warning}\n`)
    around.out(`${escapeControls(file)}: well\n`)
    return 0
  },
}

/**
 * What of Postfix does not fit, as `doctor` knows it. Only where it is asked for: what a file is worth must not depend on
 * the machine that it is checked on.
 */
async function postfixWarnings(
  config: Config,
  { options }: Arguments,
  { env }: Surroundings,
): Promise<string[]> {
  const directory = options['postfix']
  if (typeof directory !== 'string') return []
  if (!path.isAbsolute(directory)) {
    throw new FilterError('E_USAGE', 'check: --postfix: expected an absolute path', {
      hint: 'name the folder of main.cf: --postfix /etc/postfix',
    })
  }
  const { diagnoses } = await checkPostfix(config, { directory, folders: programFolders(env['PATH']) })
  return diagnoses
    .filter(({ level }) => level !== 'well')
    .map(({ check: name, detail, cure }) =>
      escapeControls(`${directory}: ${name}: ${detail}${cure === undefined ? '' : ` (${cure})`}`),
    )
}
