import { FilterError } from '@ecluse/core'
import { judgeKept, type JudgeParts, type Rejudged } from '@ecluse/daemon'
import { waitsFor, type QuarantinedMessage, type QuarantineItem } from '@ecluse/quarantine'
import { describeError, visibleJson } from '../terminal.ts'
import { tellOf } from './list.ts'
import { releaseBy } from './release.ts'
import { withSpooled } from './spooled.ts'
import { closeAll, goOn, print, type Task } from './task.ts'
import { rescanHead, rescanRow, type Rescanned } from './rescanText.ts'
import { resultText } from './text.ts'

/**
 * `rescan`: shows what is kept to today's scanners and rules, with the envelope that it came with; with `--release`,
 * those for whom it would now pass get it. Nothing else changes.
 */
export async function rescan(task: Task): Promise<number> {
  const { setup, context, options } = task
  const { stdout } = context
  const parts = await setup.openJudge()
  const totals = { looked: 0, pass: 0, failed: 0 }
  try {
    const found: Rescanned[] = []
    if (!options.json) await print(stdout, `${rescanHead()}\n`)
    for await (const item of setup.store.list(
      { ...options.filter, states: ['kept'] },
      { onDamaged: tellOf(context) },
    )) {
      goOn(context, `${totals.looked} looked at, ${totals.pass} would pass`)
      const rescanned = await rescanOne(task, parts, item)
      totals.looked++
      if (rescanned === undefined) {
        totals.failed++
        continue
      }
      const passes = rescanned.recipients.some((recipient) => recipient.passes)
      if (passes) totals.pass++
      if (options.json) found.push(rescanned)
      else if (passes) await print(stdout, `${rescanRow(rescanned)}\n`)
      if (passes && options.release && !(await releaseTo(task, rescanned))) totals.failed++
    }
    await print(
      stdout,
      options.json ? `${visibleJson(found.map(rescanJson), 2)}\n` : `${summaryOf(totals)}\n`,
    )
  } finally {
    await closeAll(parts.scanners)
  }
  return totals.failed === 0 ? 0 : 1
}

function summaryOf({ looked, pass, failed }: { looked: number; pass: number; failed: number }): string {
  return `${looked} looked at, ${pass} would pass${failed === 0 ? '' : `, ${failed} failed`}`
}

function rescanJson({ item, recipients }: Rescanned): object {
  return { id: item.id, category: item.category, storedAt: item.storedAt.toISOString(), recipients }
}

/** Absent: it could not be looked at, and stderr says why. */
async function rescanOne(
  { setup, context }: Task,
  parts: JudgeParts,
  item: QuarantineItem,
): Promise<Rescanned | undefined> {
  try {
    const kept = await setup.store.open(item.id)
    return { item, recipients: await judgeAgain(kept, parts, context.signal) }
  } catch (error) {
    if (!(error instanceof FilterError) || error.code === 'E_ABORTED') throw error
    context.stderr.write(`ecluse: ${describeError(error)}\n`)
    return undefined
  }
}

async function judgeAgain(
  kept: QuarantinedMessage,
  parts: JudgeParts,
  signal: AbortSignal,
): Promise<Rescanned['recipients']> {
  const { entry } = kept
  return await withSpooled(kept, async (message) => {
    const rejudged = await judgeKept(parts, { entry, message }, signal)
    return rejudged.map(aboutOf)
  })
}

function aboutOf({ decision, passes }: Rejudged): Rescanned['recipients'][number] {
  const { recipient, category, score, reason } = decision
  return { address: recipient.address, category, ...(score !== undefined && { score }), reason, passes }
}

/** Whether everybody got it. */
async function releaseTo(task: Task, { item, recipients }: Rescanned): Promise<boolean> {
  const { setup, context } = task
  try {
    const kept = await setup.store.open(item.id)
    // A scan takes its time: somebody may have released it meanwhile.
    const to = recipients.flatMap(({ passes, address }) =>
      passes && waitsFor(kept.entry, address) ? [address] : [],
    )
    if (to.length === 0) return true
    // What was a virus is none any more: today's scanners say so.
    const results = await releaseBy(task, kept, { to, force: true })
    for (const result of results) await print(context.stderr, `${item.id}: ${resultText(result)}\n`)
    return results.every(({ outcome }) => outcome === 'relayed')
  } catch (error) {
    if (!(error instanceof FilterError) || error.code === 'E_ABORTED') throw error
    context.stderr.write(`ecluse: ${describeError(error)}\n`)
    return false
  }
}
