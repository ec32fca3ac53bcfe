import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { compileRules, configSchema } from '@ecluse/core'
import { startDaemon, type Daemon, type Log } from '@ecluse/daemon'
import {
  connectLmtp,
  describeWith,
  seededRandom,
  segments,
  startSmtpSink,
  stuff,
  type LmtpClient,
  type SmtpSink,
} from '@ecluse/fixtures'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { daemonOptions } from './wiring.ts'

const corpus = join(import.meta.dirname, '../../../../shared/fixtures/mail')
const SEEDS = 20
const CONNECTIONS = 6
const ANSWER_MS = 10_000

interface Sample {
  readonly name: string
  /** As an SMTP client has it. */
  readonly bytes: Buffer
  /** What must come out below the fields that we add. */
  readonly expected: Buffer
}

const REMOVED =
  /^(?:X-Quarantine-ID|X-Ecluse-[^\s:]*|X-Amavis-[^\s:]*|X-Virus-[^\s:]*|X-Spam-[^\s:]*)[ \t]*:/i
const ADDED =
  /^(?:(?:X-Virus-Scanned|X-Virus-Status|X-Ecluse-Alert|X-Spam-Flag|X-Spam-Score|X-Spam-Level|X-Spam-Status|Received):(?: [^\r\n]*)?\r\n(?: [^\r\n]+\r\n)*)+$/

/** Without the fields that only we may write; line by line, as somebody who never saw our code would do it. */
function withoutRemoved(wire: string): string {
  const lines = wire.split(/(?<=\r\n)/)
  const kept: string[] = []
  let at = 0
  let removing = false
  for (; at < lines.length; at++) {
    const line = lines[at] ?? ''
    const continues = at > 0 && /^[ \t]/.test(line)
    // The empty line, or the first line that is no field: there the body begins.
    if (!continues && !/^[\x21-\x39\x3b-\x7e]+[ \t]*:/.test(line)) break
    if (!continues) removing = REMOVED.test(line)
    if (!removing) kept.push(line)
  }
  return kept.join('') + lines.slice(at).join('')
}

function readSample(file: string): Sample {
  const text = readFileSync(file).toString('latin1')
  // A file with Unix line ends stands for a message; one with both kinds is meant to be like that.
  const sent = text.includes('\r\n') ? text : text.replaceAll('\n', '\r\n')
  const whole = sent === '' || sent.endsWith('\r\n') ? sent : `${sent}\r\n`
  const expected = withoutRemoved(whole.replace(/\r\n|\n|\r/g, '\r\n'))
  return {
    name: relative(corpus, file),
    bytes: Buffer.from(sent, 'latin1'),
    expected: Buffer.from(expected, 'latin1'),
  }
}

function readCorpus(): Sample[] {
  const files = existsSync(corpus) ? readdirSync(corpus, { recursive: true, encoding: 'utf8' }) : []
  return files.filter((file) => file.endsWith('.eml')).map((file) => readSample(join(corpus, file)))
}

const silent = (): void => undefined
const log: Log = { error: silent, warn: silent, info: silent, debug: silent, message: silent }

/** Everything passes, whatever it is, with all marks but the one that changes a field. */
const policy = {
  subjectTag: '',
  destiny: { virus: 'pass', banned: 'pass', spam: 'pass', unchecked: 'pass' },
  quarantine: [],
}

async function start(directory: string, sink: SmtpSink): Promise<Daemon> {
  const folders = { spool: join(directory, 'spool'), quarantine: join(directory, 'quarantine') }
  for (const folder of Object.values(folders)) await mkdir(folder)
  const config = configSchema(SCANNER_KINDS, 'mail.example.org').parse({
    localDomains: ['example.org'],
    scanners: [{ kind: 'test' }],
    policy,
    // Some messages stay in memory, some go through a file.
    spool: { directory: folders.spool, memoryBytes: '8KiB' },
    quarantine: { directory: folders.quarantine },
    ledger: { directory: join(directory, 'ledger') },
    reinject: { address: `127.0.0.1:${sink.port}` },
  })
  const {
    http: _,
    receivers,
    ...options
  } = await daemonOptions({ config, rules: compileRules(config, new Map()) }, log)
  return await startDaemon({
    ...options,
    receivers: receivers.map((receiver) => ({ ...receiver, address: { host: '127.0.0.1', port: 0 } })),
  })
}

/** One transaction, the message in pieces; gives the reply to its end. */
async function send(client: LmtpClient, recipient: string, pieces: readonly Buffer[]): Promise<string> {
  // One that never gets its reply must not hide which one it is.
  const timer = setTimeout(() => client.destroy(), ANSWER_MS)
  client.send(`MAIL FROM:<a@example.net> BODY=8BITMIME\r\nRCPT TO:<${recipient}>\r\nDATA\r\n`)
  await client.replies(3)
  for (const piece of pieces) {
    client.send(piece)
    // The other end reads before the next piece is written.
    await nextTurn()
  }
  const reply = await client.reply()
  clearTimeout(timer)
  return reply
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** What is wrong with what came out; absent: nothing. */
function difference(got: Buffer, { expected }: Sample): string | undefined {
  const added = got.subarray(0, Math.max(0, got.length - expected.length))
  const rest = got.subarray(added.length)
  if (sha256(rest) !== sha256(expected)) {
    const at = rest.findIndex((byte, index) => byte !== expected[index])
    const around = (bytes: Buffer): string =>
      JSON.stringify(bytes.toString('latin1', Math.max(0, at - 20), at + 20))
    return `${got.length} bytes, at ${at} ${around(rest)} instead of ${around(expected)}`
  }
  const whole = added.toString('latin1')
  // Where there is no header, ours ends with an empty line: the body must not go on with it.
  const headerless = !/^(?:\r\n|[\x21-\x39\x3b-\x7e]+[ \t]*:)/.test(expected.toString('latin1', 0, 2_000))
  const text = headerless && whole.endsWith('\r\n\r\n') ? whole.slice(0, -2) : whole
  return ADDED.test(text) ? undefined : `added ${JSON.stringify(text.slice(0, 200))}`
}

const noCorpus = (): string | undefined => (existsSync(corpus) ? undefined : 'no ../shared/fixtures/mail')

describeWith({ describe, beforeAll }, noCorpus)('a message in any segmentation', () => {
  let directory = ''
  let sink: SmtpSink
  let daemon: Daemon

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ecluse-t15-'))
    sink = await startSmtpSink()
    daemon = await start(directory, sink)
  })

  afterAll(async () => {
    await daemon?.close()
    await sink?.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function connect(): Promise<LmtpClient> {
    const address = daemon.receivers[0]?.address
    if (address === undefined || !('port' in address)) throw new TypeError('no listener')
    const client = await connectLmtp(address)
    await client.reply()
    await client.ask('LHLO mail.example.org')
    return client
  }

  test(`comes out as it went in: every message of the corpus, ${SEEDS} segmentations`, async () => {
    const samples = readCorpus()
    expect(samples.length).toBeGreaterThan(100)
    const jobs = samples.flatMap((sample, index) =>
      Array.from({ length: SEEDS }, (_, seed) => ({
        sample,
        seed,
        recipient: `m${index}s${seed}@example.org`,
      })),
    )
    const queue = [...jobs]
    const wrong: string[] = []
    const work = async (): Promise<void> => {
      let client = await connect()
      for (let job = queue.shift(); job !== undefined && wrong.length < 10; job = queue.shift()) {
        const { sample, seed, recipient } = job
        const reply = await send(client, recipient, segments(stuff(sample.bytes), seededRandom(seed)))
        const arrived = sink.messages.findLast(({ recipients }) => recipients[0]?.address === recipient)
        const problem = arrived ? difference(arrived.data, sample) : 'did not arrive'
        if (!reply.startsWith('250 ') || problem !== undefined) {
          client.destroy()
          client = await connect()
          wrong.push(`${sample.name}, seed ${seed}: ${reply.slice(0, 60)}: ${problem}`)
        }
      }
      client.destroy()
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, work))
    expect(wrong).toEqual([])
    expect(sink.messages).toHaveLength(jobs.length)
    expect(await readdir(join(directory, 'spool'))).toEqual([])
  }, 120_000)
})
