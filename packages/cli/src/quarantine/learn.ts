import { FilterError, type ConfiguredScanner, type LearnedClass, type Message } from '@ecluse/core'
import type { QuarantinedMessage } from '@ecluse/quarantine'
import { describeError, escapeControls } from '../terminal.ts'
import { withSpooled } from './spooled.ts'
import { closeAll, print, type Task } from './task.ts'

/** Tells every scanner that learns what the message is; whether one did, and none failed. */
export async function teach(
  { setup, context }: Task,
  kept: QuarantinedMessage,
  as: LearnedClass,
): Promise<boolean> {
  const { scanners } = await setup.openJudge()
  try {
    const learners = scanners.filter(({ scanner }) => 'learn' in scanner)
    if (learners.length === 0) {
      const { stderr } = context
      stderr.write('ecluse: no scanner learns (spamd does; rspamd does with its option controller)\n')
      return false
    }
    return await withSpooled(kept, async (message) => {
      const results: boolean[] = []
      for (const learner of learners) results.push(await teachOne(learner, { message, as }, context))
      return !results.includes(false)
    })
  } finally {
    await closeAll(scanners)
  }
}

async function teachOne(
  { name, scanner, timeoutMs }: ConfiguredScanner,
  { message, as }: { readonly message: Message; readonly as: LearnedClass },
  { stdout, stderr, signal }: Task['context'],
): Promise<boolean> {
  try {
    const learned = await scanner.learn?.(
      message,
      as,
      AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    )
    await print(stdout, `${escapeControls(name)}: ${learned ? `learned as ${as}` : 'knew it already'}\n`)
    return true
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    stderr.write(`ecluse: ${describeError(error)}\n`)
    return false
  }
}
