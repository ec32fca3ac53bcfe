/** Rows about verdicts that are remembered: what one costs, and what they save. */
import { availableParallelism } from 'node:os'
import { BenchError } from './processes.js'
import { loadThrough, withFilters } from './stage.js'
import { compareRounds, measureInTurn } from './turns.js'

/** Runs `work` with an Écluse that has clamd, and one that has no scanner. `memory`: what the first remembers, and where. */
async function withAndWithout(bench, { name, memory = { remembers: true } }, work) {
  // As on most days: for 15 minutes after its files have changed, clamd is asked for more.
  const clamd = await bench.kit.startClamd({ databaseAgeMs: 3000 })
  const alone = { ...bench, amavisd: false }
  try {
    return await withFilters(alone, { name: `${name}-none`, children: 8 }, async ([without]) => {
      return await withFilters(
        alone,
        { name, scanners: { clamd }, children: 8, ...memory },
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
  return await withAndWithout(bench, { name: 'cache-hit' }, async (filter, without) => {
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

/** How often Redis was asked for a verdict. */
async function readsOf({ tellRedis }, { port }) {
  const text = await tellRedis(port, 'INFO commandstats', 'cmdstat_getrange')
  return Number(/cmdstat_getrange:calls=(\d+)/i.exec(text)?.[1] ?? 0)
}

/** As `hit`, but the process has room for one verdict and two messages take turns: what it is asked for is in Redis alone. */
async function redisHit(bench) {
  const redis = await bench.kit.startRedis()
  const memory = { remembers: { maxEntries: 1 }, redis }
  try {
    return await withAndWithout(bench, { name: 'cache-redis', memory }, async (filter, without) => {
      const load = { sessions: 1, kind: 'pair', again: 1 }
      const remembered = loadThrough(filter, load)
      let sent = 0
      const run = async (count) => {
        sent += count
        return await remembered.run(count)
      }
      const sides = [
        { ...loadThrough(without, load), name: 'no scanner' },
        { ...remembered, run, name: 'remembered in Redis' },
      ]
      const [first, ecluse] = await measureInTurn(sides, { ...bench.plan, fewest: 50, most: 5_000 })
      const reads = await readsOf(bench.kit, redis)
      if (reads < sent) throw new BenchError(`Redis was asked for ${reads} of ${sent} verdicts`)
      const added = (round, base) => round.p50Ms - base.p50Ms
      return { ecluse: compareRounds(ecluse, first, added), sides: [first, ecluse] }
    })
  } finally {
    await redis.close()
  }
}

const letters = 500
/** amavisd-new remembers nothing: after so many its rate is known, and all of them take it minutes. */
const lettersWithoutMemory = 40

/** Of each burst nobody has seen any copy before. */
function burstThrough(filter, sessions) {
  let bursts = 0
  const kind = { kind: 'newsletter', again: 1, readers: true }
  return {
    name: filter.name,
    pid: filter.pid,
    async run(count) {
      const sameName = `BURST${(bursts++).toString().padStart(7, '0')}`
      return await loadThrough(filter, { sessions, ...kind, sameName }).run(count)
    },
  }
}

/** The same burst through both filters, with the same rules of SpamAssassin. */
async function newsletter(bench) {
  const children = availableParallelism()
  const spamd = await bench.kit.startSpamd({ children })
  const spamdKeys = { tellRecipients: false }
  const scanners = { spamd, spamdKeys }
  try {
    const stage = { name: 'newsletter', scanners, children, remembers: true }
    return await withFilters(bench, stage, async (filters) => {
      const [filter, amavisd] = filters
      const ours = burstThrough(filter, 8)
      const fewer = { plan: { fewest: lettersWithoutMemory, most: lettersWithoutMemory } }
      // What amavisd-new cannot take at once it makes wait.
      const sides = amavisd === undefined ? [ours] : [ours, { ...burstThrough(amavisd, children), ...fewer }]
      const plan = { ...bench.plan, fewest: letters, most: letters }
      const [ecluse, other] = await measureInTurn(sides, plan)
      const times = (round, base) => base.perSecond / round.perSecond
      return { ecluse: compareRounds(other, ecluse, times), sides: [ecluse, ...(other ? [other] : [])] }
    })
  } finally {
    await spamd.close()
  }
}

/** The same filter, with and without copies among the messages. */
function share(again) {
  return async (bench) =>
    await withAndWithout(bench, { name: `cache-${again * 100}` }, async (filter) => {
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
  {
    name: 'cache-hit-redis',
    title:
      'time added to a copy whose verdict of clamd is in Redis on loopback and not in memory (room for one, two ' +
      'messages in turn; the ledger is in files), 2 kB, one at a time (p50)',
    against: 'the same without a scanner',
    target: { atMost: 1.5, unit: 'ms' },
    measure: redisHit,
  },
  {
    name: 'newsletter',
    title:
      `a burst of ${letters} copies of a newsletter of 10 kB with SpamAssassin: one sender, client and content, each copy ` +
      'with a Received of its own and to another recipient (tellRecipients: false)',
    against: `amavisd-new with the same rules, by ${lettersWithoutMemory} of them`,
    target: { atLeast: 20, unit: 'ratio' },
    measure: newsletter,
  },
  ...[0.5, 0.9].map((again) => ({
    name: `cache-${again * 100}`,
    title: `with clamd, 50 kB, 8 at once, ${again * 100} % copies`,
    against: 'the same, each message another one',
    target: { atLeast: again === 0.5 ? 1.3 : 2, unit: 'ratio' },
    measure: share(again),
  })),
]
