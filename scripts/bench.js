/**
 * Measures Écluse against the wire, against its scanners alone, and beside amavisd-new.
 *
 *   node scripts/bench.js [--only NAME,…] [--quick] [--json FILE] [--amavis | --no-amavis] [--cpu-prof DIR] [--list]
 *
 *   --only       only these rows            --quick     shorter runs, rougher figures
 *   --list       the rows and their targets --json      all figures of all rounds too, to a file
 *   --amavis     it is an error when amavisd-new is not there; without this its column stays empty
 *   --no-amavis  leave amavisd-new out      --cpu-prof  a CPU profile of Écluse for each row, for Chrome's inspector
 *
 * Exit code 0 also when a target is missed: this reports. 1 when something could not be measured, 2 for wrong usage.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { describeMachine } from './bench/machine.js'
import { judge, markdown } from './bench/report.js'
import { rows } from './bench/rows.js'
import { amavisdReason } from './bench/stage.js'

const plans = {
  full: { rounds: 5, seconds: 3, fewest: 200, most: 100_000 },
  quick: { rounds: 3, seconds: 1, fewest: 100, most: 20_000 },
}

class UsageError extends Error {}

function readOptions() {
  const flag = { type: 'boolean' }
  const text = { type: 'string' }
  const options = { only: text, quick: flag, json: text, list: flag, 'cpu-prof': text }
  const { values } = parseArgs({ options: { ...options, amavis: flag, 'no-amavis': flag } })
  const names = values.only?.split(',') ?? rows.map(({ name }) => name)
  const unknown = names.find((name) => !rows.some((row) => row.name === name))
  if (unknown !== undefined) throw new UsageError(`no row ${unknown} (--list shows them)`)
  return { ...values, chosen: rows.filter(({ name }) => names.includes(name)) }
}

function listRows(chosen) {
  const lines = chosen.map(({ name, title, target }) => {
    const limit = target.atLeast === undefined ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`
    return `${name.padEnd(16)} ${`${limit} ${target.unit}`.padEnd(14)} ${title}\n`
  })
  process.stdout.write(lines.join(''))
}

async function measureRow(row, bench) {
  const started = performance.now()
  try {
    const result = await row.measure(bench)
    const value = result.ecluse === undefined ? 'not measured' : judge(row.target, result.ecluse)
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    process.stderr.write(`bench: ${row.name}: ${value}, ${seconds} s\n`)
    return { row, result }
  } catch (error) {
    process.stderr.write(`bench: ${row.name}: ${error.message}\n`)
    return { row, error: error.message }
  }
}

function complete({ result }) {
  return result?.sides.every(({ failure }) => failure === undefined) ?? false
}

const ramDisk = { folder: '/dev/shm', bytes: 4 * 1024 ** 3 }

/** A disk of this machine would decide the figures of Postfix, which waits for it; TMPDIR chooses one. */
function chooseTemporaryFolder() {
  if (process.env.TMPDIR !== undefined || !existsSync(ramDisk.folder)) return
  const { bavail, bsize } = statfsSync(ramDisk.folder)
  // The test kit starts its daemons in the same place.
  if (bavail * bsize >= ramDisk.bytes) process.env.TMPDIR = ramDisk.folder
}

async function measureAll({ chosen, quick, json, 'cpu-prof': profiles }, amavisd) {
  chooseTemporaryFolder()
  const directory = mkdtempSync(join(tmpdir(), 'ecluse-bench-'))
  // At exit and not in `finally`: also after a signal, when everything that writes here has been killed.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  // The daemons that are started here have users of their own.
  chmodSync(directory, 0o755)
  const plan = quick ? plans.quick : plans.full
  const profileFolder = profiles === undefined ? undefined : resolve(profiles)
  if (profileFolder !== undefined) mkdirSync(profileFolder, { recursive: true })
  const nodeOptions = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
  const kit = await import('../fixtures/dist/index.js')
  const bench = { directory, plan, kit, nodeOptions, amavisd: amavisd === undefined }
  const machine = describeMachine(directory)
  const outcomes = []
  for (const row of chosen) outcomes.push(await measureRow(row, bench))
  process.stdout.write(markdown({ machine, plan, outcomes, amavisdReason: amavisd }))
  if (json !== undefined) writeJson(json, { machine, plan, outcomes })
  if (!outcomes.every(complete)) process.exitCode = 1
}

function writeJson(file, { machine, plan, outcomes }) {
  const found = outcomes.map(({ row: { name, title, against, target }, result, error }) => {
    const met = result?.ecluse === undefined ? undefined : judge(target, result.ecluse) === 'met'
    return { name, title, against, target, met, ...result, error }
  })
  writeFileSync(file, `${JSON.stringify({ machine, plan, rows: found }, undefined, 2)}\n`)
}

async function main() {
  const options = readOptions()
  if (options.list) {
    listRows(options.chosen)
    return
  }
  const amavisd = amavisdReason(!options['no-amavis'])
  if (options.amavis && amavisd !== undefined) throw new UsageError(amavisd)
  await measureAll(options, amavisd)
}

// So that the daemons end with this process: an `exit` handler kills them.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

try {
  await main()
} catch (error) {
  const usage = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS')
  if (!usage) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 2
}
