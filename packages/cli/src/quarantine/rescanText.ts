import { formatScore } from '@ecluse/core'
import type { QuarantineItem } from '@ecluse/quarantine'
import { escapeControls } from '../terminal.ts'

/** What today's scanners and rules say of a message that is kept. */
export interface Rescanned {
  readonly item: QuarantineItem
  /** In RCPT TO order, of the recipients that wait. */
  readonly recipients: readonly {
    readonly address: string
    /** Whether it would now pass. */
    readonly passes: boolean
    readonly category: string
    readonly score?: number
    readonly reason: string
  }[]
}

/** The line above the rows of {@link rescanRow}. */
export function rescanHead(): string {
  return `${'ID'.padEnd(12)}  ${'WAS'.padEnd(10)}  WOULD PASS FOR`
}

/** A message that would now pass for somebody. */
export function rescanRow({ item, recipients }: Rescanned): string {
  const passing = recipients.filter(({ passes }) => passes)
  const shown = passing.slice(0, 5).map(({ address, category, score }) => {
    const points = score === undefined ? '' : `, score ${formatScore(score)}`
    return `<${escapeControls(address)}> (${category}${points})`
  })
  const more = passing.length > shown.length ? ` +${passing.length - shown.length}` : ''
  return `${item.id}  ${item.category.padEnd(10)}  ${shown.join(', ')}${more}`
}
