/**
 * Rows about many copies of one message that come at once: one is scanned, the others wait for it. How long each waits
 * for the scanner, by its own line in the log, against a scan of its own that is measured in the same round.
 */
import { availableParallelism } from 'node:os'
import { readFileSync, statSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError } from './processes.js'
import { loadThrough, withFilters } from './stage.js'
import { median } from './turns.js'

const copies = 200
const singles = 8
/** A fixed scan is long enough for all copies to come while it lasts. */
const fixedMs = 1_000
const limits = { concurrency: copies, connections: copies + 50 }
/** One that hangs is given up after this. */
const scannerKeys = { timeout: '6s', onError: 'pass' }
const logPatienceMs = 10_000

/** The lines of messages that a filter has written since the file was so long. */
function messageLines(logFile, from) {
  const text = readFileSync(logFile).subarray(from).toString('utf8')
  const lines = text.split('\n').filter((line) => line.includes('"event":"message"'))
  return lines.map((line) => JSON.parse(line))
}

/** What `send` makes a filter write: so many lines. */
async function linesOf({ logFile }, count, send) {
  const { size } = statSync(logFile)
  await send()
  const deadline = performance.now() + logPatienceMs
  for (;;) {
    const lines = messageLines(logFile, size)
    if (lines.length >= count) return lines
    if (performance.now() > deadline) throw new BenchError(`${lines.length} of ${count} lines in the log`)
    await delay(20)
  }
}

/** What the one scanner said, and after how long. */
function scansIn(lines) {
  return lines.map(({ scanners: [scan] }) => scan)
}

/** Messages that nobody has seen, one after the other. */
async function ownScans(filter) {
  const load = { sessions: 1, kind: 'newsletter' }
  const send = async () => await loadThrough(filter, load).run(singles)
  return scansIn(await linesOf(filter, singles, send)).map(({ ms }) => ms)
}

/** All copies at once, as many to each filter. */
async function herd(filters, round) {
  const each = copies / filters.length
  const sameName = `HERD${`${round}`.padStart(8, '0')}`
  const kind = { sessions: each, kind: 'newsletter', again: 1, sameName }
  const found = await Promise.all(
    filters.map(async (filter, index) => {
      const load = { ...kind, prefix: `F${index}` }
      return scansIn(await linesOf(filter, each, async () => await loadThrough(filter, load).run(each)))
    }),
  )
  return found.flat()
}

/** Runs `work` with so many instances that remember, and one that does not. */
async function withSome(bench, { name, number, scanners, redis }, work, started = []) {
  const alone = { ...bench, amavisd: false }
  const stage = { name: `${name}-${started.length}`, scanners, limits, connections: 20 }
  if (started.length === number) {
    return await withFilters(alone, stage, async ([forgetful]) => await work(started, forgetful))
  }
  return await withFilters(alone, { ...stage, remembers: true, redis }, async ([filter]) => {
    return await withSome(bench, { name, number, scanners, redis }, work, [...started, filter])
  })
}

/** Of one that was not told what another scan found: before its own began. */
function waitOf({ ms, cached, waitedMs = 0 }) {
  return cached ? ms : waitedMs
}

/** What it would be without a memory, on this machine: a busy one is late by itself. */
async function withoutMemory(filter) {
  const started = performance.now()
  const times = (await herd([filter], 0)).map(({ ms }) => ms)
  const perSecond = (copies * 1000) / (performance.now() - started)
  const name = `nothing remembered, longest ${Math.max(...times).toFixed(0)} ms`
  return side(name, [{ perSecond, p50Ms: median(times) }])
}

async function measureRounds(bench, { filters, forgetful, beforeHerd }) {
  const sides = { own: [], copies: [] }
  let worst = -Infinity
  let longestMs = 0
  let scanned = 0
  for (let round = 0; round < bench.plan.rounds; round++) {
    const own = await ownScans(filters[0])
    const ownMs = median(own)
    beforeHerd()
    const started = performance.now()
    const scans = await herd(filters, round)
    const seconds = (performance.now() - started) / 1000
    const waits = scans.filter(hasWaited).map(waitOf)
    if (waits.length < copies / 2) throw new BenchError(`only ${waits.length} of ${copies} have waited`)
    const longest = Math.max(...waits)
    longestMs = Math.max(longestMs, longest)
    scanned = Math.max(scanned, scans.filter(({ cached }) => !cached).length)
    worst = Math.max(worst, longest - ownMs)
    sides.own.push({ perSecond: 1000 / ownMs, p50Ms: ownMs })
    sides.copies.push({ perSecond: copies / seconds, p50Ms: median(waits) })
  }
  const waited = `waits, longest ${longestMs.toFixed(0)} ms; at most ${scanned} scans`
  const found = [side('a scan of its own', sides.own), side(waited, sides.copies)]
  if (forgetful !== undefined) found.push(await withoutMemory(forgetful))
  return { ecluse: worst, sides: found }
}

function side(name, rounds) {
  return { name, rounds }
}

const hasWaited = ({ cached, waitedMs }) => cached || waitedMs !== undefined

/** @param first what becomes of the first scan of the herd; absent: it ends well */
function withFake(name, number, first) {
  return async (bench) => {
    let next
    const onRequest = (request) => {
      if (request.subarray(0, 6).toString() !== 'REPORT') return undefined
      const fault = next
      next = undefined
      return { afterMs: fixedMs, ...(fault && { fault }) }
    }
    const fake = await bench.kit.startFakeSpamd({ forgetful: true, onRequest })
    const redis = number > 1 ? await bench.kit.startRedis() : undefined
    try {
      const scanners = { spamd: fake.address, spamdKeys: scannerKeys }
      return await withSome(bench, { name, number, scanners, redis }, async (filters, forgetful) => {
        return await measureRounds(bench, { filters, forgetful, beforeHerd: () => (next = first) })
      })
    } finally {
      await redis?.close()
      await fake.close()
    }
  }
}

function withSpamd(name, number) {
  return async (bench) => {
    const spamd = await bench.kit.startSpamd({ children: availableParallelism() })
    const redis = number > 1 ? await bench.kit.startRedis() : undefined
    try {
      return await withSome(
        bench,
        { name, number, scanners: { spamd, spamdKeys: { onError: 'pass' } }, redis },
        // 200 scans of a real one at once, where nothing is remembered, would only run into its timeout.
        async (filters) => await measureRounds(bench, { filters, beforeHerd: () => undefined }),
      )
    } finally {
      await redis?.close()
      await spamd.close()
    }
  }
}

const title = `${copies} copies at once`
const against = 'a scan of its own (median, one at a time)'
const target = { atMost: 50, unit: 'ms' }
const fixed = `a scanner that answers after ${fixedMs / 1000} s`

export const herdRows = [1, 2].flatMap((number) => {
  const where = number === 1 ? 'one instance' : 'two instances and Redis'
  const row = (name, what, measure) => ({
    name: `herd-${name}${number === 1 ? '' : '-2'}`,
    title: `${title}, ${where}, ${what}: the longest wait of any for the scanner`,
    against,
    target,
    measure: measure(`herd-${name}-${number}`),
  })
  return [
    row('fixed', fixed, (name) => withFake(name, number)),
    row('spamd', 'SpamAssassin', (name) => withSpamd(name, number)),
    row('fails', `${fixed}, the first time with garbage, before its own scan`, (name) => {
      return withFake(name, number, 'garbage')
    }),
    row('hangs', `${fixed}, the first time never, before its own scan`, (name) => {
      return withFake(name, number, 'silent')
    }),
  ]
})
