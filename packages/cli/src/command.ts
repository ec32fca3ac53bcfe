import { FilterError, type ScannerKind } from '@ecluse/core'

/** What a command finds around it; tests give their own. */
export interface Surroundings {
  readonly kinds: readonly ScannerKind[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** The system's name. */
  readonly hostname: string
  /** Our own version. */
  readonly version: string
  /** In the order in which help lists them. */
  readonly commands: readonly ListedCommand[]
  /** Writes to stdout: results. Lines with their ends. */
  readonly out: (text: string) => void
  /** Writes one line to stderr, after `ecluse: `. */
  readonly complain: (line: string) => void
}

/** The arguments of one command, read. */
export interface Arguments {
  /** Values of the options that were given. */
  readonly options: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
  readonly positionals: readonly string[]
}

/** One option of a command, as node:util parseArgs takes it. */
export interface CommandOption {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  /** One sentence. */
  readonly doc: string
}

/** A word after `ecluse`; listed in main.ts. */
export interface Command {
  readonly name: string
  /** What follows the name: `--config FILE [--print]`; '' for nothing. */
  readonly usage: string
  /** One sentence. */
  readonly summary: string
  readonly options: Readonly<Record<string, CommandOption>>
  /** How many words may follow at most; absent: none. */
  readonly positionals?: number
  /** Not listed by help. */
  readonly hidden?: boolean
  /**
   * Does it.
   *
   * @returns the exit code: 0 well, 1 it failed, 2 wrong usage or configuration
   * @throws FilterError becomes one line on stderr: exit code 2 for E_USAGE and E_CONFIG, else 1.
   */
  run(args: Arguments, around: Surroundings): Promise<number>
}

/** A command, or what loads it when it is needed. */
export type ListedCommand =
  | Command
  | (Pick<Command, 'name' | 'hidden'> & { readonly load: () => Promise<Command> })

/** Loads it where that is still to be done. */
export async function loadedCommand(listed: ListedCommand): Promise<Command> {
  return 'load' in listed ? await listed.load() : listed
}

/** `--config`, of every command that needs a configuration. */
export const CONFIG_OPTION: CommandOption = { type: 'string', doc: 'The configuration file.' }

/**
 * The value of `--config`.
 *
 * @throws FilterError E_USAGE when it was not given.
 */
export function configFile({ options }: Arguments): string {
  const file = options['config']
  if (typeof file === 'string' && file !== '') return file
  throw new FilterError('E_USAGE', '--config is missing', {
    hint: 'name the file: --config /etc/ecluse/ecluse.yaml',
  })
}
