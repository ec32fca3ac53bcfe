import { FilterError } from '@ecluse/core'
import { loadedCommand, type Command } from '../command.ts'

/** `help [COMMAND]`. */
export const help: Command = {
  name: 'help',
  usage: '[COMMAND]',
  summary: 'Tells what the commands do.',
  options: {},
  positionals: 1,
  async run({ positionals: [name] }, { commands, out }) {
    if (name === undefined) {
      out(overview(await Promise.all(commands.map(loadedCommand))))
      return 0
    }
    const command = commands.find((candidate) => candidate.name === name)
    if (!command)
      throw new FilterError('E_USAGE', `no command "${name.slice(0, 60)}"`, { hint: 'see ecluse help' })
    out(commandHelp(await loadedCommand(command)))
    return 0
  },
}

/** What one command does, with its options. */
export function commandHelp({ name, usage, summary, options }: Command): string {
  const lines = Object.entries(options).map(([key, { doc, type }]) =>
    row(`--${key}${type === 'string' ? ' VALUE' : ''}`, doc),
  )
  return [
    `usage: ecluse ${[name, usage].join(' ').trim()}`,
    '',
    summary,
    ...(lines.length > 0 ? ['', ...lines] : []),
    '',
  ].join('\n')
}

function overview(commands: readonly Command[]): string {
  return [
    'usage: ecluse COMMAND [OPTIONS]',
    '',
    ...commands.filter(({ hidden }) => !hidden).map(({ name, summary }) => row(name, summary)),
    '',
    'ecluse help COMMAND tells more. With --debug, errors show where they come from.',
    'Exit codes: 0 well, 1 it failed, 2 wrong usage or configuration.',
    '',
  ].join('\n')
}

function row(left: string, right: string): string {
  return `  ${left.padEnd(16)} ${right}`
}
