import { FilterError } from '@ecluse/core'
import { visibleJson } from '../terminal.ts'
import { goOn, print, type Task } from './task.ts'
import { statsText } from './text.ts'

/** Messages that are deleted between two looks at whether the user has had enough. */
const AT_ONCE = 1000

/** `delete` */
export async function remove({ setup, context, id }: Task): Promise<number> {
  await setup.store.delete(id)
  await print(context.stdout, `${id}: deleted\n`)
  return 0
}

/** `expire`: what `serve` does by itself, at once and altogether. */
export async function expire({ setup, context }: Task): Promise<number> {
  const { retention, store } = setup
  const { now, signal, stdout } = context
  if (retention === undefined) {
    throw new FilterError('E_CONFIG', 'quarantine.keep: is not set', { hint: 'for example keep: 30d' })
  }
  let deleted = 0
  for (let more = true; more;) {
    const expired = await store.expire(retention, { now, limit: AT_ONCE, signal })
    deleted += expired.files
    more = expired.more
    goOn(context, `${deleted} deleted`)
  }
  await print(stdout, `${deleted} deleted\n`)
  return 0
}

/** `stats` */
export async function stats({ setup, context, options }: Task): Promise<number> {
  const figures = await setup.store.stats(options.filter)
  await print(context.stdout, options.json ? `${visibleJson(figures, 2)}\n` : statsText(figures))
  return 0
}
