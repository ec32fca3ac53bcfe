/** Rows about verdicts that are remembered: what one costs, and what they save. */
import { loadThrough, withFilters } from './stage.js'
import { compareRounds, measureInTurn } from './turns.js'

/** Runs `work` with an Écluse that has clamd, and one that has no scanner. */
async function withAndWithout(bench, name, work) {
  const clamd = await bench.kit.startClamd()
  const alone = { ...bench, amavisd: false }
  try {
    return await withFilters(alone, { name: `${name}-none`, children: 8 }, async ([without]) => {
      return await withFilters(
        alone,
        { name, scanners: { clamd }, children: 8, remembers: true },
        async ([filter]) => {
          return await work(filter, without)
        },
      )
    })
  } finally {
    await clamd.close()
  }
}

/** Added to one message by looking for its verdict, finding it, and asking clamd whether it still holds. */
async function hit(bench) {
  return await withAndWithout(bench, 'cache-hit', async (filter, without) => {
    const load = { sessions: 1, kind: 'small', again: 1 }
    const sides = [
      { ...loadThrough(without, load), name: 'no scanner' },
      { ...loadThrough(filter, load), name: 'remembered' },
    ]
    const [first, ecluse] = await measureInTurn(sides, { ...bench.plan, fewest: 50, most: 5_000 })
    const added = (round, base) => round.p50Ms - base.p50Ms
    return { ecluse: compareRounds(ecluse, first, added), sides: [first, ecluse] }
  })
}

/** The same filter, with and without copies among the messages. */
function share(again) {
  return async (bench) =>
    await withAndWithout(bench, `cache-${again * 100}`, async (filter) => {
      const load = { sessions: 8, kind: 'medium' }
      const sides = [
        { ...loadThrough(filter, load), name: 'no copies' },
        { ...loadThrough(filter, { ...load, again }), name: `${again * 100} % copies` },
      ]
      const [first, ecluse] = await measureInTurn(sides, { ...bench.plan, fewest: 100 })
      const ratio = (round, base) => round.perSecond / base.perSecond
      return { ecluse: compareRounds(ecluse, first, ratio), sides: [first, ecluse] }
    })
}

export const cacheRows = [
  {
    name: 'cache-hit',
    title: 'time added to a copy whose verdict of clamd is remembered, 2 kB, one at a time (p50)',
    against: 'the same without a scanner',
    target: { atMost: 0.2, unit: 'ms' },
    measure: hit,
  },
  ...[0.5, 0.9].map((again) => ({
    name: `cache-${again * 100}`,
    title: `with clamd, 50 kB, 8 at once, ${again * 100} % copies`,
    against: 'the same, each message another one',
    target: { atLeast: again === 0.5 ? 1.3 : 2, unit: 'ratio' },
    measure: share(again),
  })),
]
