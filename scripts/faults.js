/**
 * Ends Écluse in the midst of messages, gives it scanners, disks and a Postfix that fail, and counts what became of the
 * mail.
 *
 *   node scripts/faults.js [SECTION…] [--runs N] [--jobs N] [--only POINT,…] [--soak N] [--every MS] [--mixed N]
 *                         [--out FILE]
 *
 *   matrix, lost           the kill matrix and lost replies: these two where nothing is named
 *   scanners, reinject, disk   what an engine, 10025 or a disk can do
 *   soak, mixed, slow      kills under a real Postfix; mixed mail for a long time; 2000 clients that send a byte a second
 *   cluster                two instances behind HAProxy with one Redis; --runs kills
 *   all                    everything
 *
 *   --runs   runs of each cell, messages of each row (20)   --only   the matrix, and only these points
 *   --soak   also the soak, with so many messages (10000)   --every  between two kills of the soak (2000 ms)
 *   --mixed  also the mixed soak, with so many (100000)     --out    the report, as Markdown: chapters that are not run
 *                                                                    stay as they are in the file
 *   --jobs   cells, or scanners, at the same time (1)
 *
 * Exit code 1 when a figure is not as expected, 2 for wrong usage.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { describeMachine } from './bench/machine.js'
import { chapters, report } from './faults/report.js'
import { sections } from './faults/sections.js'

class UsageError extends Error {}

function whole(name, text, least) {
  const value = Number(text)
  if (/^\d{1,7}$/.test(text) && value >= least) return value
  throw new UsageError(`--${name} ${text}: expected a whole number from ${least}`)
}

function chooseSections(names, { only, soak, mixed }) {
  const known = sections.map(({ name }) => name)
  const unknown = names.find((name) => name !== 'all' && !known.includes(name))
  if (unknown !== undefined)
    throw new UsageError(`no section ${unknown} (there are ${known.join(', ')}, all)`)
  if (only !== undefined) return sections.filter(({ name }) => name === 'matrix')
  const named = new Set([...names, ...(soak ? ['soak'] : []), ...(mixed ? ['mixed'] : [])])
  if (names.length === 0) for (const { name, isUsual } of sections) if (isUsual) named.add(name)
  return sections.filter(({ name }) => named.has('all') || named.has(name))
}

function readOptions(points) {
  const text = { type: 'string' }
  const { values, positionals } = parseArgs({
    options: { runs: text, only: text, jobs: text, soak: text, every: text, mixed: text, out: text },
    allowPositionals: true,
  })
  const names = values.only?.split(',')
  const unknown = names?.find((name) => !points.some((point) => point.name === name))
  if (unknown !== undefined) {
    throw new UsageError(`no point ${unknown} (there are ${points.map(({ name }) => name).join(', ')})`)
  }
  return {
    chosen: chooseSections(positionals, values),
    runs: whole('runs', values.runs ?? '20', 1),
    points: names,
    jobs: whole('jobs', values.jobs ?? '1', 1),
    soak: whole('soak', values.soak ?? '10000', 1),
    every: whole('every', values.every ?? '2000', 100),
    mixed: whole('mixed', values.mixed ?? '100000', 1),
    out: values.out,
  }
}

function say(text) {
  process.stderr.write(`faults: ${text}\n`)
}

/** Others may work on the machine: a reader must know. */
function describeLoad() {
  return `load ${loadavg()
    .slice(0, 2)
    .map((value) => value.toFixed(1))
    .join(' and ')} (1 and 5 minutes) at the end`
}

async function runSection(kit, section, options) {
  const started = performance.now()
  const rows = await section.run(kit, options, say)
  const minutes = ((performance.now() - started) / 60_000).toFixed(1)
  return { section, rows, minutes, load: describeLoad() }
}

async function main() {
  const kit = await import('../fixtures/dist/index.js')
  const options = readOptions(kit.KILL_POINTS)
  const titles = sections.map(({ title }) => title)
  const machine = describeMachine('.')
  const results = []
  for (const section of options.chosen) {
    results.push(await runSection(kit, section, options))
    const fresh = chapters(kit, results, machine)
    // After each: what is cut off has at least these.
    if (options.out !== undefined) {
      const before = existsSync(options.out) ? readFileSync(options.out, 'utf8') : ''
      writeFileSync(options.out, report(titles, fresh, before))
    }
  }
  process.stdout.write(report(titles, chapters(kit, results, machine)))
  const wrong = results.flatMap(({ rows }) => rows).filter((row) => row.wrong.length > 0)
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
