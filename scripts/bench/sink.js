/**
 * The end of the line: Postfix's smtp-sink, which throws mail away and counts it. Two ways of counting, because a count
 * that can be read costs a few microseconds for each message: without a filter in front it is told to end after one
 * message more than is sent, and that message is sent last; behind a filter, which keeps its connections, it stays
 * and shows its count.
 */
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { BenchError, ended, hasEnded, program, start, stop, waitForGreeting } from './processes.js'

const host = '127.0.0.1'
const backlog = '1024'

function sinkCommand({ port, protocol, options = [] }) {
  // As root it wants another user to become.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const lmtp = protocol === 'lmtp' ? ['-L'] : []
  return [...user, ...lmtp, ...options, `${host}:${port}`, backlog]
}

async function startSink(options) {
  const child = start(program('smtp-sink', 'postfix'), sinkCommand(options), { logFile: options.logFile })
  await waitForGreeting(child, options.port, { name: 'smtp-sink', logFile: options.logFile })
  return child
}

/** Sends the message that ends the sink; it does not live to answer it. */
async function sendLast({ port, protocol }) {
  const hello = protocol === 'lmtp' ? 'LHLO' : 'HELO'
  const lines = [`${hello} bench`, 'MAIL FROM:<>', 'RCPT TO:<end@example.org>', 'DATA', '.', '']
  const socket = connect({ port, host })
  socket.on('error', () => socket.destroy())
  for (const line of lines) {
    const replied = Promise.race([once(socket, 'data'), once(socket, 'close')])
    await replied
    if (socket.destroyed) return
    if (line !== '') socket.write(`${line}\r\n`)
  }
}

/** A sink that has ended early is the cause of whatever the sender met. */
async function sendWhileSinkLives(sink, count, send) {
  const [outcome] = await Promise.allSettled([send()])
  if (hasEnded(sink)) {
    throw new BenchError(`more than ${count} messages at the sink: some came twice`, {
      cause: outcome.reason,
    })
  }
  if (outcome.status === 'rejected') throw outcome.reason
  return outcome.value
}

/**
 * Runs `send` against a sink that expects `count` messages.
 *
 * @throws BenchError when the sink saw another number of messages
 */
export async function countedAtSink(options, count, send) {
  const sink = await startSink({ ...options, options: [...(options.options ?? []), '-M', `${count + 1}`] })
  try {
    const result = await sendWhileSinkLives(sink, count, send)
    await sendLast(options)
    const late = await Promise.race([ended(sink), delay(2_000, 'late', { ref: false })])
    if (late === 'late') throw new BenchError(`fewer than ${count} messages at the sink: some are lost`)
    return result
  } finally {
    await stop(sink)
  }
}

/**
 * A sink that stays and shows its count. `options`: port, protocol, logFile, and further `options` of smtp-sink.
 */
export async function startSharedSink(options) {
  const child = await startSink({ ...options, options: [...(options.options ?? []), '-c'] })
  const file = openSync(options.logFile, 'r')
  const tail = Buffer.alloc(256)
  let expected = 0

  function count() {
    const { size } = fstatSync(file)
    const length = readSync(file, tail, 0, tail.length, Math.max(0, size - tail.length))
    const matches = [...tail.toString('latin1', 0, length).matchAll(/mesg=(\d+)\s/g)]
    return Number(matches.at(-1)?.[1] ?? 0)
  }

  function checkSurplus() {
    const surplus = count() - expected
    if (surplus > 0) throw new BenchError(`${surplus} messages too many at the sink: some came twice`)
  }

  /**
   * Runs `send`, which sends `number` messages, and waits until they are here.
   *
   * @throws BenchError when that takes more than `patienceMs` after the last reply, or more are here
   */
  async function counted(number, send, patienceMs = 1_000) {
    // Also those that came late from the run before.
    checkSurplus()
    expected += number
    const result = await send()
    const deadline = performance.now() + patienceMs
    while (count() < expected) {
      if (performance.now() > deadline) {
        throw new BenchError(`${expected - count()} of ${number} messages did not reach the sink`)
      }
      await delay(2)
    }
    checkSurplus()
    return result
  }

  async function close() {
    closeSync(file)
    await stop(child)
  }
  return { port: options.port, counted, checkSurplus, close }
}
