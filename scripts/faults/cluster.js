import { aboveZero, attempt, outcome, table, tell } from './table.js'

const clients = 10

/** Two instances, one ledger in Redis, kills. */
export const cluster = {
  name: 'cluster',
  title: 'Two instances behind HAProxy',
  async run(kit, { runs: kills }, say) {
    const plan = { kills, clients }
    const row = await attempt(plan, async () => {
      const found = await kit.killInCluster(plan)
      const { lost, wrongBodies, unexplained } = found
      return { ...plan, ...found, wrong: aboveZero({ lost, wrongBodies, unexplained: unexplained.length }) }
    })
    tell(say, 'cluster', row)
    return [row]
  },
  text(kit, [row]) {
    if (row.failed) return outcome(row)
    const lines = [
      ['messages, three recipients each', row.messages],
      ['SIGKILLs, of one instance and the other in turn', row.kills],
      ['seconds', Math.round(row.seconds)],
      ['lost', row.lost],
      ['bodies that nobody sent', row.wrongBodies],
      ['messages that met a kill', row.met],
      ['recipients that got the stored reply', row.replayed],
      ['copies beyond the first', row.extraCopies],
      ['messages with such copies that a kill had kept from the ledger', row.doubledByKill],
      ['messages with such copies and no kill to explain them', row.unexplained.length],
      ['result', outcome(row)],
    ]
    return [
      'With deploy/cluster/haproxy.cfg and one ledger in Redis. A client that plays Postfix brings each message until every ' +
        'recipient is answered, most often to the other instance after a kill; one in ten goes away after the first of three ' +
        'replies, the first time. A kill between the answer of 10025 and the ' +
        'ledger makes a second copy, for the messages that are there at that moment; nobody else knows of the first. It ' +
        'counts as that only if no two instances have told of a delivery.',
      table(['two instances', `${row.clients} clients`], lines),
    ].join('\n\n')
  },
}
