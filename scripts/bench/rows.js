/**
 * The rows of the table. Each has a name, a title, what it is compared with, a target, and `measure(bench)`, which
 * gives `{ ecluse, amavisd?, sides }`: the compared figures, and the raw ones of measureInTurn.
 */
import { availableParallelism } from 'node:os'
import { cacheRows } from './cache.js'
import { herdRows } from './herd.js'
import { measureMemory } from './memory.js'
import { measurePostfix } from './postfix.js'
import { measureSlowClients } from './slowClients.js'
import { quarantineRows } from './quarantine.js'
import { ruleRows } from './rules.js'
import {
  loadThrough,
  scannerAlone,
  sourceThrough,
  straightLoad,
  straightSource,
  withFilters,
} from './stage.js'
import { compareRounds, measureInTurn } from './turns.js'

const sessions = 8
const megabyte = 1024 * 1024

const ratio = (round, first) => round.perSecond / first.perSecond
const addedMs = (round, first) => round.p50Ms - first.p50Ms

function compared(sides, compare) {
  const [first, ecluse, amavisd] = sides
  return {
    ecluse: compareRounds(ecluse, first, compare),
    amavisd: compareRounds(amavisd, first, compare),
    sides,
  }
}

function relay(name, source, limits) {
  return async (bench) =>
    await withFilters(bench, { name, children: sessions }, async (filters) => {
      const sides = [
        await straightSource(bench, source),
        ...filters.map((filter) => sourceThrough(bench, filter, source)),
      ]
      return compared(await measureInTurn(sides, { ...bench.plan, ...limits }), ratio)
    })
}

function latency(name, keep) {
  const load = { sessions: 1, kind: 'small', keep }
  return async (bench) =>
    await withFilters(bench, { name, children: 2 }, async (filters) => {
      const sides = [await straightLoad(bench, load), ...filters.map((filter) => loadThrough(filter, load))]
      return compared(await measureInTurn(sides, { ...bench.plan, fewest: 50, most: 2_000 }), addedMs)
    })
}

function withClamd(name, kind) {
  return async (bench) => {
    const clamd = await bench.kit.startClamd()
    try {
      return await withFilters(bench, { name, scanners: { clamd }, children: sessions }, async (filters) => {
        const scan = { scanner: 'clamd', address: { path: clamd.socketPath }, atOnce: sessions, kind }
        const sides = [
          scannerAlone(scan),
          ...filters.map((filter) => loadThrough(filter, { sessions, kind })),
        ]
        return compared(await measureInTurn(sides, { ...bench.plan, fewest: 40 }), ratio)
      })
    } finally {
      await clamd.close()
    }
  }
}

async function withClamdAndSpamd(bench) {
  const children = availableParallelism()
  const clamd = await bench.kit.startClamd()
  try {
    const spamd = await bench.kit.startSpamd({ children })
    try {
      const stage = { name: 'spamd', scanners: { clamd, spamd }, children }
      return await withFilters(bench, stage, async (filters) => {
        const kind = 'mixed'
        const address = { port: spamd.port, host: '127.0.0.1' }
        const sides = [
          scannerAlone({ scanner: 'spamd', address, atOnce: children, kind }),
          ...filters.map((filter) => loadThrough(filter, { sessions: children, kind })),
        ]
        // A multiple of the number of mixed messages, if possible: each side scans the same ones.
        return compared(await measureInTurn(sides, { ...bench.plan, fewest: 60, most: 120 }), ratio)
      })
    } finally {
      await spamd.close()
    }
  } finally {
    await clamd.close()
  }
}

const straight = 'smtp-source → smtp-sink straight'
const atLeast = (value) => ({ atLeast: value, unit: 'ratio' })

export const rows = [
  {
    name: 'connect',
    title: 'no scanners, 2 kB, a connection for each message, 8 sessions',
    against: straight,
    target: atLeast(0.35),
    measure: relay('connect', { sessions, keep: false, sizeBytes: 2_048 }),
  },
  {
    name: 'kept',
    title: 'no scanners, 2 kB, kept connections, 8 sessions',
    against: straight,
    target: atLeast(0.3),
    measure: relay('kept', { sessions, keep: true, sizeBytes: 2_048 }),
  },
  {
    name: 'megabyte',
    title: 'no scanners, 1 MB, kept connections, 8 sessions',
    against: straight,
    target: atLeast(0.5),
    measure: relay('megabyte', { sessions, keep: true, sizeBytes: megabyte }, { fewest: 16 }),
  },
  {
    name: 'postfix',
    title: 'through a real Postfix, mixed mail, no scanners',
    against: 'the same Postfix without a filter',
    target: atLeast(0.4),
    measure: async (bench) => compared(await measurePostfix(bench), ratio),
  },
  {
    name: 'latency',
    title: 'time added to one message of 2 kB, one at a time, kept connection (p50)',
    against: 'the same client straight to the sink',
    target: { atMost: 2, unit: 'ms' },
    measure: latency('latency', true),
  },
  {
    name: 'latency-connect',
    title: 'the same, a connection for each message',
    against: 'the same client straight to the sink',
    target: { atMost: 2, unit: 'ms' },
    measure: latency('latency-connect', false),
  },
  {
    name: 'clamd-50k',
    title: 'with clamd, 50 kB, 8 at once',
    against: 'clamd alone, INSTREAM, 8 at once',
    target: atLeast(0.85),
    measure: withClamd('clamd-50k', 'medium'),
  },
  {
    name: 'clamd-mixed',
    title: 'with clamd, mixed mail, 8 at once',
    against: 'clamd alone, INSTREAM, 8 at once',
    target: atLeast(0.5),
    measure: withClamd('clamd-mixed', 'mixed'),
  },
  {
    name: 'spamd',
    title: 'with clamd and SpamAssassin, mixed mail, as many at once as processors',
    against: 'spamd alone, as many at once as it has children',
    target: atLeast(0.9),
    measure: withClamdAndSpamd,
  },
  {
    name: 'memory',
    title: 'peak resident memory with 50 messages of 10 MB in flight',
    against: '',
    target: { atMost: 150, unit: 'MB' },
    measure: measureMemory,
  },
  {
    name: 'slow',
    title: '2,000 clients that send a byte a second inside DATA, and 100 others: p99 of these',
    against: 'the same without the slow ones',
    target: { atMost: 2, unit: 'ratio' },
    measure: measureSlowClients,
  },
  ...cacheRows,
  ...herdRows,
  ...quarantineRows,
  ...ruleRows,
]
