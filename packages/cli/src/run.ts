import { parseArgs, types } from 'node:util'
import { FilterError } from '@ecluse/core'
import {
  loadedCommand,
  type Arguments,
  type Command,
  type ListedCommand,
  type Surroundings,
} from './command.ts'
import { commandHelp } from './commands/help.ts'
import { mostSimilar } from './similar.ts'
import { describeError, escapeControls } from './terminal.ts'

/** Runs the command that argv names (without node and script) and gives the exit code. Never rejects. */
export async function runCommand(argv: readonly string[], around: Surroundings): Promise<number> {
  // Asked for by name, so that it also holds when the arguments cannot be read.
  const debug = argv.includes('--debug')
  try {
    const command = await loadedCommand(findCommand(argv, around.commands))
    const args = readArguments(command, argv.slice(isFlag(argv[0]) ? 0 : 1))
    if (args.options['help'] === true && command.name !== 'help') {
      around.out(commandHelp(command))
      return 0
    }
    return await command.run(args, around)
  } catch (error) {
    around.complain(describeFailure(error))
    if (debug && types.isNativeError(error))
      around.complain((error.stack ?? '').split('\n').map(escapeControls).join('\n'))
    return error instanceof FilterError && (error.code === 'E_USAGE' || error.code === 'E_CONFIG') ? 2 : 1
  }
}

function describeFailure(error: unknown): string {
  if (error instanceof FilterError) return describeError(error)
  // instanceof Error is false for errors of Node itself in other realms.
  const message =
    typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error)
  return `internal error: ${escapeControls(message)} (run it again with --debug and report it)`
}

function findCommand([word]: readonly string[], commands: readonly ListedCommand[]): ListedCommand {
  const name = word === undefined ? undefined : (FLAGS[word] ?? word)
  const command = commands.find((candidate) => candidate.name === name)
  if (command) return command
  if (name === undefined || isFlag(name)) {
    throw new FilterError('E_USAGE', 'no command given', { hint: 'see ecluse help' })
  }
  const listed = commands.filter(({ hidden }) => !hidden).map((candidate) => candidate.name)
  const similar = mostSimilar(name, listed)
  throw new FilterError('E_USAGE', `no command "${name.slice(0, 60)}"`, {
    hint: similar === undefined ? 'see ecluse help' : `did you mean "${similar}"?`,
  })
}

const FLAGS: Readonly<Record<string, string>> = { '--help': 'help', '-h': 'help', '--version': 'version' }

function isFlag(word: string | undefined): boolean {
  return word?.startsWith('-') ?? false
}

function readArguments(command: Command, args: readonly string[]): Arguments {
  const { name, options, positionals: most = 0 } = command
  const known = {
    ...Object.fromEntries(
      Object.entries(options).map(([key, { type, multiple }]) => [
        key,
        { type, ...(multiple && { multiple }) },
      ]),
    ),
    help: { type: 'boolean' as const, short: 'h' },
    debug: { type: 'boolean' as const },
    version: { type: 'boolean' as const },
  }
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: known, allowPositionals: true })
    const extra = positionals[most]
    if (extra === undefined) return { options: values, positionals }
    throw new FilterError('E_USAGE', `${name}: "${extra.slice(0, 60)}" is one argument too many`, {
      hint: `usage: ecluse ${[name, command.usage].join(' ').trim()}`,
    })
  } catch (cause) {
    if (cause instanceof FilterError) throw cause
    throw argumentError(cause, command, Object.keys(known))
  }
}

function argumentError(cause: unknown, { name, usage }: Command, known: readonly string[]): FilterError {
  const { code, message } = cause as { readonly code?: string; readonly message: string }
  const usageHint = `usage: ecluse ${[name, usage].join(' ').trim()}`
  const option = /'(-[^' ]*)/.exec(message)?.[1] ?? 'this option'
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const similar = mostSimilar(option.replace(/^-+/, ''), known)
    const hint = similar === undefined ? usageHint : `did you mean "--${similar}"?`
    return new FilterError('E_USAGE', `${name}: no option ${option}`, { cause, hint })
  }
  if (code !== 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') throw cause
  const what = message.includes('does not take') ? `${option} takes no value` : `${option} needs a value`
  return new FilterError('E_USAGE', `${name}: ${what}`, { cause, hint: usageHint })
}
