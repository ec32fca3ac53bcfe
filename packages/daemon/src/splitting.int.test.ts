import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, test } from '@jest/globals'
import type { Destiny, RuleConfig } from '@ecluse/core'
import type { EvilAct, EvilEvent, EvilTransaction } from '@ecluse/fixtures'
import {
  masked,
  releaseAll,
  rulesWith,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const SPAMMY = 'From: shop@example.com\r\nSubject: Only today\r\n\r\nECLUSE-TEST-SCORE=7.25 .\r\n'

/** `count` policies that mark differently: the one of number N is for recipients `…-pN@`. */
function policies(count: number): RuleConfig['policies'] {
  return Array.from({ length: count }, (_, number) => ({
    name: `p${number}`,
    when: { recipients: [`/-p${number}@/`] },
    policy: { tag2Level: 1 + number / 10 },
  }))
}

const policyOf = (address: string): string => /-p(\d+)@/.exec(address)?.[1] ?? ''

const addresses = ({ rcpt }: EvilTransaction): string[] => rcpt.map((line) => /<(.*)>/.exec(line)?.[1] ?? '')

/** A daemon whose next hop is asked with the transaction that an event belongs to. */
async function startSplitting(
  act: (event: EvilEvent, transaction: EvilTransaction | undefined) => EvilAct | undefined,
  options: TestDaemonOptions = {},
): Promise<TestDaemon> {
  // At its start the daemon asks the next hop whether it is there.
  let kit: TestDaemon | undefined
  kit = await startTestDaemon({
    ...options,
    mta: { act: (event) => act(event, kit?.mta.sessions[event.session - 1]?.transactions.at(-1)) },
  })
  return kit
}

/** Another queue id for each transaction. */
const queued = ({ session, transaction }: EvilEvent): string =>
  `250 2.0.0 Ok: queued as Q${session}T${transaction}`

/** The queue id that the next hop gave for each recipient that got a whole copy. */
function queueIds({ mta }: TestDaemon, refused: readonly string[] = []): Map<string, string[]> {
  const ids = new Map<string, string[]>()
  mta.sessions.forEach(({ transactions }, session) => {
    transactions.forEach((transaction, number) => {
      if (!transaction.complete) return
      for (const address of addresses(transaction).filter((to) => !refused.includes(to))) {
        ids.set(address, [...(ids.get(address) ?? []), `Q${session + 1}T${number + 1}`])
      }
    })
  })
  return ids
}

const relayedAs = (id: string | undefined): string =>
  `250 2.0.0 from MTA(smtp:[127.0.0.1]:PORT): 250 2.0.0 Ok: queued as ${id}`

describe('one message to 50 recipients with 5 policies', () => {
  const to = Array.from({ length: 50 }, (_, index) => `user${index}-p${(index * 7) % 5}@example.org`)

  test('five copies, and 50 replies in the order of the recipients', async () => {
    const kit = await startSplitting((event) => (event.stage === 'dot' ? queued(event) : undefined), {
      rules: rulesWith({ policies: policies(5) }),
    })
    const { dot } = await sendMail(await kit.greet(), { to, content: SPAMMY })
    expect(kit.mta.transactions).toHaveLength(5)
    for (const transaction of kit.mta.transactions) {
      const [first = ''] = addresses(transaction)
      expect(addresses(transaction)).toEqual(to.filter((address) => policyOf(address) === policyOf(first)))
      const required = `required=${1 + Number(policyOf(first)) / 10}`
      expect(transaction.data.toString('latin1')).toMatch(new RegExp(`\\b${required.replace('.', '\\.')}\\s`))
    }
    const ids = queueIds(kit)
    expect(dot.map(masked)).toEqual(to.map((address) => relayedAs(ids.get(address)?.join(' and '))))
  })

  test('of refused recipients and a copy that broke off, exactly those fail', async () => {
    const refused = [to[3] ?? '', to[44] ?? '']
    const kit = await startSplitting(
      (event, transaction) => {
        if (event.stage === 'rcpt' && refused.some((address) => event.line.includes(`<${address}>`))) {
          return '550 5.1.1 unknown'
        }
        const [first = ''] = transaction ? addresses(transaction) : []
        if (event.stage === 'content' && policyOf(first) === '2') return { do: 'drop' }
        return event.stage === 'dot' ? queued(event) : undefined
      },
      { rules: rulesWith({ policies: policies(5) }) },
    )
    const { dot } = await sendMail(await kit.greet(), { to, content: SPAMMY })
    const ids = queueIds(kit, refused)
    expect(dot.map(masked)).toEqual(
      to.map((address) => {
        if (refused.includes(address)) {
          return '550 5.1.1 id=ID - Rejected by next-hop MTA on relaying, from MTA(smtp:[127.0.0.1]:PORT): 550 5.1.1 unknown'
        }
        if (policyOf(address) === '2') return '451 4.4.2 Connection lost while relaying, id=ID'
        // Two ids here would be two copies.
        return relayedAs(ids.get(address)?.join(' and '))
      }),
    )
    expect(ids.size).toBe(38)
    expect(kit.mta.transactions).toHaveLength(5)
    const [line] = kit.messages()
    expect(line?.recipients.map(({ address }) => address)).toEqual(to)
    expect(line?.recipients.map(({ reply }) => reply)).toEqual(dot)
  })

  test('the same address twice has two replies, and both are right', async () => {
    const twice = ['a-p0@example.org', 'b-p1@example.org', 'a-p0@example.org']
    const kit = await startSplitting(
      (event, transaction) => {
        if (event.stage === 'dot') return queued(event)
        const again = transaction && addresses(transaction).length === 2
        return event.stage === 'rcpt' && again ? '450 4.2.0 busy' : undefined
      },
      { rules: rulesWith({ policies: policies(2) }) },
    )
    const { dot } = await sendMail(await kit.greet(), { to: twice, content: SPAMMY })
    expect(dot.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '450'])
  })
})

describe('copies of one message on their way at the same time', () => {
  const LIMIT = 5
  const COPIES = 12
  const to = Array.from({ length: COPIES }, (_, index) => `user-p${index}@example.org`)

  test('are never more than five, and another message goes past them', async () => {
    const waiting: EvilEvent[] = []
    let open = 0
    let most = 0
    const kit = await startSplitting(
      (event, transaction) => {
        if (transaction?.mail.includes('<big@') !== true) return undefined
        if (event.stage === 'mail') most = Math.max(most, ++open)
        if (event.stage !== 'dot') return undefined
        waiting.push(event)
        return ''
      },
      { rules: rulesWith({ policies: policies(COPIES) }) },
    )
    const answer = (event: EvilEvent): void => {
      open--
      kit.mta.sessions[event.session - 1]?.socket.write(`${queued(event)}\r\n`)
    }
    const [one, two] = [await kit.greet(), await kit.greet()]
    const big = sendMail(one, { from: 'big@example.com', to, content: SPAMMY })
    await until(() => waiting.length === LIMIT)

    const small = await sendMail(two, { from: 'small@example.com', to: ['marie@example.org'] })
    expect(small.dot).toEqual([expect.stringMatching(/^250 /)])
    const ofBig = (): number => kit.mta.transactions.filter(({ mail }) => mail.includes('<big@')).length
    expect(ofBig()).toBe(LIMIT)

    for (let answered = 0; answered < COPIES; answered++) {
      const event = waiting[answered]
      expect(event).toBeDefined()
      answer(event as EvilEvent)
      await until(() => waiting.length === Math.min(COPIES, LIMIT + answered + 1))
      expect(ofBig()).toBe(waiting.length)
    }
    const ids = queueIds(kit)
    expect((await big).dot.map(masked)).toEqual(
      to.map((address) => relayedAs(ids.get(address)?.join(' and '))),
    )
    expect(most).toBe(LIMIT)
  })
})

describe('over SMTP, with one reply for all recipients', () => {
  const to = ['a-p0@example.org', 'b-p1@example.org', 'c-p2@example.org']

  test('copies go one after the other', async () => {
    let open = 0
    let most = 0
    const kit = await startSplitting(
      (event) => {
        if (event.stage === 'mail') most = Math.max(most, ++open)
        if (event.stage !== 'dot') return undefined
        open--
        return queued(event)
      },
      { rules: rulesWith({ policies: policies(3) }) },
    )
    const { dot } = await sendMail(await kit.greet('smtp'), { to, content: SPAMMY, protocol: 'smtp' })
    expect(dot.map(masked)).toEqual([relayedAs(queueIds(kit).get('a-p0@example.org')?.join(' and '))])
    expect(kit.mta.transactions.map(addresses)).toEqual(to.map((address) => [address]))
    expect(most).toBe(1)
  })

  test.each([
    ['refused at RCPT', 'rcpt', '550 5.1.1 unknown', /^451 4\.5\.0 Recipients have different results, id=/],
    ['deferred at RCPT', 'rcpt', '450 4.2.0 busy', /^450 4\.2\.0 id=\S+ - Temporary MTA failure/],
    ['deferred at the dot', 'dot', '452 4.3.1 full', /^452 4\.3\.1 id=\S+ - Temporary MTA failure/],
  ])('none after one that was %s', async (_name, stage, reply, expected) => {
    const kit = await startSplitting(
      (event, transaction) => {
        const second = transaction && addresses(transaction).includes('b-p1@example.org')
        return second && event.stage === stage ? reply : undefined
      },
      { rules: rulesWith({ policies: policies(3) }) },
    )
    const { dot } = await sendMail(await kit.greet('smtp'), { to, content: SPAMMY, protocol: 'smtp' })
    expect(dot).toEqual([expect.stringMatching(expected)])
    expect(kit.mta.transactions.map(addresses)).toEqual([['a-p0@example.org'], ['b-p1@example.org']])
  })

  test.each([
    ['first', ['strict@example.org', ...to]],
    ['last', [...to, 'strict@example.org']],
  ])(
    'softBounce: 450 for all, nothing is handed over; whoever is refused comes %s',
    async (_place, recipients) => {
      const strict = {
        name: 'strict',
        when: { recipients: ['strict@example.org'] },
        policy: { killLevel: 7, destiny: { spam: 'reject' as const } },
      }
      const rules = rulesWith({ softBounce: true, policies: [...policies(3), strict] })
      const kit = await startSplitting(() => undefined, { rules })
      const { dot } = await sendMail(await kit.greet('smtp'), {
        to: recipients,
        content: SPAMMY,
        protocol: 'smtp',
      })
      expect(dot.map(masked)).toEqual(['450 4.7.0 Reject (soft_bounce), id=ID - spam'])
      expect(kit.mta.transactions).toEqual([])
    },
  )

  test.each<[string, Destiny, Destiny, number]>([
    ['one refused, one discarded', 'reject', 'discard', 1],
    ['one deferred, one discarded', 'tempfail', 'discard', 0],
    ['both discarded', 'discard', 'discard', 1],
    ['both refused', 'reject', 'reject', 1],
  ])('keeps no copy of what will come again: %s', async (_name, one, two, kept) => {
    const spam = (number: number, destiny: Destiny): RuleConfig['policies'][number] => ({
      name: `p${number}`,
      when: { recipients: [`/-p${number}@/`] },
      policy: { killLevel: 7, destiny: { spam: destiny } },
    })
    const kit = await startSplitting(() => undefined, {
      rules: rulesWith({ policies: [spam(0, one), spam(1, two)] }),
    })
    await sendMail(await kit.greet('smtp'), { to: to.slice(0, 2), content: SPAMMY, protocol: 'smtp' })
    const files = readdirSync(kit.quarantineFolder, { recursive: true, encoding: 'utf8' })
    expect(files.filter((name) => name.endsWith('.eml'))).toHaveLength(kept)
  })

  test('softBounce over LMTP keeps back only who would be refused', async () => {
    const strict = {
      name: 'strict',
      when: { recipients: ['strict@example.org'] },
      policy: { killLevel: 7, destiny: { spam: 'reject' as const } },
    }
    const kit = await startSplitting(() => undefined, {
      rules: rulesWith({ softBounce: true, policies: [strict] }),
    })
    const { dot } = await sendMail(await kit.greet(), {
      to: ['a@example.org', 'strict@example.org', 'b@example.org'],
      content: SPAMMY,
    })
    expect(dot.map((reply) => masked(reply).slice(0, 45))).toEqual([
      expect.stringMatching(/^250 2\.0\.0 from MTA/),
      '450 4.7.0 Reject (soft_bounce), id=ID - spam',
      expect.stringMatching(/^250 2\.0\.0 from MTA/),
    ])
    expect(kit.mta.transactions.map(addresses)).toEqual([['a@example.org', 'b@example.org']])
  })
})
