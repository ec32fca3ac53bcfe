/**
 * Ends Écluse in the midst of messages and counts what became of them: the kill matrix, lost replies, and with --soak
 * a real Postfix whose filter is killed again and again.
 *
 *   node scripts/faults.js [--runs N] [--only POINT,…] [--soak N] [--every MS] [--out FILE]
 *
 *   --runs   runs of each cell and of each lost reply (20)     --only   only these points, and nothing else
 *   --soak   messages of the soak; 10000 is the full one       --every  between two kills of the soak (2000 ms)
 *   --out    the tables go there too, as Markdown
 *
 * Exit code 1 when a figure is not as expected, 2 for wrong usage.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeMachine } from './bench/machine.js'
import { markdown } from './faults/report.js'
import { runLostReplies, runMatrix, runSoak } from './faults/runs.js'

class UsageError extends Error {}

function whole(name, text, least) {
  const value = Number(text)
  if (/^\d{1,7}$/.test(text) && value >= least) return value
  throw new UsageError(`--${name} ${text}: expected a whole number from ${least}`)
}

function readOptions(points) {
  const text = { type: 'string' }
  const { values } = parseArgs({ options: { runs: text, only: text, soak: text, every: text, out: text } })
  const names = values.only?.split(',')
  const unknown = names?.find((name) => !points.some((point) => point.name === name))
  if (unknown !== undefined) {
    throw new UsageError(`no point ${unknown} (there are ${points.map(({ name }) => name).join(', ')})`)
  }
  return {
    runs: whole('runs', values.runs ?? '20', 1),
    points: points.filter(({ name }) => names?.includes(name) ?? true),
    matrixAlone: names !== undefined,
    soak: values.soak === undefined ? undefined : whole('soak', values.soak, 1),
    every: whole('every', values.every ?? '2000', 100),
    out: values.out,
  }
}

function say(text) {
  process.stderr.write(`faults: ${text}\n`)
}

async function main() {
  const kit = await import('../fixtures/dist/index.js')
  const options = readOptions(kit.KILL_POINTS)
  const machine = describeMachine('.')
  const started = performance.now()
  const matrix = await runMatrix(kit, options, say)
  const lost = options.matrixAlone ? [] : await runLostReplies(kit, options, say)
  const soak = options.soak === undefined ? undefined : await runSoak(kit, options, say)
  const minutes = ((performance.now() - started) / 60_000).toFixed(1)
  const found = { matrix, lost, soak }
  const text = markdown(kit, { ...found, machine, minutes })
  process.stdout.write(text)
  if (options.out !== undefined) writeFileSync(options.out, text)
  const wrong = [...matrix, ...lost, ...(soak === undefined ? [] : [soak])].filter(
    (row) => row.wrong.length > 0,
  )
  if (wrong.length > 0) {
    say(`${wrong.length} figures are not as expected`)
    process.exitCode = 1
  }
}

// So that the daemons end with this process: their watchers see its pipes close.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

try {
  await main()
} catch (error) {
  const usage = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS')
  if (!usage) throw error
  say(error.message)
  process.exitCode = 2
}
