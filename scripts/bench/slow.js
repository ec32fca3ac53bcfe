/**
 * Clients in a process of their own that send a byte a second: each opens a connection, says all up to DATA, and goes
 * on like this until the server has had enough.
 *
 * Options (see runWorker): port, clients.
 * Answer, when all of them are gone: dropped, how many were told 421; seconds, from the first connection.
 */
import { connect } from 'node:net'
import { serveWorker } from './processes.js'

const byteMs = 1000
const opening =
  'LHLO slow.example.com\r\nMAIL FROM:<slow@example.com>\r\nRCPT TO:<recipient@example.org>\r\nDATA\r\n'

/** Whether it was told to go. */
async function drip(port) {
  return await new Promise((resolve) => {
    let told = ''
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(opening))
    const timer = setInterval(() => socket.write('x'), byteMs)
    socket.on('data', (chunk) => {
      told = (told + chunk.toString('latin1')).slice(-512)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearInterval(timer)
      resolve(/^421 /m.test(told))
    })
  })
}

serveWorker(async ({ port, clients }) => {
  const started = performance.now()
  const gone = await Promise.all(Array.from({ length: clients }, async () => await drip(port)))
  return { dropped: gone.filter(Boolean).length, seconds: (performance.now() - started) / 1000 }
})
