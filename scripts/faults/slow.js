import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measureSlowClients } from '../bench/slowClients.js'
import { attempt, outcome, table, tell } from './table.js'

const mostRatio = 2

/** Clients that send a byte a second, and a hundred that do not. */
export const slow = {
  name: 'slow',
  title: 'Slow clients',
  async run(kit, options, say) {
    const row = await attempt({}, async () => {
      const directory = mkdtempSync(join(tmpdir(), 'ecluse-slow-'))
      chmodSync(directory, 0o755)
      try {
        const found = await measureSlowClients({ directory, nodeOptions: [] })
        const wrong = found.ecluse > mostRatio ? [`p99 × ${found.ecluse.toFixed(2)}`] : []
        return { ...found, wrong }
      } finally {
        rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
      }
    })
    tell(say, 'slow', row)
    return [row]
  },
  text(kit, [row]) {
    if (row.failed) return outcome(row)
    const { clients, stillThere, dropped, seconds } = row.slow
    const lines = row.sides.flatMap(({ name, rounds }) =>
      rounds.map(({ perSecond, p50Ms, p99Ms }, round) => [
        name,
        round + 1,
        Math.round(perSecond),
        p50Ms.toFixed(1),
        p99Ms.toFixed(1),
      ]),
    )
    return [
      `${clients} clients send a byte a second after DATA, 100 bring small mail. p99 among them is ` +
        `${row.ecluse.toFixed(2)} times what it is without (at most ${mostRatio}): ${outcome(row)}.`,
      table(['100 clients', 'round', 'messages a second', 'p50, ms', 'p99, ms'], lines),
      `${stillThere} of the slow ones were there to the end of the rounds, all ${dropped} were told 421 and dropped ` +
        `within ${Math.round(seconds)} s, and as many descriptors were open after that as before.`,
    ].join('\n\n')
  },
}
