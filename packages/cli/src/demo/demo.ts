import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  compileRules,
  configSchema,
  deliveryReply,
  formatAddress,
  type Address,
  type Config,
  type DeliveryResult,
} from '@ecluse/core'
import { startDaemon, type Daemon, type Log, type MessageRecord } from '@ecluse/daemon'
import { samples, type Sample, type SampleRecipient } from '@ecluse/fixtures/samples'
import { createReinjector, type Reinjector } from '@ecluse/mail'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { quarantinePlace } from '../quarantineStore.ts'
import { daemonOptions } from '../wiring.ts'
import { findRedis } from './redis.ts'
import { demoScanner, findScanners } from './scanners.ts'
import { firstFree, startSink, type Sink } from './sink.ts'
import { formatTable } from './table.ts'

/** Where the demonstration works and speaks. */
export interface DemoOptions {
  /** Where mail, quarantine and spool of the demonstration are. */
  readonly directory: string
  readonly write: (text: string) => void
}

/** A running demonstration. */
export interface Demo {
  /** Sends the samples and prints the table; false: a row is not as expected. */
  sendSamples(): Promise<boolean>
  close(): Promise<void>
}

const LMTP: Address = { host: '127.0.0.1', port: 10_024 }
const RE_ENTRY: Address = { host: '127.0.0.1', port: 10_025 }
const HTTP: Address = { host: '127.0.0.1', port: 9725 }

/** Écluse as it would run beside a Postfix, with a sink in Postfix's place: nothing leaves this machine. */
export async function startDemo({ directory, write }: DemoOptions): Promise<Demo> {
  const config = demoConfig(directory)
  await Promise.all(
    [config.spool, config.quarantine].map((place) => mkdir(place.directory, { recursive: true })),
  )
  const [found, redis] = await Promise.all([findScanners(), findRedis()])
  const records: MessageRecord[] = []
  const log = collectingLog(records)
  const sink = await startSink(RE_ENTRY, join(directory, 'mail'), config.hostname)
  let daemon: Daemon
  try {
    const wired = await daemonOptions(
      {
        config: { ...config, reinject: { ...config.reinject, address: sink.address } },
        rules: compileRules(config, new Map()),
      },
      log,
    )
    const options = {
      ...wired,
      scanners: [...found.map(({ configured }) => configured), demoScanner('test', {})],
      ...(redis && { redis: { ...redis.options, ledger: true } }),
    }
    const [receiver] = options.receivers
    if (!receiver) throw new TypeError('no listener')
    daemon = await firstFree(
      (address) =>
        firstFree((http) => startDaemon({ ...options, receivers: [{ ...receiver, address }], http }), HTTP),
      LMTP,
    )
  } catch (error) {
    await sink.close()
    throw error
  }
  for (const { configured, version, where } of found)
    write(`found    ${configured.kind} ${where} (${version.engine})\n`)
  if (redis) write(`found    redis ${redis.where} (${redis.version}), used under ${redis.options.prefix}\n`)
  if (found.length === 0) write('found    no scanner on this machine\n')
  write('built-in test scanner: EICAR is a virus, GTUBE and ECLUSE-TEST-SCORE=N are spam\n')
  for (const address of daemon.addresses) write(`listens  ${address}\n`)
  write(
    `delivers to ${join(directory, 'mail')} (smtp ${formatAddress(sink.address)}), in Postfix's place\n\n`,
  )
  return {
    sendSamples: () => sendSamples({ daemon, sink, records, config, write }),
    async close() {
      await daemon.close()
      await sink.close()
    },
  }
}

function demoConfig(directory: string): Config {
  return configSchema(SCANNER_KINDS, 'demo.example.org').parse({
    localDomains: ['example.org'],
    spool: { directory: join(directory, 'spool') },
    quarantine: { directory: join(directory, 'quarantine') },
    ledger: { directory: join(directory, 'ledger') },
  })
}

/** Keeps the records of messages for the table, and is silent otherwise. */
function collectingLog(records: MessageRecord[]): Log {
  const silent = (): void => undefined
  return {
    error: silent,
    warn: silent,
    info: silent,
    debug: silent,
    message: (record) => void records.push(record),
  }
}

interface Running {
  readonly daemon: Daemon
  readonly sink: Sink
  readonly records: readonly MessageRecord[]
  readonly config: Config
  readonly write: (text: string) => void
}

const HEADING = ['message', 'recipient', 'scanners', 'verdict', 'LMTP reply', 'where it went', '']

async function sendSamples(running: Running): Promise<boolean> {
  const [receiver] = running.daemon.receivers
  if (!receiver) throw new TypeError('no listener')
  // The client's side of LMTP is the one that hands mail to a next hop: here the next hop is the filter itself.
  const client = createReinjector({
    protocol: 'lmtp',
    address: receiver.address,
    connections: 1,
    hostname: 'mail.example.org',
    timeouts: { connectMs: 5000, commandMs: 5000, dataMs: 30_000, dotMs: 300_000, idleMs: 10_000 },
  })
  const rows: string[][] = []
  let asExpected = true
  try {
    for (const sample of samples()) {
      for (const row of await sendSample(sample, client, running)) {
        asExpected &&= row.asExpected
        rows.push([...row.cells, row.asExpected ? '✓' : '✗ not as expected'])
      }
    }
  } finally {
    await client.close()
  }
  running.write(formatTable([HEADING, ...rows]))
  return asExpected
}

interface Row {
  readonly cells: readonly string[]
  readonly asExpected: boolean
}

async function sendSample(sample: Sample, client: Reinjector, running: Running): Promise<Row[]> {
  const recipients = sample.recipients.map(({ address }) => ({ address }))
  const results = await client.deliver(
    {
      id: sample.name,
      envelope: {
        protocol: 'lmtp',
        mailFrom: sample.mailFrom,
        recipients,
        smtpUtf8: false,
        client: {
          address: '192.0.2.1',
          name: 'mx.example.com',
          helo: 'mx.example.com',
          // As Postfix does it, a new one for each message: otherwise it would be one that comes again.
          queueId: randomBytes(5).toString('hex').toUpperCase(),
        },
        peer: { helo: 'mail.example.org' },
        listener: 'demo',
      },
      recipients,
      message: { sizeBytes: sample.bytes.length, chunks: [sample.bytes], open: () => neverRead() },
      allOrNothing: false,
    },
    AbortSignal.timeout(300_000),
  )
  const record = running.records.at(-1)
  return sample.recipients.map((recipient, index) =>
    rowOf(sample, recipient, { result: results[index], record, running }),
  )
}

function neverRead(): never {
  throw new TypeError('a message in memory is not read from a stream')
}

function rowOf(
  sample: Sample,
  recipient: SampleRecipient,
  {
    result,
    record,
    running,
  }: { result: DeliveryResult | undefined; record: MessageRecord | undefined; running: Running },
): Row {
  const told = record?.recipients.find(({ address }) => address === recipient.address)
  const reply =
    result && result.outcome !== 'withheld' && result.outcome !== 'failed' ? result.line : replyOf(result)
  const { goesTo, where } = whereItWent(recipient.address, record, running)
  return {
    cells: [
      sample.name,
      recipient.address,
      (record?.scanners ?? []).map(({ name, verdict }) => `${name}: ${verdict}`).join(', '),
      `${told?.category ?? 'none'}${told?.score === undefined ? '' : ` ${told.score}`}`,
      reply.length > 70 ? `${reply.slice(0, 69)}…` : reply,
      where,
    ],
    asExpected:
      told?.category === recipient.category &&
      reply.startsWith(recipient.reply) &&
      goesTo === recipient.goesTo,
  }
}

function replyOf(result: DeliveryResult | undefined): string {
  if (!result) return ''
  const { code, enhanced, text } = deliveryReply(result, 'demo')
  return `${code} ${enhanced} ${text}`
}

function whereItWent(
  address: string,
  record: MessageRecord | undefined,
  { sink, config }: Running,
): { goesTo: SampleRecipient['goesTo'] | 'nowhere'; where: string } {
  const told = record?.recipients.find((of) => of.address === address)
  if (told?.queuedAs !== undefined) {
    const arrival = sink.arrivals.find(({ queueId }) => queueId === told.queuedAs)
    const marked = arrival?.bytes.includes('\r\nX-Spam-Flag: YES\r\n') === true
    return { goesTo: marked ? 'delivered, marked' : 'delivered', where: arrival?.file ?? '' }
  }
  if (record?.quarantineId !== undefined) {
    return { goesTo: 'kept', where: `${quarantinePlace(config.quarantine)}, ID ${record.quarantineId}` }
  }
  return told?.outcome === 'rejected'
    ? { goesTo: 'refused', where: 'refused by the next hop' }
    : { goesTo: 'nowhere', where: 'nowhere' }
}
