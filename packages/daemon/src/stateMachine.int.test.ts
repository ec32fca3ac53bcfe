import { afterEach, expect, test } from '@jest/globals'
import type { EvilTransaction } from '@ecluse/fixtures'
import { releaseAll, startTestDaemon } from './daemon.testkit.ts'

afterEach(releaseAll)

const SEQUENCES = 20_000
const SEED = 20_261_124

/** Numbers from 0 up to `below`, the same ones for the same seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** What must come out at 10025. */
interface Expected {
  readonly mail: string
  readonly rcpt: readonly string[]
  /** Attributes that XFORWARD must name there; all others must be unavailable. */
  readonly client: readonly string[]
}

const MAX_RECIPIENTS = 4

/**
 * The rules in words: LHLO first; MAIL opens a transaction and nothing else may come before RCPT and DATA; XFORWARD only
 * outside of one; RSET, LHLO, a final dot and a DATA that ends the transaction forget everything. Says how each reply
 * begins.
 */
class Model {
  #greeted = false
  #sender: string | undefined
  #recipients: string[] = []
  #client = new Map<string, string>()
  readonly delivered: Expected[] = []

  lhlo(): string[] {
    this.#greeted = true
    this.#forget()
    return ['250-filter.example.org']
  }

  rset(): string[] {
    this.#forget()
    return ['250 2.0.0']
  }

  xforward(name: string, value: string): string[] {
    if (!this.#greeted) return ['503 5.5.1']
    if (this.#sender !== undefined) return ['503 5.5.1']
    this.#client.set(name, value)
    return ['250 2.5.0']
  }

  mail(sender: string): string[] {
    if (!this.#greeted || this.#sender !== undefined) return ['503 5.5.1']
    this.#sender = sender
    return ['250 2.1.0']
  }

  rcpt(address: string): string[] {
    if (this.#sender === undefined) return ['503 5.5.1']
    if (this.#recipients.length === MAX_RECIPIENTS) return ['452 4.5.3']
    this.#recipients.push(address)
    return ['250 2.1.5']
  }

  get takesContent(): boolean {
    return this.#recipients.length > 0
  }

  data(): string[] {
    if (this.#sender === undefined) return ['503 5.5.1']
    if (this.#recipients.length === 0) return ['503 5.1.1']
    const replies = ['354 End', ...this.#recipients.map(() => '250 2.0.0')]
    this.delivered.push({
      mail: this.#sender,
      rcpt: this.#recipients,
      client: [...this.#client].map(([name, value]) => `${name}=${value}`).toSorted(),
    })
    this.#forget()
    return replies
  }

  #forget(): void {
    this.#sender = undefined
    this.#recipients = []
    this.#client = new Map()
  }
}

interface Step {
  readonly send: string
  readonly replies: readonly string[]
}

/** One command, most of them where they belong, with values that never come twice. */
function step(model: Model, random: (below: number) => number, serial: number): Step {
  const line = (text: string, replies: readonly string[]): Step => ({ send: `${text}\r\n`, replies })
  const kind = random(100)
  if (kind < 22) return line(`MAIL FROM:<s${serial}@example.com>`, model.mail(`s${serial}@example.com`))
  if (kind < 50) return line(`RCPT TO:<r${serial}@example.org>`, model.rcpt(`r${serial}@example.org`))
  if (kind < 66) {
    const content = model.takesContent ? `Subject: ${serial}\r\n\r\nRSET\r\n..\r\n.\r\n` : ''
    return { send: `DATA\r\n${content}`, replies: model.data() }
  }
  if (kind < 80) return xforward(model, random, serial)
  if (kind < 85) return line('RSET', model.rset())
  if (kind < 88) return line('LHLO again.example.org', model.lhlo())
  if (kind < 90) return line('NOOP', ['250 2.0.0'])
  if (kind < 92) return line('VRFY <root>', ['252 2.0.0'])
  const [text, reply] = WRONG[random(WRONG.length)] ?? WRONG[0]
  return line(text, [reply])
}

function xforward(model: Model, random: (below: number) => number, serial: number): Step {
  const name = ['NAME', 'HELO', 'IDENT'][random(3)] ?? 'NAME'
  return { send: `XFORWARD ${name}=v${serial}\r\n`, replies: model.xforward(name, `v${serial}`) }
}

/** None of them changes anything. `50`: whether 501 or 503 depends on what came before. */
const WRONG: readonly [[string, string], ...[string, string][]] = [
  ['EHLO wrong.example.org', '500 '],
  ['LHLO', '501 '],
  ['FROB', '500 5.5.2'],
  ['EXPN list', '502 5.5.1'],
  ['DATA now', '501 5.5.4'],
  ['RSET now', '501 5.5.4'],
  ['STARTTLS', '502 5.5.1'],
  ['MAIL FROM:leaked@example.com', '50'],
  ['MAIL FROM:<leaked@example.com> FROB=1', '50'],
  ['RCPT TO:<>', '50'],
  ['RCPT TO:<leaked@example.org> NOTIFY=NEVER,SUCCESS', '50'],
  ['XFORWARD NAME=leaked+0D+0A', '50'],
  ['XFORWARD NAME=leaked FROB=1', '50'],
]

function seenAt10025({ mail, rcpt, xforward: commands }: EvilTransaction): Expected {
  const path = (command: string): string => /<(.*?)>/.exec(command)?.[1] ?? ''
  const attributes = commands.flatMap((command) => command.split(' ').slice(1))
  return {
    mail: path(mail),
    rcpt: rcpt.map(path),
    client: attributes.filter((attribute) => !attribute.endsWith('=[UNAVAILABLE]')).toSorted(),
  }
}

test(`${SEQUENCES} random dialogues: replies as the model says, nothing leaks into the next transaction`, async () => {
  const kit = await startTestDaemon({
    scanners: [],
    receiver: { recipients: MAX_RECIPIENTS },
    mta: { act: ({ stage }) => (stage === 'dot' ? '250 2.0.0 Ok' : undefined) },
  })
  const random = randomFrom(SEED)
  const model = new Model()
  const client = await kit.connect()
  await client.reply()
  const wrong: unknown[] = []
  let serial = 0
  for (let sequence = 0; sequence < SEQUENCES; sequence++) {
    const steps: Step[] = []
    const length = 1 + random(8)
    while (steps.length < length) steps.push(step(model, random, serial++))
    // It counts as no error, so that a run of errors does not end the connection.
    steps.push({ send: 'NOOP\r\n', replies: ['250 2.0.0'] })
    client.send(steps.map(({ send }) => send).join(''))
    const expected = steps.flatMap(({ replies }) => replies)
    const replies = await client.replies(expected.length)
    if (!replies.every((reply, i) => reply.startsWith(expected[i] ?? '?'))) wrong.push({ steps, replies })
  }
  expect(wrong).toEqual([])
  expect(kit.mta.transactions.map(seenAt10025)).toEqual(model.delivered)
  expect(kit.mta.transactions.length).toBeGreaterThan(SEQUENCES / 10)
  expect(kit.messages()).toHaveLength(model.delivered.length)
}, 60_000)
