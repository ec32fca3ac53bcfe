import { FilterError } from '@ecluse/core'
import { loadedCommand, type Command } from '../command.ts'

/** `start`: what `npm start` calls. With a configuration the daemon, without one the demonstration. */
export const start: Command = {
  name: 'start',
  usage: '[--config FILE] [--once] [--directory DIR]',
  summary: 'Runs serve with a configuration, demo without one.',
  options: {
    config: { type: 'string', doc: 'The configuration file, for serve.' },
    once: { type: 'boolean', doc: 'End after the table, for demo.' },
    directory: { type: 'string', doc: 'Where its mail, quarantine and spool are, for demo; absent: var.' },
  },
  hidden: true,
  async run(args, around) {
    const name = args.options['config'] === undefined ? 'demo' : 'serve'
    const command = around.commands.find((candidate) => candidate.name === name)
    if (!command) throw new FilterError('E_USAGE', `start: ${name} is not available in this version`)
    return await (await loadedCommand(command)).run(args, around)
  },
}
