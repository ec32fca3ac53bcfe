import { attempt, inLanes, outcome, table, tell } from './table.js'

/** Replies that are lost while nothing of ours fails. */
export const lostReplies = {
  name: 'lost',
  title: 'Lost replies',
  isUsual: true,
  async run(kit, { runs, jobs }, say) {
    return await inLanes(kit.LOST_REPLIES, jobs, async (plan) => {
      const row = await attempt(plan, async () => await kit.runLostReply(plan, runs))
      tell(say, plan.what, row)
      return row
    })
  },
  text(kit, rows) {
    const head = [
      'replies lost',
      'runs',
      'tries',
      'answered from the ledger',
      'copies for each, all runs',
      'result',
    ]
    const lines = rows.map((row) => {
      const { what, runs, tries, replayed, copies } = row
      return [what, runs ?? '–', tries ?? '–', replayed ?? '–', copies.join(', '), outcome(row)]
    })
    return `Nothing of ours fails: the client goes away.\n\n${table(head, lines)}`
  },
}
