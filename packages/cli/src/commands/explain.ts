import { FilterError } from '@ecluse/core'
import type { Command } from '../command.ts'
import { EXPLAIN_OPTIONS, readRequest } from '../explain/request.ts'
import { explainMessage } from '../explain/run.ts'
import { explanationText } from '../explain/text.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError, visibleJson } from '../terminal.ts'

/** `explain`. */
export const explain: Command = {
  name: 'explain',
  usage:
    '--config FILE MESSAGE.eml [--sender A] [--rcpt B]... [--client IP] [--helo NAME] [--listener ADDRESS] ' +
    '[--smtputf8] [--scanners live|none] [--all] [--json]',
  summary: 'Tells what would become of a message, and why; changes and delivers nothing.',
  options: EXPLAIN_OPTIONS,
  positionals: 1,
  async run(args, around) {
    const request = readRequest(args)
    const loaded = await loadConfig(request.config, around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    const interrupted = new AbortController()
    const interrupt = (): void => interrupted.abort(new FilterError('E_ABORTED', 'interrupted'))
    process.once('SIGINT', interrupt)
    try {
      const explanation = await explainMessage(request, loaded, interrupted.signal)
      around.out(request.json ? `${visibleJson(explanation, 2)}\n` : explanationText(explanation))
      return 0
    } finally {
      process.off('SIGINT', interrupt)
    }
  },
}
