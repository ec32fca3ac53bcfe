/** What a row of the bench is measured on: filters with their sinks, and the sides made from them. */
import { join } from 'node:path'
import { amavisdMissing, startAmavisdOrNot, startEcluse } from './filters.js'
import { freePort, runWorker } from './processes.js'
import { countedAtSink, startSharedSink } from './sink.js'
import { runSource } from './source.js'

/** Écluse's way into Postfix's place, and so everybody's here. */
const protocol = 'lmtp'

/**
 * Starts Écluse and, where it is there, amavisd-new, each in front of a sink of its own, runs `work` with them, and
 * ends them. `scanners`: services of the test kit; `children`: as many workers has amavisd-new; `limits`: those of
 * Écluse; `ruleSet`: what rules it has.
 */
export async function withFilters(
  bench,
  { name, scanners, children, connections, limits, remembers, redis, sinkOptions, ruleSet },
  work,
) {
  const { directory } = bench
  const open = []
  try {
    const started = []
    for (const startFilter of bench.amavisd ? [startEcluse, startAmavisdOrNot] : [startEcluse]) {
      const port = await freePort()
      const logFile = join(directory, `sink-${name}-${port}.log`)
      const sink = await startSharedSink({ port, protocol: 'smtp', logFile, options: sinkOptions })
      open.push(sink)
      const common = { directory, name, nextPort: port, scanners, children, connections, limits }
      const filter = await startFilter({
        ...common,
        remembers,
        redis,
        ruleSet,
        nodeOptions: bench.nodeOptions,
      })
      open.push(filter)
      started.push({ ...filter, sink })
    }
    for (const filter of started) await probe(filter, scanners)
    const result = await work(started)
    for (const { sink } of started) sink.checkSurplus()
    return result
  } finally {
    for (const each of open.toReversed()) await each.close()
  }
}

/** A filter whose scanner is not there may pass everything, and be fast. */
async function probe({ port, sink, failure }, scanners = {}) {
  if (failure !== undefined) return
  const kinds = [...(scanners.clamd ? ['virus'] : []), ...(scanners.spamd ? ['spam'] : [])]
  for (const kind of kinds) {
    const load = { port, protocol, sessions: 1, count: 1, kind }
    // Accepted and thrown away: none for the sink.
    await sink.counted(0, async () => await runWorker('load', load))
  }
}

/** smtp-source straight into smtp-sink. `source`: sessions, keep, sizeBytes. */
export async function straightSource(bench, source) {
  const sink = { port: await freePort(), protocol, logFile: join(bench.directory, 'straight.log') }
  const logFile = join(bench.directory, 'source.log')
  return {
    name: 'straight',
    run: async (count) =>
      await countedAtSink(
        sink,
        count,
        async () => await runSource({ ...source, protocol, port: sink.port, logFile }, count),
      ),
  }
}

export function sourceThrough(bench, { name, port, pid, sink, check }, source) {
  const logFile = join(bench.directory, 'source.log')
  return {
    name,
    pid,
    async run(count) {
      check()
      const result = await sink.counted(
        count,
        async () => await runSource({ ...source, protocol, port, logFile }, count),
      )
      check()
      return result
    },
  }
}

/** Our own client (load.js) straight into smtp-sink. `load`: sessions, kind, keep. */
export async function straightLoad(bench, load) {
  const sink = { port: await freePort(), protocol, logFile: join(bench.directory, 'straight.log') }
  return {
    name: 'straight',
    run: async (count) =>
      await countedAtSink(
        sink,
        count,
        async () => await runWorker('load', { ...load, protocol, port: sink.port, count }),
      ),
  }
}

export function loadThrough({ name, port, pid, sink, check }, load) {
  return {
    name,
    pid,
    async run(count) {
      check()
      const result = await sink.counted(
        count,
        async () => await runWorker('load', { ...load, protocol, port, count }),
      )
      check()
      return result
    },
  }
}

/** The scanner on its own. `scan`: scanner, address, atOnce, kind. */
export function scannerAlone(scan) {
  return {
    name: `${scan.scanner} alone`,
    run: async (count) => await runWorker('scan', { ...scan, count }),
  }
}

/** @throws BenchError with `--amavis` when it is not there */
export function amavisdReason(wanted) {
  return wanted === false ? 'left out (--no-amavis)' : amavisdMissing()
}
