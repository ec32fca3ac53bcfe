import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { createLog, startDaemon, type Daemon } from '@ecluse/daemon'
import {
  connectLmtp,
  EICAR,
  GTUBE,
  startEvilMta,
  stuff,
  type EvilMta,
  type LmtpClient,
} from '@ecluse/fixtures'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { explained, ROOT } from '../../test/explaining.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError } from '../terminal.ts'
import { daemonOptions } from '../wiring.ts'
import type { Explanation } from './explanation.ts'

interface LoggedMessage {
  readonly event?: string
  readonly direction: string
  readonly quarantineId?: string
  readonly recipients: readonly Readonly<Record<string, unknown>>[]
}

let folder = ''
let mta: EvilMta
let daemon: Daemon
let client: LmtpClient
const logged: LoggedMessage[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ecluse-same-'))
  for (const name of ['spool', 'quarantine']) await mkdir(join(folder, name))
  mta = await startEvilMta()
})

afterEach(async () => {
  client?.destroy()
  await daemon?.close()
  await mta.close()
  await rm(folder, { recursive: true, force: true })
})

const POLICIES = `
hostname: filter.example.org
localDomains: [example.org]
networks: [192.0.2.0/24]
scanners: [{ kind: test }]
policy: { removeHeaders: [X-Secret] }
policies:
  - { name: outbound, when: { originating: true }, policy: { destiny: { spam: reject } } }
  - { name: vip, when: { recipients: [boss@example.org] }, policy: { killLevel: 2000, addressExtension: { spam: junk } } }
senders:
  - { action: block, senders: [bad@example.net], recipients: [paul@example.org] }
  - { score: 2, senders: [example.com] }
`

/** Starts what the configuration says, on a free port, with the next hop at its own. */
async function serve(protocol: 'lmtp' | 'smtp', more = ''): Promise<string> {
  const { address } = mta
  const file = join(folder, 'ecluse.yaml')
  const yaml = [
    `listen: [{ protocol: ${protocol}, address: '127.0.0.1:0' }]`,
    `reinject: { address: '127.0.0.1:${'port' in address ? address.port : 0}' }`,
    `spool: { directory: ${join(folder, 'spool')} }`,
    `quarantine: { directory: ${join(folder, 'quarantine')} }`,
    `ledger: { directory: ${join(folder, 'ledger')} }`,
    "http: { address: '127.0.0.1:0' }",
    POLICIES,
    more,
  ]
  await writeFile(file, yaml.join('\n'))
  const loaded = await loadConfig(file, { kinds: SCANNER_KINDS, env: {}, hostname: 'x' })
  if ('errors' in loaded) throw new Error(loaded.errors.map(describeError).join('\n'))
  logged.length = 0
  const log = createLog('info', 'json', {
    write: (line) => {
      const parsed = JSON.parse(line) as LoggedMessage
      if (parsed.event === 'message') logged.push(parsed)
    },
  })
  daemon = await startDaemon(await daemonOptions(loaded, log))
  const listening = daemon.receivers[0]?.address
  if (listening === undefined || 'path' in listening) throw new TypeError('expected TCP')
  client = await connectLmtp(listening)
  await client.reply()
  await client.ask(`${protocol === 'lmtp' ? 'LHLO' : 'EHLO'} filter.example.org`)
  return file
}

interface Sent {
  readonly from: string
  readonly to: readonly string[]
  readonly content: string
  readonly address?: string
}

async function send({ from, to, content, address }: Sent, replies: number): Promise<string[]> {
  if (address !== undefined) await client.ask(`XFORWARD ADDR=${address}`)
  client.send(`MAIL FROM:<${from}>\r\n${to.map((rcpt) => `RCPT TO:<${rcpt}>\r\n`).join('')}DATA\r\n`)
  await client.replies(to.length + 2)
  client.send(stuff(Buffer.from(content, 'latin1')))
  return await client.replies(replies)
}

/** Our id and the date differ, and what the next hop said. */
function same(text: string): string {
  return text
    .replace(/(\bid[= ]\s*|Quarantine-ID: <)[\w-]{12}(?![\w-])/g, '$1ID')
    .replace(/;\s+\w{3},\s+\d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000/g, '; DATE')
}

/** The fields of a header block, each with its folded lines. */
function fields(header: string): string[] {
  return header.split(/\r\n(?![ \t])/).filter((field) => field !== '')
}

/** The header of a copy: that of the message, changed as the explanation says. */
function headerAfter(content: string, { changes }: Explanation['transactions'][number]): string[] {
  const before = fields(content.slice(0, content.indexOf('\r\n\r\n')))
  const removed = changes.filter(({ op }) => op === '-').map(({ field }) => field)
  const added = changes.filter(({ op }) => op === '+').map(({ field }) => field)
  const subject = added.find(
    (field) => /^subject[ \t]*:/i.test(field) && before.some((of) => /^subject[ \t]*:/i.test(of)),
  )
  const stays = before.flatMap((field) => {
    if (!removed.includes(field)) return [field]
    return /^subject[ \t]*:/i.test(field) && subject !== undefined ? [subject] : []
  })
  return [...added.filter((field) => field !== subject), ...stays]
}

const HEADER =
  'From: a@example.com\r\nX-Spam-Flag: NO\r\nX-Secret: 1\r\n\tfolded\r\nSUBJECT : \xe9t\xe9\r\nTo: x\r\n'
const OUTSIDE = '198.51.100.7'
const OWN = '192.0.2.7'
const ALL = ['paul@example.org', 'boss@example.org', 'friend@example.net']
const eml = async (name: string): Promise<string> =>
  (await readFile(join(ROOT, 'fixtures/mail', name), 'latin1')).replace(/\n/g, '\r\n')

const CASES: readonly (readonly [string, Sent])[] = [
  ['ham', { from: 'a@example.com', to: ALL, content: `${HEADER}\r\nHello\r\n`, address: OUTSIDE }],
  [
    'spammy',
    { from: 'a@example.net', to: ALL, content: `${HEADER}\r\nECLUSE-TEST-SCORE=8 .\r\n`, address: OUTSIDE },
  ],
  ['spam', { from: 'a@example.net', to: ALL, content: `${HEADER}\r\n${GTUBE}\r\n`, address: OUTSIDE }],
  ['our own spam', { from: 'a@example.net', to: ALL, content: `${HEADER}\r\n${GTUBE}\r\n`, address: OWN }],
  [
    'mail of a blocked sender',
    { from: 'bad@example.net', to: ALL, content: `${HEADER}\r\n.\r\n`, address: OUTSIDE },
  ],
  ['a virus', { from: '', to: ALL, content: `${HEADER}\r\n${EICAR}\r\n`, address: OUTSIDE }],
  [
    'a message of this host',
    { from: '', to: ['root', 'root'], content: `To: x\r\n\r\nECLUSE-TEST-SCORE=7 .\r\n` },
  ],
]

/** What there is to say of one message, in the same words for the daemon and for the explanation. */
interface Outcome {
  readonly replies: readonly string[]
  readonly copies: readonly { readonly rcpt: readonly string[]; readonly header: readonly string[] }[]
  readonly direction: string
  readonly kept: boolean
  readonly recipients: readonly unknown[]
}

const NEXT_HOP = 'what the next hop answers'

function sorted(copies: Outcome['copies']): Outcome['copies'] {
  return copies.toSorted((a, b) => (a.rcpt.join() < b.rcpt.join() ? -1 : 1))
}

/** Sends it through the daemon. */
async function done(sent: Sent, replies: number): Promise<Outcome> {
  const before = mta.transactions.length
  const got = await send(sent, replies)
  const line = logged.at(-1)
  return {
    replies: got.map((reply) => (/^250 \S+ from MTA\(smtp:/.test(reply) ? NEXT_HOP : same(reply))),
    copies: sorted(
      mta.transactions.slice(before).map(({ rcpt, data }) => ({
        rcpt: rcpt.map((command) => command.replace(/ ORCPT=.*$/, '')),
        header: fields(same(data.toString('latin1', 0, data.indexOf('\r\n\r\n')))),
      })),
    ),
    direction: line?.direction ?? '',
    kept: line?.quarantineId !== undefined,
    recipients: (line?.recipients ?? []).map(({ address, category, destiny, score }) => ({
      address,
      category,
      destiny,
      score,
    })),
  }
}

/** Has it explained. Over SMTP one reply stands for all. */
async function said(file: string, sent: Sent): Promise<Outcome> {
  const message = join(folder, 'message.eml')
  await writeFile(message, sent.content, 'latin1')
  const client = sent.address === undefined ? [] : ['--client', sent.address]
  const to = sent.to.flatMap((address) => ['--rcpt', address])
  const explanation = await explained('--config', file, message, '--sender', sent.from, ...to, ...client)
  const { envelope, recipients, transactions, direction, quarantine } = explanation
  const replies = recipients.map(({ reply }) => (reply === undefined ? NEXT_HOP : same(reply)))
  const copies = transactions.map((transaction) => ({
    rcpt: transaction.recipients.map(({ target }) => `RCPT TO:<${target}>`),
    header: headerAfter(sent.content, transaction).map(same),
  }))
  return {
    replies: envelope.protocol === 'smtp' ? replies.slice(0, 1) : replies,
    copies: sorted(copies),
    direction,
    kept: quarantine.kept,
    recipients: recipients.map(({ address, category, destiny, score }) => ({
      address,
      category,
      destiny,
      score,
    })),
  }
}

test.each(CASES)('says of %s what the daemon does', async (_name, sent) => {
  const file = await serve('lmtp')
  expect(await said(file, sent)).toEqual(await done(sent, sent.to.length))
})

test.each(CASES)('says of %s at an SMTP listener what the daemon does', async (_name, sent) => {
  const file = await serve('smtp')
  expect(await said(file, sent)).toEqual(await done(sent, 1))
})

test.each(['ham.eml', 'spammy.eml'])('says of the sample %s what the daemon does', async (name) => {
  const file = await serve('lmtp')
  const sent = { from: 'x@y.example', to: ALL, content: await eml(name), address: OUTSIDE }
  expect(await said(file, sent)).toEqual(await done(sent, ALL.length))
})

test('says what softBounce makes of it', async () => {
  const file = await serve('lmtp', 'softBounce: true')
  const sent = { from: 'a@x.example', to: ALL, content: `To: x\r\n\r\n${GTUBE}\r\n`, address: OUTSIDE }
  expect(await said(file, sent)).toEqual(await done(sent, ALL.length))
})

test('says what a failed scanner makes of it', async () => {
  const file = await serve('lmtp')
  const yaml = await readFile(file, 'utf8')
  const broken =
    "scanners: [{ kind: test }, { kind: clamd, address: 'unix:/nonexistent', onError: tempfail }]"
  await writeFile(file, yaml.replace('scanners: [{ kind: test }]', broken))
  const explanation = await explained(
    '--config',
    file,
    join(ROOT, 'fixtures/mail/ham.eml'),
    '--rcpt',
    'a@example.org',
  )
  expect(explanation.recipients).toMatchObject([
    {
      deferred: true,
      destiny: 'tempfail',
      reply: `451 4.7.1 Content filter cannot check this message now, id=${explanation.message.id}`,
    },
  ])
  expect(explanation.scanners).toMatchObject([
    { outcome: 'done' },
    { outcome: 'failed', code: 'E_SCANNER_CONNECT' },
  ])
})
