import { attempt, offText, outcome, table, tell } from './table.js'

/** 10025 with each fault at each stage. */
export const reinject = {
  name: 'reinject',
  title: '10025',
  async run(kit, { runs }, say) {
    const onRow = (row) => tell(say, `${row.stage} ${row.fault}`, row)
    const found = await attempt(
      { stage: 'all', fault: 'all' },
      async () => await kit.runReinjectRows({ messages: runs, onRow }),
    )
    return [found].flat()
  },
  text(kit, rows) {
    const head = [
      'stage',
      'fault',
      'messages',
      'replies: expected',
      'found',
      'copies',
      'doubled',
      'lost',
      'result',
    ]
    return [
      'Three recipients for each message. The first try meets the fault, then 10025 is well and the message comes ' +
        'again until every recipient is answered. Copies are recipients that 10025 took it for.',
      offText(rows),
      table(
        head,
        rows.map((row) => {
          const { stage, fault, messages = '–', expected = '–', found = '–' } = row
          const counts = [row.copies ?? '–', row.doubled ?? '–', row.lost ?? '–']
          return [stage, fault, messages, expected, found, ...counts, outcome(row)]
        }),
      ),
    ].join('\n\n')
  },
}
