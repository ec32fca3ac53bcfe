/**
 * What many rules cost inside of a process: worker of rules.js.
 *
 * Options (see runWorker): task, and `configFile` but for patterns. Answers: `bytesPerEntry`; in microseconds of
 * processor time `lookup`, the rules of one message and recipient, and `judge`, all of its judging; `delayMs`, for how
 * long nothing else had its turn at most, of patterns in processor time.
 */
import { writeFileSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { patternPool, PATTERN_TEXT } from '../../packages/core/dist/index.js'
import { loadAside } from '../../packages/cli/dist/loadAside.js'
import { loadConfig } from '../../packages/cli/dist/loadConfig.js'
import { judge } from '../../packages/daemon/dist/index.js'
import { SCANNER_KINDS } from '../../packages/scanners/dist/index.js'
import { serveWorker } from './processes.js'
import { customer, policyCount, sender, senderCount } from './ruleSets.js'
import { median } from './turns.js'

async function load(configFile, read = loadConfig) {
  const loaded = await read(configFile, { kinds: SCANNER_KINDS, env: {}, hostname: 'a.example.org' })
  if ('errors' in loaded) throw new Error(loaded.errors[0].message)
  return loaded
}

function heapBytes() {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

async function memory({ configFile, entries }) {
  const before = heapBytes()
  // Only what `serve` keeps.
  const { config, rules, listFiles } = await load(configFile)
  const bytes = heapBytes() - before
  return { bytesPerEntry: bytes / entries, kept: [config, rules, listFiles].length }
}

/** Half of them known, half of them not. */
function envelope(index) {
  const known = index % 2 === 0
  return {
    protocol: 'lmtp',
    mailFrom: known
      ? `user${index}@${sender((index * 7919) % senderCount).replace(/^.*@|^\./, '')}`
      : `a${index}@b.example`,
    recipients: [
      { address: known ? `user@${customer((index * 31) % policyCount)}` : `user${index}@example.org` },
    ],
    smtpUtf8: false,
    client: { address: '198.51.100.7' },
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
  }
}

const times = 20_000

/** Milliseconds of processor time: other work on the machine does not count. */
function processorMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Microseconds for each call, the median of several runs. */
async function microseconds(work) {
  const runs = []
  for (let run = 0; run < 7; run++) {
    const started = processorMs()
    for (let index = 0; index < times; index++) await work(index)
    runs.push(((processorMs() - started) * 1000) / times)
  }
  return median(runs)
}

async function lookup({ configFile }) {
  const { rules } = await load(configFile)
  const envelopes = Array.from({ length: times }, (_, index) => envelope(index))
  return {
    lookup: await microseconds((index) => {
      const { recipients } = envelopes[index]
      const mail = rules.forMail(envelopes[index], [`author${index}@sender${index}.example.net`])
      mail.policyFor(recipients[0].address)
      mail.standingFor(recipients[0].address, [])
    }),
  }
}

async function judging({ configFile }) {
  const { rules } = await load(configFile)
  const parts = { hostname: 'a.example.org', alertHeader: 'X-Alert', scanners: [], rules }
  const { signal } = new AbortController()
  const receivedAt = new Date()
  const cases = Array.from({ length: times }, (_, index) => {
    const header = Buffer.from(`From: <author${index}@sender${index}.example.net>\r\nSubject: x\r\n\r\n`)
    const open = () => Readable.from([header])
    const message = { id: 'AAAAAAAAAAAA', sizeBytes: header.length, digest: '00', header, open }
    return { envelope: envelope(index), message, receivedAt }
  })
  return { judge: await microseconds(async (index) => await judge(parts, cases[index], signal)) }
}

/** For how long others had no turn at most while `work` went on, in milliseconds. */
async function longestDelay(work) {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  await delay(20)
  monitor.reset()
  await work()
  await delay(5)
  monitor.disable()
  return monitor.max / 1e6
}

/** Medians: what else runs on the machine holds up a single one. */
async function delays(rounds, work) {
  const found = []
  for (let round = 0; round < rounds; round++) found.push(await longestDelay(work))
  return median(found)
}

async function reread({ configFile }) {
  let loaded = await load(configFile)
  const { path } = loaded.listFiles.find((file) => file.path.endsWith('senders'))
  const text = readFileSync(path, 'utf8')
  const delayMs = await delays(5, async () => {
    writeFileSync(path, `${text}# ${performance.now()}\n`)
    loaded = await loaded.reread(new Set([path]))
  })
  return { delayMs }
}

async function reload({ configFile }) {
  await load(configFile)
  return { delayMs: await delays(3, async () => void (await load(configFile, loadAside))) }
}

/** Every character makes such a pattern follow as many threads as it has steps. */
function hostilePool() {
  const pool = patternPool()
  const patterns = []
  for (let count = 40; ; count++) {
    try {
      patterns.push(pool.compile(`(a|b)*a(a|b){${count}}[cd]`))
    } catch {
      return patterns
    }
  }
}

function coins(length) {
  return Array.from({ length }, () => (Math.random() < 0.5 ? 'a' : 'b')).join('')
}

function patterns() {
  const pool = hostilePool()
  const found = []
  for (let round = 0; round < 30; round++) {
    const address = coins(PATTERN_TEXT)
    const started = processorMs()
    for (const pattern of pool) pattern.test(address)
    found.push(processorMs() - started)
  }
  return { delayMs: median(found) }
}

const tasks = { memory, lookup, judging, reread, reload, patterns }

serveWorker(async (options) => await tasks[options.task](options))
