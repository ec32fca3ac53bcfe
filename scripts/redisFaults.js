/**
 * Sends mail, a quarter of it infected, through an Écluse with a real clamd whose Redis misbehaves: in every way that a
 * fake one knows, and real ones that are stopped, killed, emptied, full, failed over, resharded or forged. Counts what the
 * mail notices of it.
 *
 *   node scripts/redisFaults.js [--mails N] [--only TEXT] [--out FILE]
 *
 *   --mails  for each behaviour (500); each tenth is sent a second time, as after a lost reply
 *   --only   behaviours with this in their name, and the one without Redis
 *   --out    the table goes there too, as Markdown
 *
 * Exit code 1 when a mail was not answered 250, an infected one passed or a clean one did not, one came twice or not at
 * all, or when the slowest hundredth waited 250 ms longer than without Redis; 2 for wrong usage.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeMachine } from './bench/machine.js'
import { redisBehaviours } from './faults/redisBehaviours.js'

const LANES = 10
const TIMEOUT_MS = 50
const MOST_ADDED_MS = 250
/** So many times as much mail is sent at most until a Redis that comes back is used again. */
const MOST_TIMES = 40

function readOptions() {
  const text = { type: 'string' }
  const { values } = parseArgs({ options: { mails: text, only: text, out: text } })
  const mails = Number(values.mails ?? '500')
  if (!Number.isSafeInteger(mails) || mails < 10) throw new RangeError('--mails: expected a number from 10')
  return { mails, only: values.only ?? '', out: values.out }
}

/** As many different ones, a quarter of them with EICAR, come again and again: what is remembered is used. */
const CONTENTS = 20
const isInfected = (number) => number % 4 === 0

function contentOf(kit, number) {
  const which = number % CONTENTS
  const text = isInfected(number) ? kit.EICAR : 'x'.repeat(70)
  return `From: marie@example.com\r\nSubject: ${which}\r\n\r\n${text}\r\nThis is ${which}.\r\n`
}

async function send(client, ident, content) {
  await client.ask(`XFORWARD ADDR=192.0.2.7 IDENT=${ident}`)
  client.send('MAIL FROM:<marie@example.com>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n')
  await client.replies(3)
  const started = performance.now()
  client.send(`${content}.\r\n`)
  const reply = await client.reply()
  return { reply, ms: performance.now() - started }
}

/** What an infected one is answered; a clean one is relayed. */
const INFECTED = /^250 2\.7\.0 Ok, discarded, .*INFECTED/
const RELAYED = /^250 2\.0\.0 from MTA/

/**
 * Sends all of them, and each tenth again; gives the times, how many were sent and clean, and how many replies were not
 * right. Of a Redis that comes back it sends more, until it is used again.
 */
async function sendAll(kit, ecluse, { mails, name, middle, meanwhile, isOver = () => true }) {
  const found = { times: [], clean: 0, failed: 0, falseClean: 0, falseVirus: 0 }
  let next = 0
  const note = (number, { reply, ms }) => {
    found.times.push(ms)
    if (!reply.startsWith('250 ')) found.failed++
    else if (isInfected(number) && !INFECTED.test(reply)) found.falseClean++
    else if (!isInfected(number) && !RELAYED.test(reply)) found.falseVirus++
  }
  const lane = async () => {
    const client = await kit.connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
    await client.reply()
    await client.ask('LHLO mail.example.org')
    while (next < mails || (next < mails * MOST_TIMES && !isOver(next))) {
      const number = next++
      if (!isInfected(number)) found.clean++
      if (number === Math.floor(mails / 2)) await middle?.()
      if (number > mails / 2) await meanwhile?.()
      for (let left = number % 10 === 0 ? 2 : 1; left > 0; left--) {
        note(number, await send(client, `${name}${number}`, contentOf(kit, number)))
      }
    }
    client.destroy()
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  found.times.sort((a, b) => a - b)
  return found
}

/** Whole copies at 10025, and how many of them hold EICAR. */
function arrived({ transactions }, from, eicar) {
  const whole = transactions.slice(from).filter(({ complete }) => complete)
  return { copies: whole.length, infected: whole.filter(({ data }) => data.includes(eicar)).length }
}

function yamlOf(clamd, place) {
  const lines = [
    'localDomains: [example.org]',
    `scanners: [{ name: clamav, kind: clamd, address: "unix:${clamd.socketPath}" }]`,
    // Room for one: what is remembered is what Redis has.
    'cache: { maxEntries: 1 }',
  ]
  const redis = { ...place, secret: 'sixteen characters', timeout: `${TIMEOUT_MS}ms` }
  return [...lines, ...(place === undefined ? [] : [`redis: ${JSON.stringify(redis)}`])].join('\n')
}

/** What became of the questions for verdicts since the start. */
async function lookups(ecluse) {
  const { body } = await ecluse.get('/metrics')
  const count = (result) => {
    const line = new RegExp(`^ecluse_cache_lookups_total\\{.*result="${result}"\\} (\\d+)`, 'm')
    return Number(line.exec(body)?.[1] ?? 0)
  }
  return { remembered: count('hit') + count('joined'), odd: count('error') }
}

function aboutRedis(ecluse) {
  return ecluse.log().filter(({ msg }) => msg?.startsWith('redis'))
}

/** Whether it has answered, not answered, and answered; looked at now and then. */
function comeBack(ecluse) {
  let is = false
  return (number) => {
    if (!is && number % 50 === 0) is = aboutRedis(ecluse).filter(({ reason }) => !reason).length > 1
    return is
  }
}

async function measure(kit, behaviour, { mails, redis, ecluse, mta }) {
  // The first ones pay for the start of the process.
  await sendAll(kit, ecluse, { mails: 50, name: 'W' })
  const before = mta.transactions.length
  const known = await lookups(ecluse)
  const { times, clean, ...counts } = await sendAll(kit, ecluse, {
    mails,
    name: 'M',
    middle: () => behaviour.midway?.(redis),
    ...(behaviour.meanwhile && { meanwhile: () => behaviour.meanwhile(redis) }),
    ...(behaviour.comesBack && { isOver: comeBack(ecluse) }),
  })
  const { copies, infected } = arrived(mta, before, kit.EICAR)
  const after = await lookups(ecluse)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  const lines = aboutRedis(ecluse)
  return {
    name: behaviour.name,
    sent: times.length,
    ...counts,
    // By the reply, or by what came out: whichever is worse.
    falseClean: Math.max(counts.falseClean, infected),
    extra: copies - clean,
    remembered: after.remembered - known.remembered,
    odd: after.odd - known.odd,
    p50: at(0.5),
    p99: at(0.99),
    worst: at(1),
    lines: lines.length,
    said: lines
      .map(({ reason }) => reason ?? 'answers')
      .slice(0, 4)
      .join(', '),
  }
}

async function run(kit, behaviour, { mails, clamd }) {
  const redis = await behaviour.start()
  const mta = await kit.startEvilMta()
  const ecluse = await kit.startEcluse({
    yaml: yamlOf(clamd, redis.place),
    reinjectPort: mta.address.port,
  })
  try {
    return await measure(kit, behaviour, { mails, redis, ecluse, mta })
  } finally {
    await ecluse.close()
    await mta.close()
    await redis.close()
  }
}

function markdown(rows, machine) {
  const [without] = rows
  const columns = [
    ['Redis', ({ name }) => name],
    ['mails', ({ sent }) => sent],
    ['not answered 250', ({ failed }) => failed],
    ['false clean', ({ falseClean }) => falseClean],
    ['false virus', ({ falseVirus }) => falseVirus],
    ['copies too many or too few', ({ extra }) => extra],
    ['remembered', ({ remembered }) => remembered],
    ['refused entries', ({ odd }) => odd],
    ['p50 ms', ({ p50 }) => p50.toFixed(1)],
    ['p99 ms', ({ p99 }) => p99.toFixed(1)],
    ['p99 added', ({ p99 }) => (p99 - without.p99).toFixed(1)],
    ['worst ms', ({ worst }) => worst.toFixed(1)],
    ['log lines', ({ lines }) => lines],
    ['which', ({ said }) => said],
  ]
  const head = columns.map(([title]) => title)
  const cells = rows.map((row) => columns.map(([, value]) => value(row)))
  const lines = [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`)
  const facts = Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`)
  const text =
    `From the dot to the reply, ${LANES} clients at a time, \`redis.timeout: ${TIMEOUT_MS}ms\`, clamd, memory for one verdict. ` +
    `${CONTENTS} messages come again and again, each with its own queue id, a quarter of them with EICAR: *false clean* is one of ` +
    'these that was not answered as infected, or came out at 10025. *Remembered* is what was not scanned, *refused entries* ' +
    'what stood in Redis and was taken for nothing. A fake answers PING and then as it is called; it knows no verdict.'
  return `# What mail notices of Redis\n\nWritten by \`npm run faults:redis\`.\n\n${facts.join('\n')}\n\n${text}\n\n${lines.join('\n')}\n`
}

/** What must not be. */
function isWrong({ failed, falseClean, falseVirus, extra, p99 }, without) {
  return failed + falseClean + falseVirus > 0 || extra !== 0 || p99 > without.p99 + MOST_ADDED_MS
}

// So that the daemons end with this process: their watchers see its pipes close.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

async function main() {
  const { mails, only, out } = readOptions()
  const kit = await import('../fixtures/dist/index.js')
  const rows = []
  const chosen = redisBehaviours(kit).filter(({ name }, index) => index === 0 || name.includes(only))
  const clamd = await kit.startClamd()
  try {
    for (const behaviour of chosen) {
      rows.push(await run(kit, behaviour, { mails, clamd }))
      process.stderr.write(`faults: ${behaviour.name}\n`)
    }
  } finally {
    await clamd.close()
  }
  const text = markdown(rows, describeMachine('.'))
  process.stdout.write(text)
  if (out !== undefined) writeFileSync(out, text)
  if (rows.some((row) => isWrong(row, rows[0]))) process.exitCode = 1
}

try {
  await main()
} catch (error) {
  if (!(error instanceof RangeError) && !error.code?.startsWith('ERR_PARSE_ARGS')) throw error
  process.stderr.write(`faults: ${error.message}\n`)
  process.exitCode = 2
}
