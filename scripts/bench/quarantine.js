/** Rows about what is kept: how fast it becomes durable, and how long the command needs to list it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { BenchError, runWorker } from './processes.js'
import { compareRounds, measureInTurn, median } from './turns.js'

const program = new URL('../../packages/cli/bin/ecluse.js', import.meta.url).pathname
/** Messages that are listed. */
const listed = 100_000
const wanted = { perSecond: 300, share: 0.8 }
/** fsync costs nothing in memory: here is a disk, as a rule. */
const diskFolder = '/var/tmp'

/** Keeping, beside a plain write, fsync, rename and fsync of the folder of the same bytes. */
function put(atOnce) {
  return async ({ plan }) => {
    const directory = mkdtempSync(join(existsSync(diskFolder) ? diskFolder : tmpdir(), 'ecluse-bench-'))
    const side = (name, how) => ({
      name,
      run: async (count) => await runWorker('quarantine', { task: 'put', how, count, atOnce, directory }),
    })
    try {
      const sides = [side('plain', 'plain'), side('Écluse', 'store')]
      const found = await measureInTurn(sides, { ...plan, fewest: 50, most: 5_000 })
      const [plain, ecluse] = found
      const share = (round, first) =>
        round.perSecond / Math.min(wanted.perSecond, wanted.share * first.perSecond)
      return { ecluse: compareRounds(ecluse, plain, share), sides: found }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

let filled

/** The configuration of a quarantine with all of them; made once. */
async function fullQuarantine({ directory }) {
  filled ??= (async () => {
    const folder = join(directory, 'quarantine-list')
    mkdirSync(folder, { recursive: true })
    await runWorker('quarantine', { task: 'fill', count: listed, atOnce: 16, directory: join(folder, 'q') })
    const file = join(folder, 'ecluse.yaml')
    const scanners = 'scanners: [{ kind: clamd }, { kind: spamd }]'
    writeFileSync(
      file,
      `localDomains: [example.org]\n${scanners}\nquarantine: { directory: ${folder}/q, keep: 30d }\n`,
    )
    return file
  })()
  return await filled
}

/** Has the command say what it took, on a descriptor of its own. */
const tellUsage =
  'data:text/javascript,import{writeSync}from"node:fs";' +
  'process.on("exit",()=>writeSync(3,JSON.stringify(process.resourceUsage())))'

/** Runs the whole command, from its start to its end. */
async function list(file, options) {
  const started = performance.now()
  const args = ['--import', tellUsage, program, 'quarantine', 'list', '--config', file, ...options]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] })
  const [usage, [code]] = await Promise.all([text(child.stdio[3]), once(child, 'close')])
  if (code !== 0) throw new BenchError(`quarantine list ended with ${code}`)
  const ms = performance.now() - started
  const { maxRSS, userCPUTime, systemCPUTime } = JSON.parse(usage)
  return { ms, cpuMs: (userCPUTime + systemCPUTime) / 1000, memoryMB: maxRSS / 1024 }
}

async function listOften(bench, options) {
  const file = await fullQuarantine(bench)
  // The first one finds nothing in the page cache.
  await list(file, options)
  const runs = []
  for (let round = 0; round < bench.plan.rounds; round++) runs.push(await list(file, options))
  return runs
}

function listing(options) {
  return async (bench) => {
    const runs = await listOften(bench, options)
    const rounds = runs.map(({ ms, cpuMs }) => ({ perSecond: 1000 / ms, p50Ms: ms, cpuMs }))
    const memoryMB = median(runs.map((run) => run.memoryMB))
    return { ecluse: median(runs.map(({ ms }) => ms)), sides: [{ name: 'Écluse', rounds, memoryMB }] }
  }
}

/** Peak of the whole list above that of its first page. */
async function memory(bench) {
  const peak = async (options) => median((await listOften(bench, options)).map(({ memoryMB }) => memoryMB))
  const page = await peak(firstPage)
  const all = await peak([])
  const sides = [
    { name: 'first page', memoryMB: page },
    { name: 'Écluse', memoryMB: all },
  ]
  return { ecluse: all - page, sides }
}

const firstPage = ['--limit', '50']
const many = listed.toLocaleString('en')
const enough = `${wanted.perSecond}/s, or ${wanted.share} of plain write, fsync, rename and fsync of the folder where that is less`

export const quarantineRows = [
  ...[1, 8].map((atOnce) => ({
    name: `quarantine-put${atOnce === 1 ? '' : `-${atOnce}`}`,
    title: `messages of 8 kB kept on a disk, ${atOnce} at once`,
    against: enough,
    target: { atLeast: 1, unit: 'ratio' },
    measure: put(atOnce),
  })),
  {
    name: 'quarantine-page',
    title: `the command list with the first 50 of ${many} messages, from its start to its end`,
    target: { atMost: 500, unit: 'ms' },
    measure: listing(firstPage),
  },
  {
    name: 'quarantine-list',
    title: 'the same with all of them',
    target: { atMost: 500, unit: 'ms' },
    measure: listing([]),
  },
  {
    name: 'quarantine-memory',
    title: 'peak memory that the list of all has more than that of the first 50',
    target: { atMost: 64, unit: 'MB' },
    measure: memory,
  },
].map((row) => ({ against: '', ...row }))
