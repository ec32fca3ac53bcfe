import { FilterError } from '@ecluse/core'
import { summarize } from '@ecluse/quarantine'
import { escapeControls, visibleJson } from '../terminal.ts'
import { goOn, print, type QuarantineContext, type Task } from './task.ts'
import { listHead, listRow } from './text.ts'

/** Lines are written together: a write for each is slower than all the rest. */
const TOGETHER = 64 * 1024

/** `list`: rows for people, or the array of the contract. */
export async function list({ setup, context, options }: Task): Promise<number> {
  const { stdout } = context
  const { json } = options
  let text = ''
  let count = 0
  for await (const item of setup.store.list(options.filter, {
    ...options.page,
    onDamaged: tellOf(context),
  })) {
    if (json) text += `${count === 0 ? '[' : ','}\n${visibleJson(summarize(item))}`
    else text += `${count === 0 ? `${listHead()}\n` : ''}${listRow(item)}\n`
    count++
    if (text.length < TOGETHER) continue
    goOn(context, 'list: not all is shown')
    await print(stdout, text)
    text = ''
  }
  if (json) text += count === 0 ? '[]\n' : '\n]\n'
  await print(stdout, text)
  return 0
}

/** Tells on stderr of what cannot be read. */
export function tellOf({ stderr }: QuarantineContext): (error: unknown) => void {
  return (error) => {
    stderr.write(`ecluse: ${escapeControls(error instanceof FilterError ? error.message : String(error))}\n`)
  }
}
