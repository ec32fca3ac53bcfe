/**
 * Processes of a benchmark run: started here, ended here, and read through /proc. Everything that is still running
 * when the bench ends, in whatever way, is killed by its own id.
 */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, closeSync, constants, openSync, readFileSync, readdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** What keeps a measurement from being made; `message` is shown to the reader of the table. */
export class BenchError extends Error {}

const running = new Set()
process.once('exit', () => {
  for (const child of running) killTree(child)
})

/** With its children: those of a killed amavisd-new would live on. */
function killTree(child) {
  if (hasEnded(child)) return
  for (const pid of processTree(child.pid)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has just ended by itself.
    }
  }
}

/** The path of a program, also outside of an ordinary user's PATH; undefined where it is not installed. */
export function findProgram(program) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/sbin']
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        // Not there or not ours to run: the same for us.
        return false
      }
    })
}

/** As findProgram. @throws BenchError with what to install */
export function program(name, debianPackage) {
  const path = findProgram(name)
  if (path === undefined) throw new BenchError(`no ${name} (Debian: apt-get install ${debianPackage})`)
  return path
}

/** Starts a program, its output going to `logFile`. */
export function start(command, args, { logFile, env = {}, cwd } = {}) {
  const log = logFile === undefined ? 'ignore' : openSync(logFile, 'a')
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  if (logFile !== undefined) closeSync(log)
  running.add(child)
  child.once('exit', () => running.delete(child))
  // Without a listener a program that cannot be started ends the bench without a word.
  child.on('error', () => running.delete(child))
  return child
}

export function hasEnded(child) {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

/** SIGTERM, and SIGKILL after `patienceMs`. */
export async function stop(child, patienceMs = 15_000) {
  if (hasEnded(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const impatience = setTimeout(killTree, patienceMs, child)
  await exited
  clearTimeout(impatience)
}

/** Resolves with the exit code, or the signal's name. */
export async function ended(child) {
  if (hasEnded(child)) return child.exitCode ?? child.signalCode ?? 'not started'
  const [code, signal] = await once(child, 'exit')
  return code ?? signal
}

/** A port of 127.0.0.1 that is free now; never the same twice in one run. */
export async function freePort() {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address()
    await new Promise((resolve) => server.close(resolve))
    if (!givenPorts.has(port)) {
      givenPorts.add(port)
      return port
    }
  }
}
const givenPorts = new Set()

/** Whether a server on this port says something that begins with `greeting`. */
async function greets(port, greeting = '220') {
  const socket = connect({ port, host: '127.0.0.1', timeout: 2_000 })
  socket.on('timeout', () => socket.destroy())
  try {
    const [chunk] = await once(socket, 'data')
    return chunk.toString('latin1').startsWith(greeting)
  } catch {
    // Not listening yet.
    return false
  } finally {
    socket.destroy()
  }
}

/** @throws BenchError when the program ends first, or is not there after `patienceMs` */
export async function waitForGreeting(child, port, { name, logFile, patienceMs = 30_000 }) {
  const deadline = performance.now() + patienceMs
  for (;;) {
    if (await greets(port)) return
    const dead = hasEnded(child)
    if (dead || performance.now() > deadline) {
      const what = dead ? `ended at start with ${child.exitCode ?? child.signalCode}` : 'does not answer'
      throw new BenchError(`${name} ${what}${logFile ? `: ${lastLine(logFile)}` : ''}`)
    }
    await delay(20)
  }
}

export function lastLine(file) {
  return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? ''
}

const workers = {
  load: new URL('./load.js', import.meta.url),
  scan: new URL('./scan.js', import.meta.url),
  slow: new URL('./slow.js', import.meta.url),
  rules: new URL('./rulesWork.js', import.meta.url),
  quarantine: new URL('./quarantineWork.js', import.meta.url),
}

/** Runs a worker, by its name above, in its own process, with `options`; resolves with what it answers. */
export async function runWorker(name, options) {
  const child = fork(workers[name], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  running.add(child)
  try {
    const answer = new Promise((resolve, reject) => {
      child.once('message', resolve)
      child.once('error', reject)
      child.once('exit', (code) => reject(new BenchError(`${name} ended with ${code} and no answer`)))
    })
    child.send(options)
    const { error, ...result } = await answer
    if (error !== undefined) throw new BenchError(error)
    return result
  } finally {
    // After a failure its connections would keep it alive.
    child.kill('SIGKILL')
    await ended(child)
    running.delete(child)
  }
}

/** The other side of runWorker. */
export function serveWorker(work) {
  const serve = async (options) => {
    let answer
    try {
      answer = await work(options)
    } catch (error) {
      answer = { error: error.message }
    }
    process.send(answer, () => process.disconnect())
  }
  process.once('message', (options) => void serve(options))
}

/** A process and all below it. */
function processTree(pid) {
  const children = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statFields(name)?.[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const tree = [pid]
  for (let index = 0; index < tree.length; index++) tree.push(...(children.get(tree[index]) ?? []))
  return tree
}

/** The fields of /proc/PID/stat from the state on (proc(5) numbers it 3); undefined when the process is gone. */
function statFields(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

const ticksPerSecond = 100

/** Processor time of a process and all below it, its ended children too. */
export function cpuSeconds(pid) {
  const ticks = processTree(pid).map((each) => {
    const fields = statFields(each)
    return fields === undefined ? 0 : fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  })
  return ticks.reduce((sum, each) => sum + each, 0) / ticksPerSecond
}

function readKiB(file, key) {
  try {
    const match = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'latin1'))
    return Number(match?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** The most memory that a process ever had resident. */
export function peakResidentMB(pid) {
  return (readKiB(`/proc/${pid}/status`, 'VmHWM') * 1024) / 1e6
}

/** Memory of a process and all below it now, shared pages counted once (proportional set size). */
export function residentMB(pid) {
  const kib = processTree(pid).map((each) => readKiB(`/proc/${each}/smaps_rollup`, 'Pss'))
  return (kib.reduce((sum, each) => sum + each, 0) * 1024) / 1e6
}
