/**
 * What a scanner does on its own: a bare client of clamd (INSTREAM) or spamd (SPAMC) in a process of its own, a new
 * connection for each message as both are commonly used.
 *
 * Options (see runWorker): scanner ('clamd' or 'spamd'), address (for net.connect), atOnce, count, kind.
 * Answer: seconds, p50Ms of one scan.
 */
import { connect } from 'node:net'
import { messageMaker } from './messages.js'
import { serveWorker } from './processes.js'

const silenceMs = 60_000
const chunkBytes = 64 * 1024

/** INSTREAM: pieces with their length in front, an empty one at the end (clamd(8)). */
function clamdRequest(message) {
  const parts = [Buffer.from('zINSTREAM\0')]
  for (let at = 0; at < message.length; at += chunkBytes) {
    const chunk = message.subarray(at, at + chunkBytes)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(chunk.length)
    parts.push(length, chunk)
  }
  return Buffer.concat([...parts, Buffer.alloc(4)])
}

function spamdRequest(message) {
  return Buffer.concat([
    Buffer.from(`SYMBOLS SPAMC/1.5\r\nContent-length: ${message.length}\r\n\r\n`),
    message,
  ])
}

const protocols = {
  clamd: { request: clamdRequest, expected: /stream: OK/ },
  spamd: { request: spamdRequest, expected: /^SPAMD\/\S+ 0 EX_OK[\s\S]*^Spam: (?:True|False) ;/m },
}

function scan(address, { request, expected }, message) {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    let answer = ''
    socket.setTimeout(silenceMs, () => socket.destroy(new Error('the scanner does not answer')))
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
    })
    socket.on('close', () => {
      if (expected.test(answer)) resolve()
      else reject(new Error(`the scanner said: ${answer.trimEnd()}`))
    })
    socket.write(request(message))
  })
}

serveWorker(async ({ scanner, address, atOnce, count, kind }) => {
  const make = messageMaker(kind)
  const protocol = protocols[scanner]
  const latencies = []
  let next = 0

  async function worker() {
    while (next < count) {
      const message = Buffer.concat(make(next++))
      const started = performance.now()
      await scan(address, protocol, message)
      latencies.push(performance.now() - started)
    }
  }

  const started = performance.now()
  await Promise.all(Array.from({ length: atOnce }, worker))
  const seconds = (performance.now() - started) / 1000
  latencies.sort((a, b) => a - b)
  return { seconds, p50Ms: latencies[Math.floor(latencies.length / 2)] }
})
