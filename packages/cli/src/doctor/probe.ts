import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import {
  FilterError,
  formatAddress,
  formatDate,
  type Address,
  type Config,
  type DeliveryResult,
} from '@ecluse/core'
import { createReinjector } from '@ecluse/mail'
import { askDaemon, sumOf } from './daemonHttp.ts'
import { settingOf, type PostfixConfig } from './postfixConfig.ts'
import { deliveryOf, findLog, readTail, type LoggedDelivery, type LogTail } from './postfixLog.ts'
import { isSmtpd, placeOf } from './postfixWay.ts'
import { failureOf, warn, well, wrong, type Diagnosis } from './report.ts'

/** What to send where. */
export interface ProbeOptions {
  readonly recipient: string
  /** '' is the null sender. */
  readonly sender: string
  /** Where Postfix takes mail. */
  readonly submitTo: Address
  readonly config: Config
  /** Absent: only the usual log files are looked for. */
  readonly postfix?: PostfixConfig
  /** Absent: half a minute. */
  readonly patience?: Patience
}

/** How long is waited for what others do. All in milliseconds. */
interface Patience {
  /** Until the message is seen anywhere. */
  readonly waitMs: number
  /** From then on until it is seen everywhere. */
  readonly settleMs: number
  readonly pollMs: number
}

const PATIENCE: Patience = { waitMs: 30_000, settleMs: 5000, pollMs: 200 }

/** How our reply begins for a message that went back: nobody else in front of 10025 answers so. */
const PASSED = /^250 2\.\d+\.\d+ from MTA\(/

const MESSAGES = 'ecluse_messages_total'
const REINJECTIONS = 'ecluse_reinjections_total'

/** Where the front takes mail: the first SMTP service of master.cf on port 25, else the first; absent: none is known. */
export function frontAddress(postfix: PostfixConfig, { reinject }: Config): Address | undefined {
  const places = postfix.services
    .filter((service) => isSmtpd(service) || service.command === 'postscreen')
    .flatMap((service) => placeOf(service) ?? [])
    .filter(({ port }) => !('port' in reinject.address) || port !== reinject.address.port)
  const place = places.find(({ port }) => port === 25) ?? places[0]
  if (!place) return undefined
  return { host: place.host ?? '127.0.0.1', port: place.port }
}

/**
 * Sends one message through all of it: the front, us, 10025. Whether it arrived is seen in the metrics of the running
 * daemon, which tell how many messages there were and not which; and, where the log of Postfix can be read, in the
 * lines of this very message. Never rejects for what others do.
 */
export async function probe(options: ProbeOptions): Promise<Diagnosis[]> {
  const { config, postfix, submitTo, patience = PATIENCE } = options
  const before = await metricsOf(config)
  if (before === undefined) {
    const detail = 'not sent: the daemon does not answer, nobody could see the message pass'
    return [wrong('probe', detail, `start it; its metrics are asked for at http.address`)]
  }
  const log = await findLog(postfix && settingOf(postfix, 'maillog_file'))
  const result = await submit(options)
  const where = formatAddress(submitTo)
  if (result?.outcome !== 'relayed') return [wrong('probe front', `${where}: ${refusalOf(result)}`, REFUSED)]
  const { queuedAs = '' } = result
  const seen = await watch({ config, before, queueId: queuedAs, ...(log && { log }) }, patience)
  return [
    well('probe front', `${where} took it: ${result.line}`),
    filterDiagnosis(seen, queuedAs),
    ...(seen.messages > 0 ? [backDiagnosis(seen, queuedAs)] : []),
    ...logDiagnoses(seen, queuedAs, log),
  ]
}

const REFUSED = 'give another --probe or --sender address, or say with --submit where Postfix takes mail'

function refusalOf(result: DeliveryResult | undefined): string {
  if (result?.outcome === 'refused') return `refused: ${result.line}`
  return result?.outcome === 'failed' ? failureOf(result.error) : 'not taken'
}

async function submit({
  recipient,
  sender,
  submitTo,
  config,
}: ProbeOptions): Promise<DeliveryResult | undefined> {
  const { hostname } = config
  const client = createReinjector({
    protocol: 'smtp',
    address: submitTo,
    connections: 1,
    hostname,
    tls: { mode: 'may', rejectUnauthorized: false },
    timeouts: { connectMs: 10_000, commandMs: 30_000, dataMs: 30_000, dotMs: 30_000, idleMs: 10_000 },
  })
  const bytes = probeMessage(recipient, hostname)
  const recipients = [{ address: recipient }]
  try {
    const [result] = await client.deliver(
      {
        id: 'doctor',
        envelope: {
          protocol: 'smtp',
          mailFrom: sender,
          recipients,
          smtpUtf8: false,
          client: {},
          peer: { helo: hostname },
          listener: 'doctor',
        },
        recipients,
        message: { sizeBytes: bytes.length, chunks: [bytes], open: () => neverRead() },
        allOrNothing: true,
      },
      AbortSignal.timeout(60_000),
    )
    return result
  } finally {
    await client.close()
  }
}

function neverRead(): never {
  throw new TypeError('a message in memory is not read from a stream')
}

function probeMessage(recipient: string, hostname: string): Buffer {
  const token = randomBytes(9).toString('hex')
  const lines = [
    `Date: ${formatDate(new Date())}`,
    `From: Ecluse doctor <postmaster@${hostname}>`,
    `To: <${recipient}>`,
    `Subject: Ecluse doctor: probe ${token}`,
    `Message-ID: <doctor.${token}@${hostname}>`,
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    'Sent by "ecluse doctor --probe" to see whether mail passes. It can be deleted.',
    '',
  ]
  return Buffer.from(lines.join('\r\n'))
}

/** What was seen after the message was sent. */
interface Seen {
  /** How many more messages the daemon counted than before. */
  readonly messages: number
  /** How many more recipients it handed back. */
  readonly handedBack: number
  readonly toFilter?: LoggedDelivery
  /** Of the queue id that 10025 gave. */
  readonly onward?: LoggedDelivery
}

interface Watched {
  readonly config: Config
  /** The metrics before it was sent. */
  readonly before: string
  readonly queueId: string
  readonly log?: LogTail
}

/** Waits until all was seen that can be, with an end. */
async function watch(watched: Watched, { waitMs, settleMs, pollMs }: Patience): Promise<Seen> {
  const deadline = performance.now() + waitMs
  let settled = Infinity
  for (;;) {
    const seen = await look(watched)
    const now = performance.now()
    const anywhere = seen.messages > 0 || seen.toFilter !== undefined
    if (anywhere && settled === Infinity) settled = now + settleMs
    const everywhere = seen.messages > 0 && (watched.log === undefined || seen.onward !== undefined)
    if (everywhere || now >= deadline || now >= settled) return seen
    await delay(pollMs)
  }
}

async function look({ config, before, queueId, log }: Watched): Promise<Seen> {
  const after = (await metricsOf(config)) ?? before
  const text = log === undefined ? '' : await readTail(log)
  const toFilter = deliveryOf(text, queueId)
  const next = queuedAsOf(toFilter)
  const onward = next === undefined ? undefined : deliveryOf(text, next)
  const rise = (name: string, label?: string): number =>
    sumOf(after, name, label) - sumOf(before, name, label)
  return {
    messages: rise(MESSAGES),
    handedBack: rise(REINJECTIONS, 'result="ok"'),
    ...(toFilter && { toFilter }),
    ...(onward && { onward }),
  }
}

/** Absent: the daemon does not answer. */
async function metricsOf({ http }: Config): Promise<string | undefined> {
  try {
    const { status, body } = await askDaemon(http.address, '/metrics')
    return status === 200 ? body : undefined
  } catch (error) {
    if (error instanceof FilterError) return undefined
    throw error
  }
}

/** The queue id that 10025 gave, from the reply that we gave to Postfix. */
function queuedAsOf(delivery: LoggedDelivery | undefined): string | undefined {
  return /\bqueued as (\w+)/.exec(delivery?.reply ?? '')?.[1]
}

function filterDiagnosis({ messages, toFilter }: Seen, queueId: string): Diagnosis {
  const check = 'probe filter'
  if (messages <= 0) {
    const detail = `${MESSAGES} did not rise: Écluse has not seen it`
    const why = toFilter ? ` (${toFilter.relay}: ${toFilter.status}, ${toFilter.reply})` : ''
    return wrong(check, `${detail}${why}`, `look for ${queueId} in the log of Postfix, and at postqueue -p`)
  }
  const certain =
    messages === 1 ? 'a message was handled' : `${messages} messages were handled, others with it`
  return well(check, `${MESSAGES} rose by ${messages}: ${certain} since it was sent`)
}

function backDiagnosis({ handedBack }: Seen, queueId: string): Diagnosis {
  const check = 'probe back'
  if (handedBack > 0)
    return well(check, `${REINJECTIONS}{result="ok"} rose by ${handedBack}: 10025 took what came back`)
  const detail = `${REINJECTIONS}{result="ok"} did not rise: nothing went back to Postfix`
  return wrong(
    check,
    detail,
    `look for "queueId":"${queueId}" in the log of Écluse: it says what was decided`,
  )
}

/** The only ones that are about this very message. */
function logDiagnoses({ toFilter, onward }: Seen, queueId: string, log: LogTail | undefined): Diagnosis[] {
  const check = 'probe log'
  if (!toFilter) {
    const where =
      log === undefined ? 'no log of Postfix can be read here' : `${log.path} has no delivery of ${queueId}`
    const cure = `look for ${queueId} in the log of Postfix: its reply names 10025 and the next queue id`
    return [warn(check, `${where}: the numbers above may be those of other mail`, cure)]
  }
  const { relay, status, reply } = toFilter
  const detail = `${queueId} went to ${relay}: ${status} (${reply})`
  const next = queuedAsOf(toFilter)
  if (!PASSED.test(reply)) {
    return [
      wrong(
        check,
        `${detail}: not passed by Écluse`,
        'see the checks of postfix above, and the log of Écluse',
      ),
    ]
  }
  if (next === undefined) return [well(check, detail)]
  return [well(check, detail), onwardDiagnosis(next, onward)]
}

function onwardDiagnosis(queueId: string, onward: LoggedDelivery | undefined): Diagnosis {
  const check = 'probe delivery'
  const cure = `look for ${queueId} in the log of Postfix`
  if (!onward) return warn(check, `${queueId}: not delivered yet, what becomes of it was not seen`, cure)
  const detail = `${queueId} went on to ${onward.relay}: ${onward.status} (${onward.reply})`
  return onward.status === 'sent' ? well(check, detail) : warn(check, `${detail}: past Écluse`, cure)
}
