import { aboveZero, attempt, outcome, table, tell } from './table.js'

const concurrency = 10

/** Kills under a real Postfix. */
export const soak = {
  name: 'soak',
  title: 'Soak',
  async run(kit, { soak: messages, every: killEveryMs }, say) {
    const onProgress = (sent, kills) => say(`soak: ${sent} of ${messages} sent, ${kills} kills`)
    const plan = { messages, concurrency, killEveryMs, onProgress }
    const row = await attempt(plan, async () => {
      const found = await kit.soak(plan)
      const { lost, wrongBodies, bounces, unexplained } = found
      const wrong = aboveZero({ lost, wrongBodies, bounces, unexplained: unexplained.length })
      return { ...plan, ...found, wrong }
    })
    tell(say, 'soak', row)
    return [row]
  },
  text(kit, [row]) {
    if (row.failed) return outcome(row)
    const { messages, kills, seconds, copies, lost, wrongBodies, bounces, extraCopies } = row
    const lines = [
      ['messages, three recipients each', messages],
      ['SIGKILLs', kills],
      ['seconds', Math.round(seconds)],
      ['copies at the sink', copies],
      ['lost', lost],
      ['bodies that nobody sent', wrongBodies],
      ['bounces', bounces],
      ['copies beyond the first', extraCopies],
      ['messages with such copies whose first try was killed before it could be told', row.doubledByKill],
      ['messages with such copies and no kill to explain them', row.unexplained.length],
      ['result', outcome(row)],
    ]
    return [
      'Through a real Postfix, whose filter is killed again and again. A kill between the answer of 10025 and the ' +
        'ledger makes a second copy, for the messages that are there at that moment.',
      table(['soak', `a kill every ${row.killEveryMs} ms, ${row.concurrency} clients`], lines),
    ].join('\n\n')
  },
}
