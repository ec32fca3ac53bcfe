/**
 * Measures sides in turn, A B C A B C …: what slows the machine down for a while slows all of them down, and the
 * ratios of one round stay true when the figures do not.
 */
import { cpuSeconds } from './processes.js'

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** What a run lasts at least, as a share of what is wanted, to tell how many messages that needs. */
const tellingShare = 0.3
/** For so long a filter compiles its code and fills its pools, in seconds. */
const warmUpSeconds = 2

/** Warms a side up, and finds how many messages take about `seconds`. */
async function chooseCount(side, { seconds, fewest, most }) {
  let count = Math.min(fewest, most)
  let warm = 0
  for (;;) {
    const { seconds: taken } = await side.run(count)
    warm += taken
    const enough = Math.min(most, Math.max(fewest, Math.round((count / taken) * seconds)))
    const told = taken >= seconds * tellingShare || enough <= count
    if (told && warm >= warmUpSeconds) return enough
    // Not more at once: the first messages of a process are its slowest.
    count = Math.min(enough, count * 8)
  }
}

async function measureOnce(side, count) {
  const before = side.pid === undefined ? undefined : cpuSeconds(side.pid)
  const { seconds, p50Ms } = await side.run(count)
  return {
    perSecond: count / seconds,
    ...(p50Ms !== undefined && { p50Ms }),
    ...(before !== undefined && { cpuMs: ((cpuSeconds(side.pid) - before) * 1000) / count }),
  }
}

/**
 * `sides`: `{ name, run(count) → { seconds, p50Ms? }, pid?, plan? }`; the first is the one that all are compared with,
 * `plan` what differs for the side.
 * `plan`: rounds, seconds for each side and round, fewest and most messages of a run.
 *
 * Gives for each side its name and `rounds` (perSecond, p50Ms, cpuMs for one message), or the `failure` of a side
 * that could not be measured. @throws when that is the first side
 */
export async function measureInTurn(sides, plan) {
  const results = sides.map(({ name }) => ({ name, rounds: [] }))
  const counts = []

  async function attempt(index, work) {
    if (results[index].failure !== undefined) return
    try {
      await work()
    } catch (error) {
      if (index === 0) throw error
      results[index].failure = error.message
    }
  }

  for (const [index, side] of sides.entries()) {
    await attempt(index, async () => {
      counts[index] = await chooseCount(side, { ...plan, ...side.plan })
    })
  }
  for (let round = 0; round < plan.rounds; round++) {
    for (const [index, side] of sides.entries()) {
      await attempt(index, async () => {
        results[index].rounds.push(await measureOnce(side, counts[index]))
      })
    }
  }
  return results
}

/** The median over the rounds of `compare(round of the side, same round of the first)`; undefined after a failure. */
export function compareRounds(side, first, compare) {
  if (side === undefined || side.failure !== undefined) return undefined
  return median(side.rounds.map((round, index) => compare(round, first.rounds[index])))
}
