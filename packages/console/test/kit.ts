import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { request, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import {
  decide,
  DEFAULT_POLICY,
  FilterError,
  localDomains,
  type Assessment,
  type DeliveryResult,
  type Envelope,
  type Policy,
} from '@ecluse/core'
import { createFileStore, quarantineRecord, type QuarantineStore, type ReleaseGate } from '@ecluse/quarantine'
import { openConsole, type Console, type ConsoleOptions } from '../src/console.ts'

export const ID = 'Abc-123_xyZ9'
export const ANNA = 'anna@example.org'
export const SECRET = 'correct horse battery staple, 32 and more'
export const MAIL = 'From: <m@example.net>\r\nSubject: Win <b>&amp;\u001b[31m\r\n\r\nClick\r\n'
export const URL_BASE = 'https://mail.example.org/quarantine'

const POLICY: Policy = {
  ...DEFAULT_POLICY,
  tag2Level: 6,
  subjectTag: '',
  quarantine: ['virus', 'spam', 'banned'],
}

/** Answers with what it is told to; at first it takes everything. */
export class FakeGate implements ReleaseGate {
  readonly requests: { readonly to: string[]; readonly bytes: string }[] = []
  answer: 'take' | 'refuse' | 'fail' = 'take'
  #ready: Promise<void> = Promise.resolve()

  /** Lets all answers wait until what is returned is called. */
  hold(): () => void {
    let go = (): void => {}
    this.#ready = new Promise((resolve) => {
      go = resolve
    })
    return () => go()
  }

  deliver: ReleaseGate['deliver'] = async ({ recipients, message }) => {
    const bytes = (await buffer(message.open())).toString()
    this.requests.push({ to: recipients.map(({ address }) => address), bytes })
    await this.#ready
    return recipients.map((recipient): DeliveryResult => {
      const mta = 'smtp:[127.0.0.1]:10025'
      switch (this.answer) {
        case 'take':
          return { recipient, outcome: 'relayed', mta, line: '250 2.0.0 Ok' }
        case 'refuse':
          return { recipient, outcome: 'refused', mta, stage: 'rcpt', line: '550 5.1.1 no\u001b[31m' }
        case 'fail':
          return { recipient, outcome: 'failed', error: new FilterError('E_REINJECT_CONNECT', '10025') }
      }
    })
  }
}

/** A console with a quarantine of its own. */
export interface Kit {
  readonly directory: string
  readonly store: QuarantineStore
  readonly gate: FakeGate
  readonly log: {
    readonly level: string
    readonly fields: Record<string, unknown>
    readonly message: string
  }[]
  readonly console: Console
  /** Requests at its port; `target` as it goes over the wire. */
  ask(target: string, options?: AskOptions): Promise<Answer>
  close(): Promise<void>
}

export interface AskOptions {
  readonly method?: string
  readonly body?: string
}

export interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export async function startKit(options: Partial<ConsoleOptions> = {}): Promise<Kit> {
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-console-'))
  const store = createFileStore(directory)
  await store.prepare()
  const gate = new FakeGate()
  const log: Kit['log'] = []
  const line = (level: string) => (fields: object, message: string) =>
    void log.push({ level, fields: { ...fields }, message })
  const console = await openConsole({
    address: { host: '127.0.0.1', port: 0 },
    url: URL_BASE,
    secret: SECRET,
    language: 'en',
    contact: 'postmaster@example.org',
    leaveMs: 60_000,
    hostname: 'filter.example.org',
    store,
    gate,
    isLocal: () => localDomains(['example.org']),
    log: { error: line('error'), warn: line('warn'), info: line('info') },
    ...options,
  })
  return {
    directory,
    store,
    gate,
    log,
    console,
    ask: async (target, asked) => await ask(console, target, asked),
    async close() {
      await console.close()
      await store.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function ask(
  { address }: Console,
  target: string,
  { method = 'GET', body }: AskOptions = {},
): Promise<Answer> {
  const where = 'path' in address ? { socketPath: address.path } : address
  return await new Promise((resolve, reject) => {
    const sent = request({ ...where, method, path: target, agent: false }, (response) => {
      text(response).then(
        (read) => resolve({ status: response.statusCode, headers: response.headers, body: read }),
        reject,
      )
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

export interface Kept {
  readonly id?: string
  readonly recipients?: readonly string[]
  readonly viruses?: readonly string[]
  readonly mail?: string
  readonly mailFrom?: string
}

/** Keeps spam, or a virus, for some recipients. */
export async function keep(store: QuarantineStore, kept: Kept = {}): Promise<void> {
  const { id = ID, recipients = [ANNA, 'bob@example.org'], viruses = [], mail = MAIL } = kept
  const envelope: Envelope = {
    protocol: 'lmtp',
    mailFrom: kept.mailFrom ?? 'm@example.net',
    recipients: recipients.map((address) => ({ address })),
    smtpUtf8: false,
    client: {},
    peer: { helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
  }
  const assessment: Assessment = {
    viruses,
    unchecked: [],
    virusStatus: viruses.length > 0 ? 'infected' : 'clean',
    scores: [21.5],
    virusPoints: 0,
    symbols: [],
    mustDefer: false,
  }
  const decisions = envelope.recipients.map((recipient) =>
    decide(recipient, { policy: POLICY, local: true }, assessment),
  )
  const bytes = Buffer.from(mail)
  const record = quarantineRecord(
    {
      id,
      hostname: 'filter.example.org',
      envelope,
      date: new Date('2026-11-24T08:00:00Z'),
      alertHeader: 'X-Ecluse-Alert',
      recipientDelimiter: '',
    },
    decisions,
  )
  const digest = createHash('sha256').update(bytes).digest('hex')
  const message = {
    id,
    sizeBytes: bytes.length,
    digest,
    bytes,
    header: bytes,
    open: () => Readable.from([bytes]),
  }
  await store.put(record, message, new AbortController().signal)
}
