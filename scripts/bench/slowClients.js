/** What a hundred clients notice of two thousand that send a byte a second, and whether these leave anything behind. */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError, runWorker } from './processes.js'
import { withFilters } from './stage.js'
import { median } from './turns.js'

const slowClients = 2000
const sessions = 100
const count = 4000
const rounds = 3
const pollMs = 200
const patienceMs = 60_000

const limits = { connections: 4000, concurrency: 200 }

async function loads(filter) {
  const found = []
  for (let round = 0; round < rounds; round++) {
    const load = { port: filter.port, protocol: 'lmtp', sessions, count, kind: 'small' }
    const { seconds, p50Ms, p99Ms } = await filter.sink.counted(
      count,
      async () => await runWorker('load', load),
    )
    found.push({ perSecond: count / seconds, p50Ms, p99Ms })
  }
  filter.check()
  return found
}

const p99 = (found) => median(found.map(({ p99Ms }) => p99Ms))

const openFiles = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length

/** Waits until so many descriptors are open, or no more than so many. */
async function untilOpen(filter, holds, what) {
  const until = performance.now() + patienceMs
  while (!holds(openFiles(filter))) {
    if (performance.now() > until) throw new BenchError(`${openFiles(filter)} descriptors: not ${what}`)
    await delay(pollMs)
  }
}

async function measure([filter]) {
  // The first messages of a process are its slowest.
  await loads(filter)
  const before = openFiles(filter)
  const alone = await loads(filter)
  const slow = runWorker('slow', { port: filter.port, clients: slowClients })
  await untilOpen(filter, (open) => open >= before + slowClients, 'all slow clients')
  const among = await loads(filter)
  const stillThere = openFiles(filter) - before
  const { dropped, seconds } = await slow
  if (dropped !== slowClients) throw new BenchError(`${dropped} of ${slowClients} slow clients were dropped`)
  await untilOpen(filter, (open) => open <= before, 'as few as before')
  const again = await loads(filter)
  return { alone, among, again, slow: { clients: slowClients, stillThere, dropped, seconds } }
}

/** The ratio of the p99 of one message, with the slow ones there and without. */
export async function measureSlowClients(bench) {
  const stage = { name: 'slow', children: sessions, limits }
  const { alone, among, again, slow } = await withFilters({ ...bench, amavisd: false }, stage, measure)
  return {
    ecluse: p99(among) / p99(alone),
    sides: [
      { name: 'alone', rounds: alone },
      { name: 'among slow clients', rounds: among },
      { name: 'after them', rounds: again },
    ],
    slow,
  }
}
