/*
 * Golden messages: what goes in, and every byte that comes out of it, as text that a reviewer can read. How the files
 * are made again is told in fixtures/golden/README.md.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  DEFAULT_POLICY,
  overlayPolicy,
  type ConfiguredScanner,
  type PolicyOverlay,
  type RuleConfig,
} from '@ecluse/core'
import type { EvilTransaction, LmtpClient } from '@ecluse/fixtures'
import { masked, rulesWith, scannerOfKind, startTestDaemon, until } from './daemon.testkit.ts'

/** One message, and the site that it comes to. */
export interface GoldenCase {
  /** Also that of its file. */
  readonly name: string
  /** What is to be seen, in one sentence. */
  readonly about: string
  /** What the site has beside {@link SITE}. */
  readonly site?: Partial<Omit<RuleConfig, 'policy'>> & { readonly policy?: PolicyOverlay }
  /** Absent: the test scanner, which reads the message. */
  readonly scanners?: readonly ConfiguredScanner[]
  readonly protocol?: 'lmtp' | 'smtp'
  /** Behind MAIL FROM:, with the angle brackets; bytes as latin1. */
  readonly from?: string
  /** Behind RCPT TO:, the same. */
  readonly to: readonly string[]
  /** Lines without CRLF, bytes as latin1. */
  readonly content: readonly string[]
}

/** A heading and what stands under it. */
interface Section {
  readonly title: string
  readonly lines: readonly string[]
}

/** Recipients with different policies, and lists of senders. */
const SITE = {
  policies: [
    {
      name: 'strict',
      when: { recipients: ['strict@example.org'] },
      policy: { tag2Level: 4, killLevel: 8, destiny: { spam: 'reject', virus: 'reject' } },
    },
    {
      name: 'lenient',
      when: { recipients: ['lenient@example.org'] },
      policy: { tagLevel: 3, tag2Level: 10, killLevel: 50, subjectTag: '' },
    },
    {
      name: 'lover',
      when: { recipients: ['lover@example.org'] },
      policy: {
        deliverAnyway: ['virus', 'spam'],
        addressExtension: { virus: 'virus', spam: 'spam' },
        subjectTags: { virus: '***INFECTED*** ' },
      },
    },
    { name: 'calm', when: { recipients: ['calm@example.org'] }, policy: { bypass: ['spam'] } },
    { name: 'brave', when: { recipients: ['brave@example.org'] }, policy: { bypass: ['virus'] } },
  ],
  senders: [
    { action: 'block', senders: ['bad@example.net'], unauthenticated: false },
    { action: 'allow', senders: ['friend@example.net'], unauthenticated: true },
    { score: -3, senders: ['news.example'], unauthenticated: false },
  ],
} satisfies Partial<RuleConfig>

const XFORWARD =
  'XFORWARD NAME=mx.example.com ADDR=192.0.2.7 PORT=51712 PROTO=ESMTP HELO=mx.example.com IDENT=4QX1 SOURCE=REMOTE'

/** Sends the message through a daemon of its own and tells everything that came out, and went in. */
export async function passGolden(golden: GoldenCase): Promise<string> {
  const {
    site = {},
    scanners = [scannerOfKind('test')],
    protocol = 'lmtp',
    from = '<shop@example.com>',
  } = golden
  const { policy, ...rest } = site
  const rules = rulesWith({
    ...SITE,
    ...rest,
    ...(policy && { policy: overlayPolicy(DEFAULT_POLICY, policy) }),
  })
  const kit = await startTestDaemon({
    rules,
    scanners,
    mta: {
      act: ({ stage, session, transaction }) =>
        stage === 'dot' ? `250 2.0.0 Ok: queued as S${session}T${transaction}` : undefined,
    },
  })
  const client = await kit.greet(protocol)
  await client.ask(XFORWARD)
  const commands = [`MAIL FROM:${from}`, ...golden.to.map((path) => `RCPT TO:${path}`)]
  const answers = await converse(client, [...commands, 'DATA'])
  const content = `${golden.content.join('\r\n')}\r\n`
  client.send(`${content.replace(/^\./gm, '..')}.\r\n`)
  const replies = await client.replies(protocol === 'lmtp' ? golden.to.length : 1)
  await until(() => kit.mta.transactions.every(({ complete }) => complete))
  const copies = kit.mta.sessions
    .flatMap(({ transactions }, session) =>
      transactions.map((copy, number) => ({ ...copy, queuedAs: `S${session + 1}T${number + 1}` })),
    )
    .toSorted((a, b) => (a.rcpt.join() < b.rcpt.join() ? -1 : 1))
  // Which connection a copy went over is chance.
  const named = (reply: string): string =>
    reply.replace(/S\d+T\d+$/, (id) => `COPY${copies.findIndex(({ queuedAs }) => queuedAs === id) + 1}`)
  const answered = replies.map((reply) => escaped(named(masked(reply))))
  const sections: Section[] = [
    ...(golden.site
      ? [{ title: 'Beside the site of all messages', lines: [JSON.stringify(golden.site, null, 2)] }]
      : []),
    {
      title: `Received over ${protocol.toUpperCase()}`,
      lines: [...commands.map(escaped), 'DATA', ...shownLines(content)],
    },
    { title: 'Answered', lines: [...refusals(answers), ...answered] },
    ...copies.map((copy, index) => ({ title: `Copy ${index + 1} for 10025`, lines: shownCopy(copy) })),
    ...shownQuarantine(kit.quarantineFolder, content),
  ]
  const shown = sections.map(({ title, lines }) => `\n## ${title}\n${lines.join('\n')}\n`)
  return `# ${golden.name}\n${golden.about}\n${shown.join('')}`
}

async function converse(client: LmtpClient, commands: readonly string[]): Promise<string[]> {
  client.send(commands.map((command) => `${command}\r\n`).join(''))
  return await client.replies(commands.length)
}

/** Replies before the content that are not as they should be: a case is about something else. */
function refusals(answers: readonly string[]): string[] {
  return answers.filter((answer) => !/^[23]/.test(answer))
}

function shownCopy({ xforward, mail, rcpt, data }: EvilTransaction): string[] {
  return [...xforward.filter((line) => line !== XFORWARD), mail, ...rcpt, 'DATA']
    .map(escaped)
    .concat(shownLines(masked(data.toString('latin1'))))
}

/** The fields before the original, and that the original is whole. */
function shownQuarantine(folder: string, original: string): Section[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.eml'),
  )
  return files.map((name) => {
    const text = readFileSync(join(folder, name), 'latin1')
    const [, length = ''] = /\r\nX-Ecluse-Quarantine: v=1; header-bytes=(\d+);/.exec(text) ?? []
    const fields = text.slice(0, text.indexOf('\r\nX-Ecluse-Quarantine:'))
    const facts = text.slice(0, Number(length)).replaceAll('\r\n ', '').split(`${length};`)[1]
    const { category, subject, outcomes } = JSON.parse(facts ?? '') as Record<string, unknown>
    const whole = text.slice(Number(length)) === original
    return {
      title: `In quarantine as ${name.slice(2, -16)}ID.eml`,
      lines: [
        ...shownLines(masked(fields)),
        ...(outcomes as unknown[]).map((outcome) => escaped(JSON.stringify(outcome))),
        escaped(JSON.stringify({ category, subject })),
        whole ? 'The original follows, byte for byte.' : 'WHAT FOLLOWS IS NOT THE ORIGINAL.',
      ],
    }
  })
}

/** One line of text for each line that ends in CRLF; what is behind the last one too. */
function shownLines(bytes: string): string[] {
  return bytes.replace(/\r\n$/, '').split('\r\n').map(escaped)
}

/** Every byte can be told from every other: latin1, not printable or a blank at the end as `\xNN`. */
function escaped(line: string): string {
  return line
    .replaceAll('\\', '\\\\')
    .replace(/[^\x20-\x7e]| $/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
