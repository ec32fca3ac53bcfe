/**
 * Sends mail through an Écluse whose Redis misbehaves in every way that a fake one knows, and through one whose real Redis
 * is stopped and killed, and counts what the mail notices of it.
 *
 *   node scripts/redisFaults.js [--mails N] [--out FILE]
 *
 *   --mails  for each behaviour (500); each tenth is sent a second time, as after a lost reply
 *   --out    the table goes there too, as Markdown
 *
 * Exit code 1 when a mail was not answered 250 or came twice, or when the slowest hundredth waited 250 ms longer than
 * without Redis; 2 for wrong usage.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeMachine } from './bench/machine.js'

const LANES = 10
const TIMEOUT_MS = 50
const MOST_ADDED_MS = 250

function readOptions() {
  const text = { type: 'string' }
  const { values } = parseArgs({ options: { mails: text, out: text } })
  const mails = Number(values.mails ?? '500')
  if (!Number.isSafeInteger(mails) || mails < 10) throw new RangeError('--mails: expected a number from 10')
  return { mails, out: values.out }
}

/** What answers on the port of Redis; `during` is called with the share of mails that are sent. */
function behaviours(kit) {
  const nothing = async () => ({ port: undefined, close: async () => undefined })
  const real = async () => await kit.startRedis()
  const fake = (fault) => async () => {
    const redis = await kit.startFakeRedis()
    redis.misbehave(fault)
    return redis
  }
  return [
    { name: 'no Redis configured', start: nothing },
    { name: 'well', start: real },
    { name: 'refused', start: async () => ({ port: await kit.freePort(), close: async () => undefined }) },
    ...kit.REDIS_FAULTS.map((fault) => ({ name: fault, start: fake(fault) })),
    { name: 'stopped midway (SIGSTOP)', start: real, midway: ({ pid }) => process.kill(pid, 'SIGSTOP') },
    { name: 'killed midway (SIGKILL)', start: real, midway: ({ pid }) => process.kill(pid, 'SIGKILL') },
    {
      name: 'full midway (noeviction)',
      start: real,
      midway: async ({ port }) => await kit.tellRedis(port, 'CONFIG SET maxmemory 1mb'),
    },
    {
      name: 'a replica midway (REPLICAOF)',
      start: real,
      midway: async ({ port }) => await kit.tellRedis(port, 'REPLICAOF 127.0.0.1 1'),
    },
  ]
}

async function send(client, ident) {
  await client.ask(`XFORWARD ADDR=192.0.2.7 IDENT=${ident}`)
  client.send('MAIL FROM:<marie@example.com>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n')
  await client.replies(3)
  const started = performance.now()
  client.send(`Subject: ${ident}\r\n\r\n${'x'.repeat(70)}\r\n.\r\n`)
  const reply = await client.reply()
  return { reply, ms: performance.now() - started }
}

/** Sends all of them, and each tenth again; gives the times and how many were not answered 250. */
async function sendAll(kit, ecluse, { mails, name, midway }) {
  const times = []
  let failed = 0
  let next = 0
  const lane = async () => {
    const client = await kit.connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
    await client.reply()
    await client.ask('LHLO mail.example.org')
    while (next < mails) {
      const number = next++
      if (number === Math.floor(mails / 2)) await midway?.()
      for (let left = number % 10 === 0 ? 2 : 1; left > 0; left--) {
        const { reply, ms } = await send(client, `${name}${number}`)
        times.push(ms)
        if (!reply.startsWith('250 ')) failed++
      }
    }
    client.destroy()
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return { times: times.toSorted((a, b) => a - b), failed }
}

function extraCopies(mta, mails) {
  const whole = mta.transactions.filter(({ complete }) => complete).length
  return whole - mails
}

async function run(kit, behaviour, mails) {
  const redis = await behaviour.start()
  const mta = await kit.startEvilMta()
  const yaml = [
    'localDomains: [example.org]',
    'scanners: [{ kind: test }]',
    ...(redis.port === undefined
      ? []
      : [`redis: { url: "redis://127.0.0.1:${redis.port}", timeout: ${TIMEOUT_MS}ms }`]),
  ].join('\n')
  const ecluse = await kit.startEcluse({ yaml, reinjectPort: mta.address.port })
  try {
    // The first ones pay for the start of the process.
    await sendAll(kit, ecluse, { mails: 50, name: 'W' })
    const before = mta.transactions.length
    const { times, failed } = await sendAll(kit, ecluse, {
      mails,
      name: 'M',
      midway: () => behaviour.midway?.(redis),
    })
    const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))]
    const known = ecluse.log().filter(({ msg }) => msg?.startsWith('redis'))
    return {
      name: behaviour.name,
      sent: times.length,
      failed,
      extra: extraCopies({ transactions: mta.transactions.slice(before) }, mails),
      p50: at(0.5),
      p99: at(0.99),
      worst: at(1),
      lines: known.length,
      said: known
        .map(({ reason }) => reason ?? 'answers')
        .slice(0, 4)
        .join(', '),
    }
  } finally {
    await ecluse.close()
    await mta.close()
    await redis.close()
  }
}

function markdown(rows, machine) {
  const head = [
    'Redis',
    'mails',
    'not answered 250',
    'extra copies',
    'p50 ms',
    'p99 ms',
    'worst ms',
    'log lines',
    'which',
  ]
  const cells = rows.map((row) => [
    row.name,
    row.sent,
    row.failed,
    row.extra,
    row.p50.toFixed(1),
    row.p99.toFixed(1),
    row.worst.toFixed(1),
    row.lines,
    row.said,
  ])
  const lines = [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`)
  const facts = Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`)
  const text = `From the dot to the reply, ${LANES} clients at a time, \`redis.timeout: ${TIMEOUT_MS}ms\`; a fake answers PING and then as it is called.`
  return `# What mail notices of Redis\n\nWritten by \`npm run faults:redis\`.\n\n${facts.join('\n')}\n\n${text}\n\n${lines.join('\n')}\n`
}

// So that the daemons end with this process: their watchers see its pipes close.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

async function main() {
  const { mails, out } = readOptions()
  const kit = await import('../fixtures/dist/index.js')
  const rows = []
  for (const behaviour of behaviours(kit)) {
    rows.push(await run(kit, behaviour, mails))
    process.stderr.write(`faults: ${behaviour.name}\n`)
  }
  const text = markdown(rows, describeMachine('.'))
  process.stdout.write(text)
  if (out !== undefined) writeFileSync(out, text)
  const [without] = rows
  const wrong = rows.filter(
    ({ failed, extra, p99 }) => failed > 0 || extra !== 0 || p99 > without.p99 + MOST_ADDED_MS,
  )
  if (wrong.length > 0) process.exitCode = 1
}

try {
  await main()
} catch (error) {
  if (!(error instanceof RangeError) && !error.code?.startsWith('ERR_PARSE_ARGS')) throw error
  process.stderr.write(`faults: ${error.message}\n`)
  process.exitCode = 2
}
