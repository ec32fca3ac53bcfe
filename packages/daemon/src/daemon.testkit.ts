/*
 * A whole daemon for the integration tests: real sockets on free ports, folders of its own, a next hop that does as it
 * is told. Everything that is opened here is registered and freed by `releaseAll`, the last one first.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  DEFAULT_POLICY,
  compileRules,
  type Address,
  type Concern,
  type ConfiguredScanner,
  type MailProtocol,
  type OnError,
  type RuleConfig,
  type Rules,
  type Scanner,
} from '@ecluse/core'
import {
  connectLmtp,
  startEvilMta,
  type EvilMta,
  type EvilMtaOptions,
  type LmtpClient,
} from '@ecluse/fixtures'
import type { ReceiverOptions, ReinjectOptions } from '@ecluse/mail'
import { createFileStore } from '@ecluse/quarantine'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { startDaemon, type Daemon } from './daemon.ts'
import type { DaemonOptions } from './options.ts'
import type { Log } from './log.ts'
import { createLog } from './logOutput.ts'

type Releaser = () => Promise<void> | void
const releasers: Releaser[] = []

/** Frees it after the test. */
export function onRelease(releaser: Releaser): void {
  releasers.push(releaser)
}

/** For `afterEach`: frees all that the test opened. */
export async function releaseAll(): Promise<void> {
  for (let next = releasers.pop(); next; next = releasers.pop()) await next()
}

/** A folder that goes with the test. */
export async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ecluse-daemon-'))
  onRelease(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Waits for it, however long: the runner's own limit ends a test that waits in vain. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** A promise with its handles. */
export function gate<T = void>(): { readonly promise: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

const HOSTNAME = 'filter.example.org'

/** The policy of the contract, for one local domain, but for what is said otherwise. */
export function rulesWith(changes: Partial<RuleConfig>): Rules {
  return compileRules(
    {
      policy: DEFAULT_POLICY,
      policies: [],
      senders: [],
      localDomains: ['example.org'],
      networks: ['127.0.0.0/8', '::1/128'],
      recipientDelimiter: '+',
      authservIds: [],
      softBounce: false,
      ...changes,
    },
    new Map(),
  )
}

/** Longer than any test: a timeout that ends one is a failure. */
const PATIENT_MS = 60_000
export const PATIENT: ReinjectOptions['timeouts'] = {
  connectMs: PATIENT_MS,
  commandMs: PATIENT_MS,
  dataMs: PATIENT_MS,
  dotMs: PATIENT_MS,
  idleMs: PATIENT_MS,
}

/** A scanner of one of the kinds that the configuration knows. */
export function scannerOfKind(
  kindName: string,
  { name = kindName, options = {}, ...common }: Partial<ConfiguredScanner> & { options?: unknown } = {},
): ConfiguredScanner {
  const kind = SCANNER_KINDS.find((candidate) => candidate.kind === kindName)
  if (!kind) throw new TypeError(`${kindName}: no such kind`)
  const scanner = kind.create(name, options)
  return {
    name,
    kind: kindName,
    concerns: kind.concerns,
    timeoutMs: PATIENT_MS,
    onError: 'tempfail',
    scanner,
    ...common,
  }
}

/** A scanner made of a function. */
export function scannerOf(
  scan: Scanner['scan'],
  common: { name?: string; onError?: OnError; concerns?: readonly Concern[]; timeoutMs?: number } = {},
): ConfiguredScanner {
  const scanner: Scanner = { scan, version: async () => ({ engine: 'a function' }) }
  return {
    name: 'fake',
    kind: 'fake',
    concerns: ['virus', 'spam'],
    timeoutMs: PATIENT_MS,
    onError: 'tempfail',
    scanner,
    ...common,
  }
}

/** One line of the log, as JSON readers see it. */
type LogLine = Readonly<Record<string, unknown>>

/** What a message's line says of one recipient. */
interface LoggedRecipient {
  readonly address: string
  readonly category: string
  readonly destiny: string
  readonly score?: number
  readonly reply: string
  readonly queuedAs?: string
}

export interface TestDaemon {
  readonly daemon: Daemon
  readonly mta: EvilMta
  /** Every line of the log so far. */
  readonly lines: readonly LogLine[]
  /** Those that tell of a message. */
  readonly messages: () => (LogLine & { readonly recipients: readonly LoggedRecipient[] })[]
  readonly spoolFolder: string
  readonly quarantineFolder: string
  /** Connects to the listener of that protocol. The greeting is the first reply. */
  readonly connect: (protocol?: MailProtocol) => Promise<LmtpClient>
  /** Connected (from another address, if told), greeted, LHLO or EHLO said. */
  readonly greet: (protocol?: MailProtocol, localAddress?: string) => Promise<LmtpClient>
  /** The samples of `/metrics` that are ours: `ecluse_scans_total{scanner="test",verdict="clean"}` → 3. */
  readonly metrics: () => Promise<Map<string, number>>
}

export interface TestDaemonOptions extends Partial<Omit<DaemonOptions, 'reinject' | 'log' | 'receivers'>> {
  readonly mta?: EvilMtaOptions
  readonly reinject?: Partial<ReinjectOptions>
  readonly receiver?: Partial<ReceiverOptions>
  readonly memoryBytes?: number
  /** Gets what the daemon's log gets; absent: nothing more than `lines`. */
  readonly wrapLog?: (log: Log) => Log
}

/** Starts a daemon with an LMTP and an SMTP listener, the test scanner, and `example.org` as local domain. */
export async function startTestDaemon(options: TestDaemonOptions = {}): Promise<TestDaemon> {
  const {
    mta: mtaOptions,
    reinject,
    receiver,
    memoryBytes = 262_144,
    wrapLog = (log) => log,
    ...overrides
  } = options
  const [mta, spoolFolder, quarantineFolder] = await Promise.all([
    startEvilMta(mtaOptions),
    tempFolder(),
    tempFolder(),
  ])
  onRelease(() => mta.close())
  const lines: LogLine[] = []
  const log = createLog('debug', 'json', { write: (line) => void lines.push(JSON.parse(line) as LogLine) })
  const daemon = await startDaemon({
    hostname: HOSTNAME,
    alertHeader: 'X-Ecluse-Alert',
    receivers: [receiverOptions('lmtp', receiver), receiverOptions('smtp', receiver)],
    reinject: {
      protocol: 'smtp',
      address: mta.address,
      connections: 20,
      hostname: HOSTNAME,
      timeouts: PATIENT,
      ...reinject,
    },
    scanners: [scannerOfKind('test')],
    rules: rulesWith({}),
    spool: { directory: spoolFolder, memoryBytes },
    quarantine: createFileStore(quarantineFolder),
    limits: { concurrency: 100, deadlineMs: PATIENT_MS },
    versionIntervalMs: PATIENT_MS,
    answerMs: PATIENT_MS,
    scanRetryMs: 1,
    drainMs: PATIENT_MS,
    http: { host: '127.0.0.1', port: 0 },
    log: wrapLog(log),
    ...overrides,
  })
  onRelease(() => daemon.close())
  return {
    daemon,
    mta,
    lines,
    messages: () => lines.filter(({ event }) => event === 'message') as ReturnType<TestDaemon['messages']>,
    spoolFolder,
    quarantineFolder,
    connect: async (protocol) => await connectTo(daemon, protocol),
    greet: async (protocol, localAddress) => await greetTo(daemon, protocol, localAddress),
    metrics: async () => readMetrics(await httpGet(daemon.addresses.at(-1) ?? '', '/metrics')),
  }
}

async function connectTo(
  { receivers }: Daemon,
  protocol: MailProtocol = 'lmtp',
  localAddress = '127.0.0.1',
): Promise<LmtpClient> {
  const client = await connectLmtp({ ...tcp(receivers[protocol === 'lmtp' ? 0 : 1]?.address), localAddress })
  onRelease(() => client.destroy())
  return client
}

async function greetTo(
  daemon: Daemon,
  protocol: MailProtocol = 'lmtp',
  localAddress?: string,
): Promise<LmtpClient> {
  const client = await connectTo(daemon, protocol, localAddress)
  await client.reply()
  await client.ask(`${protocol === 'lmtp' ? 'LHLO' : 'EHLO'} postfix.example.org`)
  return client
}

function receiverOptions(protocol: MailProtocol, overrides: Partial<ReceiverOptions> = {}): ReceiverOptions {
  return {
    protocol,
    address: { host: '127.0.0.1', port: 0 },
    hostname: HOSTNAME,
    trust: ['127.0.0.0/8'],
    messageSizeBytes: 50 * 1024 * 1024,
    recipients: 1000,
    connections: 200,
    idleMs: PATIENT_MS,
    ...overrides,
  }
}

function tcp(address: Address | undefined): { host: string; port: number } {
  if (address === undefined || 'path' in address) throw new TypeError('expected TCP')
  return address
}

/** @param address `http HOST:PORT`, as the daemon tells it */
async function httpGet(address: string, path: string): Promise<string> {
  const url = `http://${address.slice('http '.length)}${path}`
  return await new Promise((resolve, reject) => {
    // No agent: a kept connection would count among our file descriptors.
    get(url, { agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

function readMetrics(text: string): Map<string, number> {
  const samples = text.matchAll(/^(ecluse_\S+?(?:\{.*\})?) (\S+)$/gm)
  return new Map(Array.from(samples, ([, name = '', value]) => [name, Number(value)]))
}

/** One message to send. */
export interface TestMail {
  readonly from?: string
  readonly to: readonly string[]
  /** Header and body with CRLF; dots are stuffed for it. */
  readonly content?: string
  readonly protocol?: MailProtocol
  /** What XFORWARD says before it; absent: there is none. */
  readonly xforward?: string
}

/** Every reply to a transaction. */
export interface TestReplies {
  readonly mail: string
  readonly rcpt: readonly string[]
  readonly data: string
  /** One for each accepted recipient, or one over SMTP; empty when DATA was refused. */
  readonly dot: readonly string[]
}

export const HAM = 'From: marie@example.com\r\nSubject: Lunch\r\n\r\nAt noon?\r\n'

/** Sends a message in one go, as Postfix pipelines it, and reads as many replies as the protocol promises. */
export async function sendMail(client: LmtpClient, mail: TestMail): Promise<TestReplies> {
  const { from = 'marie@example.com', to, content = HAM, protocol = 'lmtp', xforward } = mail
  if (xforward !== undefined) await client.ask(`XFORWARD ${xforward}`)
  const rcpts = to.map((address) => `RCPT TO:<${address}>\r\n`).join('')
  client.send(`MAIL FROM:<${from}>\r\n${rcpts}DATA\r\n`)
  const [mailReply = '', ...rest] = await client.replies(to.length + 2)
  const data = rest.pop() ?? ''
  if (!data.startsWith('354')) return { mail: mailReply, rcpt: rest, data, dot: [] }
  client.send(`${content.replace(/^\./gm, '..')}.\r\n`)
  const accepted = rest.filter((reply) => reply.startsWith('2')).length
  return { mail: mailReply, rcpt: rest, data, dot: await client.replies(protocol === 'lmtp' ? accepted : 1) }
}

/** What changes from message to message, put out of the way: our id, the date. */
export function masked(text: string): string {
  return text
    .replace(/(\bid[= ]|Quarantine-ID: <)[\w-]{12}(?![\w-])/g, '$1ID')
    .replace(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000/g, 'DATE')
    .replace(/(MTA\(smtp:\[127\.0\.0\.1\]:)\d+/g, '$1PORT')
}
