/** Memory with many large messages in the filter at once: the sink takes none until all of them are there. */
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError, peakResidentMB, residentMB, runWorker } from './processes.js'
import { withFilters } from './stage.js'

const inFlight = 50
/** How long the sink waits at DATA, in seconds; the next longer one where the messages needed more time to come. */
const sinkDelays = [5, 20, 60]
const sampleMs = 250

/** The most that a process and its children had, sampled; only the kernel's own figure is exact, and that is for one. */
async function sampled(pid, work) {
  let peak = residentMB(pid)
  let done = false
  const watching = (async () => {
    while (!done) {
      peak = Math.max(peak, residentMB(pid))
      await delay(sampleMs)
    }
  })()
  try {
    await work()
  } finally {
    done = true
    await watching
  }
  return peak
}

async function fill({ port, sink, check }) {
  check()
  const load = { port, protocol: 'lmtp', sessions: inFlight, count: inFlight, kind: 'large' }
  const { peakUnanswered } = await sink.counted(inFlight, async () => await runWorker('load', load))
  check()
  if (peakUnanswered < inFlight)
    throw new NotAllAtOnce(`only ${peakUnanswered} messages were in flight at once`)
}

class NotAllAtOnce extends BenchError {}

/** Écluse: its own peak. amavisd-new: the sum over its processes, shared pages counted once. */
async function measureFilters(filters) {
  const [ecluse, amavisd] = filters
  const idleMB = peakResidentMB(ecluse.pid)
  await fill(ecluse)
  const figures = [{ name: ecluse.name, memoryMB: peakResidentMB(ecluse.pid), idleMB }]
  if (amavisd !== undefined) {
    try {
      amavisd.check()
      const amavisdIdleMB = residentMB(amavisd.pid)
      const memoryMB = await sampled(amavisd.pid, async () => await fill(amavisd))
      figures.push({ name: amavisd.name, memoryMB, idleMB: amavisdIdleMB })
    } catch (error) {
      figures.push({ name: amavisd.name, failure: error.message })
    }
  }
  return figures
}

export async function measureMemory(bench) {
  for (const [index, seconds] of sinkDelays.entries()) {
    const stage = { name: `memory-${index}`, children: inFlight, connections: inFlight }
    try {
      const sinkOptions = ['-w', `${seconds}`]
      const sides = await withFilters(bench, { ...stage, sinkOptions }, measureFilters)
      return { ecluse: sides[0].memoryMB, amavisd: sides[1]?.memoryMB, sides }
    } catch (error) {
      if (!(error instanceof NotAllAtOnce) || index === sinkDelays.length - 1) throw error
    }
  }
  throw new TypeError('no delay to try')
}
