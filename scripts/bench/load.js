/**
 * A mail client in a process of its own that behaves as Postfix's smtp(8) and lmtp(8) do: XFORWARD, MAIL, RCPT and
 * DATA in one write where the server can, kept connections, one message at a time on each.
 *
 * Options (see runWorker): port, protocol, sessions, count, kind, again and sameName (of messages.js), keep (false: a
 * connection for each message), readers (each message to a recipient of its own), prefix (of the queue ids).
 * Answer: startedAt, the first connection, on this machine's clock (performance.timeOrigin); seconds from then to the
 * last reply; p50Ms and p99Ms of one message, from its first byte,
 * or the opening of its connection, to its reply; peakUnanswered: the most messages that were handed over whole and
 * had no answer yet.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { messageMaker } from './messages.js'
import { serveWorker } from './processes.js'

const silenceMs = 120_000

/** A connection with its replies in order: `reply()` resolves with the next one, its lines joined. */
async function openSession({ port, protocol }) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const replies = []
  let text = ''
  let waiting
  let failure

  function fail(error) {
    failure ??= error
    waiting?.reject(failure)
    waiting = undefined
  }
  socket.setTimeout(silenceMs, () => socket.destroy(new Error(`no reply in ${silenceMs / 1000} s`)))
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    for (let end = text.search(/^\d{3}(?: .*)?\r\n/m); end >= 0; end = text.search(/^\d{3}(?: .*)?\r\n/m)) {
      const next = text.indexOf('\r\n', end) + 2
      replies.push(text.slice(0, next))
      text = text.slice(next)
    }
    if (waiting !== undefined && replies.length > 0) {
      waiting.resolve(replies.shift())
      waiting = undefined
    }
  })

  async function reply(expected) {
    const answer =
      replies.shift() ??
      (await new Promise((resolve, reject) => {
        if (failure === undefined) waiting = { resolve, reject }
        else reject(failure)
      }))
    if (!answer.startsWith(expected)) throw new Error(`not ${expected}: ${answer.trimEnd()}`)
    return answer
  }

  await reply('2')
  socket.write(`${protocol === 'lmtp' ? 'LHLO' : 'EHLO'} bench.example.org\r\n`)
  const offers = await reply('2')
  return { socket, reply, xforward: /^250[- ]XFORWARD/m.test(offers) }
}

function envelope(session, number, { prefix = '', readers = false }) {
  const lines = []
  if (session.xforward) {
    const id = `${prefix}${(number + 0x10_00_00).toString(16).toUpperCase()}`
    lines.push('XFORWARD NAME=client.example.com ADDR=192.0.2.7 PORT=52000', 'XFORWARD PROTO=ESMTP')
    lines[1] += ` HELO=client.example.com IDENT=${id} SOURCE=REMOTE`
  }
  const recipient = readers ? `reader${number}@example.org` : 'recipient@example.org'
  lines.push('MAIL FROM:<sender@example.com>', `RCPT TO:<${recipient}>`, 'DATA')
  return lines
}

async function sendMessage(session, number, { make, counters, options }) {
  const lines = envelope(session, number, options)
  session.socket.write(`${lines.join('\r\n')}\r\n`)
  for (const line of lines) await session.reply(line === 'DATA' ? '354' : '2')
  const pieces = make(number)
  session.socket.cork()
  for (const piece of pieces) session.socket.write(piece)
  session.socket.write('.\r\n', () => {
    counters.unanswered++
    counters.peak = Math.max(counters.peak, counters.unanswered)
  })
  session.socket.uncork()
  await session.reply('2')
  counters.unanswered--
}

/** QUIT, and the server's end of the connection: what a sender does before it counts a connection as done. */
async function quit(session) {
  session.socket.end('QUIT\r\n')
  await session.reply('2')
  if (!session.socket.closed) await once(session.socket, 'close')
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

serveWorker(async (options) => {
  const { sessions, count, kind, again, sameName, keep = true } = options
  const make = messageMaker(kind, again, sameName)
  const counters = { unanswered: 0, peak: 0 }
  const latencies = []
  let next = 0

  async function sender() {
    let session
    while (next < count) {
      const number = next++
      const started = performance.now()
      session ??= await openSession(options)
      await sendMessage(session, number, { make, counters, options })
      latencies.push(performance.now() - started)
      if (keep) continue
      await quit(session)
      session = undefined
    }
    if (session !== undefined) await quit(session)
  }

  const started = performance.now()
  await Promise.all(Array.from({ length: sessions }, sender))
  const seconds = (performance.now() - started) / 1000
  latencies.sort((a, b) => a - b)
  return {
    startedAt: performance.timeOrigin + started,
    seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    peakUnanswered: counters.peak,
  }
})
