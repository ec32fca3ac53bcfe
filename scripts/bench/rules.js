/** Rows about many rules: start, memory, lookups, and for how long mail waits for them. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ecluseConfig, startEcluse } from './filters.js'
import { cpuSeconds, freePort, peakResidentMB, residentMB, runWorker } from './processes.js'
import { entryCount, policyCount, senderCount, writeRuleSet } from './ruleSets.js'
import { sourceThrough, withFilters } from './stage.js'
import { compareRounds, measureInTurn, median } from './turns.js'

const many = `${policyCount.toLocaleString('en')} policies and ${senderCount.toLocaleString('en')} senders`

/** A round for the table: so long for one. */
function oneRound(ms) {
  return { perSecond: 1000 / ms, p50Ms: ms }
}

function ruleFile(bench, kind) {
  const folder = join(bench.directory, `rules-${kind}`)
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'ecluse.yaml')
  const basis = ecluseConfig(folder, { port: 10_024, nextPort: 10_025, scanners: [], connections: 20 })
  writeFileSync(file, basis + writeRuleSet(folder, kind))
  return file
}

/** From the start of the process until it takes mail. */
function start(kind) {
  return async (bench) => {
    const rounds = []
    let memory = {}
    for (let round = 0; round < bench.plan.rounds; round++) {
      const nextPort = await freePort()
      const started = performance.now()
      const options = { directory: bench.directory, name: `start-${kind}-${round}`, nextPort }
      const filter = await startEcluse({ ...options, ruleSet: kind, nodeOptions: bench.nodeOptions })
      const ms = performance.now() - started
      rounds.push({ ...oneRound(ms), cpuMs: cpuSeconds(filter.pid) * 1000 })
      memory = { memoryMB: peakResidentMB(filter.pid), idleMB: residentMB(filter.pid) }
      await filter.close()
    }
    return {
      ecluse: median(rounds.map(({ p50Ms }) => p50Ms)),
      sides: [{ name: 'Écluse', rounds, ...memory }],
    }
  }
}

/** One figure of the worker. */
function inProcess(task, { kind, figure, perUnit = 1 }) {
  return async (bench) => {
    const configFile = kind && ruleFile(bench, kind)
    const answer = await runWorker('rules', { task, configFile, entries: kind && entryCount(kind) })
    const ms = answer[figure] / perUnit
    return { ecluse: answer[figure], sides: [{ name: 'Écluse', rounds: [oneRound(ms)] }] }
  }
}

/** Per message, with and without. */
async function judging(bench) {
  const [without, withThem] = await Promise.all(['none', 'inline'].map(async (kind) => ruleFile(bench, kind)))
  const rounds = { none: [], many: [] }
  for (let round = 0; round < 3; round++) {
    const none = await runWorker('rules', { task: 'judging', configFile: without })
    const found = await runWorker('rules', { task: 'judging', configFile: withThem })
    rounds.none.push(oneRound(none.judge / 1000))
    rounds.many.push(oneRound(found.judge / 1000))
  }
  const added = rounds.many.map(({ p50Ms }, index) => (p50Ms - rounds.none[index].p50Ms) * 1000)
  const sides = [
    { name: 'no rules', rounds: rounds.none },
    { name: 'Écluse', rounds: rounds.many },
  ]
  return { ecluse: median(added), sides }
}

/** Messages in time, with and without: two filters, one after the other in turn. */
async function throughput(bench) {
  const source = { sessions: 8, keep: true, sizeBytes: 2_048 }
  const alone = { ...bench, amavisd: false }
  return await withFilters(
    alone,
    { name: 'rules-none' },
    async ([without]) =>
      await withFilters(alone, { name: 'rules-many', ruleSet: 'inline' }, async ([withThem]) => {
        const sides = [
          { ...sourceThrough(bench, without, source), name: 'no rules' },
          sourceThrough(bench, withThem, source),
        ]
        const found = await measureInTurn(sides, bench.plan)
        const compare = (round, first) => round.perSecond / first.perSecond
        return { ecluse: compareRounds(found[1], found[0], compare), sides: found }
      }),
  )
}

const startTarget = { atMost: 2_000, unit: 'ms' }
const loopTarget = { atMost: 50, unit: 'ms' }

export const ruleRows = [
  {
    name: 'rules-start',
    title: `serve starts with ${many} in its YAML`,
    target: startTarget,
    measure: start('inline'),
  },
  {
    name: 'rules-start-files',
    title: `the same with senders and 20,000 recipients in list files`,
    target: startTarget,
    measure: start('files'),
  },
  {
    name: 'rules-memory',
    title: `memory kept for one entry of ${many} in YAML`,
    target: { atMost: 1_000, unit: 'B' },
    measure: inProcess('memory', { kind: 'inline', figure: 'bytesPerEntry' }),
  },
  {
    name: 'rules-memory-files',
    title: 'the same with list files',
    target: { atMost: 1_000, unit: 'B' },
    measure: inProcess('memory', { kind: 'files', figure: 'bytesPerEntry' }),
  },
  {
    name: 'rules-lookup',
    title: `rules of one message and recipient among ${many}`,
    target: { atMost: 20, unit: 'µs' },
    measure: inProcess('lookup', { kind: 'inline', figure: 'lookup', perUnit: 1000 }),
  },
  {
    name: 'rules-judge',
    title: `time that ${many} add to judging a message`,
    against: 'no rules',
    target: { atMost: 20, unit: 'µs' },
    measure: judging,
  },
  {
    name: 'rules-kept',
    title: `no scanners, 2 kB, kept connections, 8 sessions, with ${many}`,
    against: 'no rules',
    target: { atLeast: 0.95, unit: 'ratio' },
    measure: throughput,
  },
  {
    name: 'rules-patterns',
    title: 'one address of the worst kind on all regular expressions of the worst kind',
    target: loopTarget,
    measure: inProcess('patterns', { figure: 'delayMs' }),
  },
  {
    name: 'rules-reread',
    title: `longest that mail waits while a list file of ${senderCount.toLocaleString('en')} is read again`,
    target: loopTarget,
    measure: inProcess('reread', { kind: 'files', figure: 'delayMs' }),
  },
  {
    name: 'rules-reload',
    title: `longest that mail waits while the YAML of ${many} is read again`,
    target: loopTarget,
    measure: inProcess('reload', { kind: 'inline', figure: 'delayMs' }),
  },
].map((row) => ({ against: '', ...row }))
