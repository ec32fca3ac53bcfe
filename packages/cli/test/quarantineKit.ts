import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { afterEach, beforeEach } from '@jest/globals'
import {
  compileRules,
  configSchema,
  DEFAULT_POLICY,
  FilterError,
  type Assessment,
  decide,
  type DeliveryResult,
  type Envelope,
  type Policy,
} from '@ecluse/core'
import type { JudgeParts } from '@ecluse/daemon'
import { createFileStore, quarantineRecord, type QuarantineStore } from '@ecluse/quarantine'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { configuredScanners } from '../src/wiring.ts'
import { runQuarantine } from '../src/quarantine/actions.ts'
import { QUARANTINE_OPTIONS } from '../src/quarantine/options.ts'
import type { QuarantineSetup } from '../src/quarantine/task.ts'

const POLICY: Policy = { ...DEFAULT_POLICY, tag2Level: 6, subjectTag: '', quarantine: ['virus', 'spam'] }
export const SPAM = 'Aspam0000001'
export const VIRUS = 'Avirus000002'
export const MAIL =
  'From: Mallory <m@example.net>\r\nSubject: =?utf-8?q?Win_=1B]0;x=07=E2=80=AE?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n' +
  '--b\r\n\r\nClick \x1b[2Jhere\r\n--b\r\nContent-Type: application/zip; name="a\u202egpj.exe"\r\n\r\nzip\r\n--b--\r\n'

/** The quarantine of the test that runs. */
export const kept = {} as { directory: string; store: QuarantineStore }

/** Each test of the file gets an empty quarantine of its own. */
export function useQuarantine(): void {
  beforeEach(async () => {
    kept.directory = await mkdtemp(join(tmpdir(), 'ecluse-cli-'))
    kept.store = createFileStore(kept.directory)
    await kept.store.prepare()
  })
  afterEach(async () => {
    await kept.store.close()
    await rm(kept.directory, { recursive: true, force: true })
  })
}

export interface Kept {
  readonly id: string
  /** Of November 2026, at 8. */
  readonly day: number
  /** In place of that day. */
  readonly at?: Date
  readonly virus?: boolean
  readonly envelope?: Partial<Envelope>
  readonly mail?: string
}

export async function keep({
  id,
  day,
  at: date = new Date(Date.UTC(2026, 10, day, 8)),
  virus = false,
  envelope: overrides = {},
  mail = MAIL,
}: Kept): Promise<void> {
  const envelope: Envelope = {
    protocol: 'lmtp',
    mailFrom: 'm@example.net',
    recipients: [{ address: 'anna@example.org' }, { address: 'bob@example.org' }],
    smtpUtf8: false,
    client: { address: '192.0.2.7', helo: 'evil\u001b[31m', queueId: '4F5A' },
    peer: { helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    ...overrides,
  }
  const assessment: Assessment = {
    viruses: virus ? ['Eicar'] : [],
    unchecked: [],
    scores: virus ? [] : [21.5],
    virusPoints: 0,
    symbols: [],
    mustDefer: false,
  }
  const decisions = envelope.recipients.map((recipient) =>
    decide(recipient, { policy: POLICY, local: true }, assessment),
  )
  const record = quarantineRecord(
    {
      id,
      hostname: 'filter.example.org',
      envelope,
      date,
      alertHeader: 'X-Ecluse-Alert',
      recipientDelimiter: '',
    },
    decisions,
  )
  const bytes = Buffer.from(mail)
  const digest = createHash('sha256').update(bytes).digest('hex')
  const message = {
    id,
    sizeBytes: bytes.length,
    digest,
    bytes,
    header: bytes,
    open: () => Readable.from([bytes]),
  }
  await kept.store.put(record, message, new AbortController().signal)
}

/** What a configuration judges by; with `scanners` of kind test where it names them. */
export function judgeOf(input: Readonly<Record<string, unknown>>): JudgeParts {
  const config = configSchema(SCANNER_KINDS, 'filter.example.org').parse({
    localDomains: ['example.org'],
    ...input,
  })
  const { hostname, alertHeader } = config
  return {
    hostname,
    alertHeader,
    scanners: configuredScanners(config),
    rules: compileRules(config, new Map()),
  }
}

export interface Ran {
  readonly code: number | string
  readonly out: string
  readonly err: string
}

type ReleaseGate = ReturnType<QuarantineSetup['openGate']>
type Request = Parameters<ReleaseGate['deliver']>[0]

/** Answers each recipient by its address. */
export class FakeGate implements ReleaseGate {
  readonly requests: { readonly request: Request; readonly bytes: string }[] = []
  closed = 0
  async deliver(request: Request): Promise<DeliveryResult[]> {
    this.requests.push({ request, bytes: (await buffer(request.message.open())).toString() })
    return request.recipients.map((recipient): DeliveryResult => {
      const mta = 'smtp:[127.0.0.1]:10025'
      if (recipient.address.startsWith('bob')) {
        return { recipient, outcome: 'refused', mta, stage: 'rcpt', line: '550 5.1.1 no \u001b[31mbob' }
      }
      return { recipient, outcome: 'relayed', mta, line: '250 2.0.0 Ok: queued as X' }
    })
  }
  async close(): Promise<void> {
    this.closed++
  }
}

export async function run(
  args: string | readonly string[],
  setup: Partial<QuarantineSetup> = {},
): Promise<Ran> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const [out, err] = [text(stdout), text(stderr)]
  const context = {
    configure: async () => ({
      store: createFileStore(kept.directory),
      hostname: 'filter.example.org',
      openGate: () => new FakeGate(),
      openJudge: async () => judgeOf({}),
      ...setup,
    }),
    stdout,
    stderr,
    signal: new AbortController().signal,
    now: new Date('2026-11-24T08:00:00Z'),
    user: 'root',
  }
  let code: number | string
  try {
    const { values, positionals } = parseArgs({
      args: typeof args === 'string' ? args.split(' ').filter((arg) => arg !== '') : [...args],
      options: QUARANTINE_OPTIONS,
      allowPositionals: true,
    })
    code = await runQuarantine({ options: values, positionals }, context)
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    code = `${error.code} ${error.message} (${error.hint})`
  }
  stdout.end()
  stderr.end()
  return { code, out: await out, err: await err }
}
