import { attempt, inLanes, offText, outcome, table, tell } from './table.js'

/** Each engine with each behaviour under each rule. */
export const scanners = {
  name: 'scanners',
  title: 'Scanners',
  async run(kit, { runs, jobs }, say) {
    const messages = runs + (runs % 2)
    const plans = kit.FAULTY_KINDS.flatMap((kind) =>
      kit.FAILURE_RULES.map((onError) => ({ kind, onError, behaviour: 'all' })),
    )
    const found = await inLanes(plans, jobs, async (plan) => {
      const { kind, onError } = plan
      const rows = await attempt(plan, async () => await kit.runScannerRows(kind, onError, { messages }))
      tell(say, `${kind} ${onError}`, { wrong: [rows].flat().flatMap(({ wrong }) => wrong) })
      return rows
    })
    return found.flat()
  },
  text(kit, rows) {
    const head = ['scanner', 'what it does', 'onError', 'messages', 'ham', 'EICAR', 'EICAR without a mark']
    head.push('most memory, MiB', 'result')
    const messages = rows.reduce((sum, row) => sum + (row.messages ?? 0), 0)
    return [
      'One process of Écluse for all that a scanner does under one rule. Half of the messages is ham, half has EICAR, ' +
        'with three recipients each; replies are counted by code. Where clamd fails nobody else knows EICAR, beside ' +
        'the others the test scanner does. After each row the scanner behaves, and the next messages are normal.',
      `${messages} messages; ${offText(rows)}`,
      table(
        head,
        rows.map((row) => {
          const { kind, behaviour, onError, ham = '–', eicar = '–', unmarked = '–', peakMiB = '–' } = row
          return [kind, behaviour, onError, row.messages ?? '–', ham, eicar, unmarked, peakMiB, outcome(row)]
        }),
      ),
    ].join('\n\n')
  },
}
