import { afterEach, expect, test } from '@jest/globals'
import type { Destiny, MailProtocol, RuleConfig } from '@ecluse/core'
import type { EvilAct, EvilEvent, EvilTransaction } from '@ecluse/fixtures'
import {
  masked,
  releaseAll,
  rulesWith,
  sendMail,
  startTestDaemon,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const SPAMMY = 'From: shop@example.com\r\nSubject: Only today\r\n\r\nECLUSE-TEST-SCORE=7.25 .\r\n'

type Overlay = RuleConfig['policies'][number]['policy']
const spam = (destiny: Destiny): Overlay => ({ killLevel: 7, destiny: { spam: destiny } })

/** The one of number N is for recipients `…-pN@`. */
const POLICIES: readonly Overlay[] = [
  {},
  { tag2Level: 2 },
  { tag2Level: 3, addressExtension: { spam: 'spam' } },
  spam('pass'),
  spam('reject'),
  spam('discard'),
  spam('tempfail'),
]
const rules = rulesWith({
  policies: POLICIES.map((policy, number) => ({
    name: `p${number}`,
    when: { recipients: [`/-p${number}@/`] },
    policy,
  })),
})
const policyOf = (address: string): string => /-(p\d)@/.exec(address)?.[1] ?? ''
/** As it came in: without the extension. */
const addressIn = (line: string): string => (/<(.*)>/.exec(line)?.[1] ?? '').replace('+spam@', '@')

/** What a recipient or a copy meets at the next hop. */
const RCPT_REPLIES: Readonly<Record<string, string>> = { no: '550 5.1.1 unknown', busy: '450 4.2.0 busy' }
const FATES: readonly (EvilAct | undefined)[] = [
  undefined,
  undefined,
  undefined,
  { do: 'drop' },
  '451 4.3.0 later',
  '554 5.6.0 never',
]

/** The same numbers for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 16) % below
  }
}

interface Scenario {
  readonly to: readonly string[]
  /** For the copy whose first recipient has that policy. */
  readonly fates: ReadonlyMap<string, EvilAct | undefined>
}

function scenarioOf(seed: number): Scenario {
  const below = numbers(seed)
  const to = Array.from({ length: 1 + below(12) }, () => {
    const kind = ['ok', 'ok', 'ok', 'no', 'busy'][below(5)] ?? 'ok'
    return `${kind}${below(3)}-p${below(seed % 2 === 0 ? POLICIES.length : 4)}@example.org`
  })
  const fates = POLICIES.map((_, number) => [`p${number}`, FATES[below(FATES.length)]] as const)
  return { to, fates: new Map(fates) }
}

/** A copy at the next hop: who of it was accepted, and whether it was taken whole. */
interface Copy {
  to: readonly string[]
  readonly accepted: string[]
  taken: boolean
}

/** The replies to a message, and its copies in the order of their MAIL. */
async function run(scenario: Scenario, protocol: MailProtocol): Promise<{ dot: string[]; copies: Copy[] }> {
  const copies = new Map<EvilTransaction, Copy>()
  let kit: TestDaemon | undefined
  const act = (event: EvilEvent): EvilAct | undefined => {
    const transaction = kit?.mta.sessions[event.session - 1]?.transactions.at(-1)
    return transaction && answer(event, copyOf(transaction, copies), scenario)
  }
  kit = await startTestDaemon({ rules, mta: { act } })
  const { dot } = await sendMail(await kit.greet(protocol), { to: scenario.to, content: SPAMMY, protocol })
  return { dot: dot.map(masked), copies: [...copies.values()] }
}

function copyOf(transaction: EvilTransaction, copies: Map<EvilTransaction, Copy>): Copy {
  const copy = copies.get(transaction) ?? { to: [], accepted: [], taken: false }
  copy.to = transaction.rcpt.map(addressIn)
  copies.set(transaction, copy)
  return copy
}

function answer({ stage, line }: EvilEvent, copy: Copy, { fates }: Scenario): EvilAct | undefined {
  if (stage === 'rcpt') {
    const reply = RCPT_REPLIES[/<([a-z]+)/.exec(line)?.[1] ?? '']
    if (reply === undefined) copy.accepted.push(addressIn(line))
    return reply
  }
  const fate = fates.get(policyOf(copy.to[0] ?? ''))
  if (stage === 'content' && typeof fate === 'object') return fate
  if (stage !== 'dot') return undefined
  copy.taken = fate === undefined
  return fate
}

/** One entry for each delivery. */
const deliveredOf = (copies: readonly Copy[]): string[] =>
  copies.flatMap(({ taken, accepted }) => (taken ? accepted : [])).toSorted()

const SEEDS = Array.from({ length: 40 }, (_, index) => index + 1)
const BLOCKED: Readonly<Record<string, string>> = {
  p4: '554 5.7.0 Reject, id=ID - spam',
  p5: '250 2.7.0 Ok, discarded, id=ID - spam',
  p6: '450 4.7.0 Temporary failure, id=ID - spam',
}

test.each(SEEDS)('over LMTP who is told of a delivery has it, once, and nobody else (%i)', async (seed) => {
  const scenario = scenarioOf(seed)
  const { to } = scenario
  const { dot, copies } = await run(scenario, 'lmtp')
  expect(dot).toHaveLength(to.length)
  const told = to.filter((_, index) => dot[index]?.startsWith('250 2.0.0 from MTA('))
  expect(told.toSorted()).toEqual(deliveredOf(copies))
  const blocked = to.map((address) => BLOCKED[policyOf(address)])
  expect(dot.map((reply, index) => (blocked[index] === undefined ? undefined : reply))).toEqual(blocked)
  // Whatever is neither delivered nor decided by a policy comes again, or is the refusal of the next hop.
  const rest = dot.filter(
    (reply, index) => blocked[index] === undefined && !reply.startsWith('250 2.0.0 from MTA('),
  )
  expect(rest.filter((reply) => !/^4\d\d |^5\d\d .*Rejected by next-hop MTA/.test(reply))).toEqual([])
})

test.each(SEEDS)('over SMTP a 2xx is for all, a 5xx for none (%i)', async (seed) => {
  const scenario = scenarioOf(seed)
  const { dot, copies } = await run(scenario, 'smtp')
  expect(dot).toHaveLength(1)
  const delivered = deliveredOf(copies)
  const passed = scenario.to.filter((address) => BLOCKED[policyOf(address)] === undefined)
  const deferred = scenario.to.filter((address) => policyOf(address) === 'p6')
  // One of several that is refused is kept instead: the others have their mail.
  const allRefused = scenario.to.every((address) => policyOf(address) === 'p4')
  const expected = { 2: { delivered: passed.toSorted(), deferred: [] }, 5: { delivered: [], deferred } }
  const found = { delivered, deferred }
  expect(found).toEqual(expected[dot[0]?.charAt(0) as '2' | '5'] ?? found)
  // What comes again is delivered again: nothing is handed over behind a refusal.
  expect(
    copies.slice(0, -1).filter(({ taken, to, accepted }) => !taken || accepted.length < to.length),
  ).toEqual([])
  expect(deferred.length > 0 || allRefused ? copies : []).toEqual([])
})
