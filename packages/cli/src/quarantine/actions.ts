import { escapeControls } from '../terminal.ts'
import { exportMail } from './export.ts'
import { list } from './list.ts'
import { FILTER_OPTIONS, readOptions, usage, type GivenOptions } from './options.ts'
import { release } from './release.ts'
import { show } from './show.ts'
import { expire, remove, stats } from './tidy.ts'
import type { QuarantineContext, Task } from './task.ts'

/** The arguments after the name of the command, as node:util parseArgs reads them with the command's options. */
export interface QuarantineArguments {
  readonly options: GivenOptions
  readonly positionals: readonly string[]
}

interface Action {
  /** The options that it knows, beside `--config`. */
  readonly options: readonly string[]
  /** Whether it is about one message; `maybe`: or about those that a filter chooses. */
  readonly id: 'none' | 'one' | 'maybe'
  /** Exit code. */
  run(task: Task): Promise<number>
}

const ACTIONS: Readonly<Record<string, Action>> = {
  list: { options: ['json', ...FILTER_OPTIONS, 'limit', 'offset', 'after'], id: 'none', run: list },
  show: { options: ['json', 'raw', 'attachments'], id: 'one', run: show },
  release: { options: ['to', 'as', 'learn', 'force'], id: 'one', run: release },
  delete: { options: [], id: 'one', run: remove },
  expire: { options: [], id: 'none', run: expire },
  stats: { options: ['json', ...FILTER_OPTIONS], id: 'none', run: stats },
  export: { options: ['format', ...FILTER_OPTIONS], id: 'maybe', run: exportMail },
  rescan: { options: ['json', 'release', ...FILTER_OPTIONS], id: 'none', run: rescan },
}

/** Loaded when it is wanted: it needs all that judges mail, which takes longer to load than a list takes. */
async function rescan(task: Task): Promise<number> {
  return await (await import('./rescan.ts')).rescan(task)
}

/**
 * Does what the arguments say. Answers with the exit code: 0, or 1 when a recipient of a release did not get the
 * message, or something else was not done for all.
 *
 * @throws FilterError E_USAGE, E_CONFIG, E_QUARANTINE, E_ABORTED.
 */
export async function runQuarantine(
  { positionals, options: given }: QuarantineArguments,
  context: QuarantineContext,
): Promise<number> {
  const [name = '', id = '', ...rest] = positionals
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
  if (action === undefined) {
    throw usage(name === '' ? 'quarantine: say what to do' : `quarantine ${escapeControls(name)}: unknown`)
  }
  const count = rest.length + (id === '' ? 0 : 1)
  if (action.id === 'one' && count === 0) throw usage(`quarantine ${name}: of which message?`)
  if (count > (action.id === 'none' ? 0 : 1)) throw usage(`quarantine ${name}: too many arguments`)
  const options = readOptions({ name, options: action.options }, given, context.now)
  const setup = await context.configure(options.config)
  try {
    return await action.run({ setup, context, options, id })
  } finally {
    await setup.store.close()
  }
}
