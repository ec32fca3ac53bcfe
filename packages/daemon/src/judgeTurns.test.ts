import { Readable } from 'node:stream'
import { expect, test } from '@jest/globals'
import type { Envelope, Message, Rules } from '@ecluse/core'
import { rulesWith } from './daemon.testkit.ts'
import { judge } from './judge.ts'

const header = Buffer.from('From: marie@example.com\r\n\r\n')
const message: Message = {
  id: 'AAAAAAAAAAAA',
  sizeBytes: header.length,
  digest: '00',
  header,
  open: () => Readable.from([header]),
}
const RECIPIENTS = 20
const envelope: Envelope = {
  protocol: 'lmtp',
  mailFrom: 'a@example.net',
  recipients: Array.from({ length: RECIPIENTS }, (_, index) => ({ address: `user${index}@example.org` })),
  smtpUtf8: false,
  client: {},
  peer: { helo: 'mail.example.org' },
  listener: '127.0.0.1:10024',
}

type Lookup = 'policyFor' | 'standingFor'

/** Rules of which one lookup takes longer than a message may hold up the others. */
function slow(lookup: Lookup, onLookup: () => void): Rules {
  const rules = rulesWith({})
  const work = (): void => {
    onLookup()
    const until = performance.now() + 5
    while (performance.now() < until) {
      // As a lookup does: without letting go.
    }
  }
  return {
    ...rules,
    *mailInSteps(...given) {
      const mail = yield* rules.mailInSteps(...given)
      return {
        ...mail,
        policyFor(recipient) {
          if (lookup === 'policyFor') work()
          return mail.policyFor(recipient)
        },
        standingFor(recipient, proofs) {
          if (lookup === 'standingFor') work()
          return mail.standingFor(recipient, proofs)
        },
      }
    },
  }
}

const judged = (rules: Rules, signal = new AbortController().signal) =>
  judge(
    { hostname: 'filter.example.org', alertHeader: 'X-Alert', scanners: [], rules },
    { envelope, message, receivedAt: new Date(0) },
    signal,
  )

const LOOKUPS: readonly Lookup[] = ['policyFor', 'standingFor']

test.each(LOOKUPS)('other mail has its turn between the recipients of a message: %s', async (lookup) => {
  let turns = 0
  let waiting = false
  const rules = slow(lookup, () => {
    if (waiting) return
    waiting = true
    setImmediate(() => {
      turns++
      waiting = false
    })
  })
  const { decisions } = await judged(rules)
  expect(decisions.map(({ recipient }) => recipient)).toEqual(envelope.recipients)
  expect(turns).toBeGreaterThanOrEqual(RECIPIENTS - 1)
})

test.each(LOOKUPS)('a message that is given up is given up between its recipients: %s', async (lookup) => {
  const controller = new AbortController()
  let lookups = 0
  const rules = slow(lookup, () => {
    lookups++
    if (lookups === 3) controller.abort()
  })
  await expect(judged(rules, controller.signal)).rejects.toMatchObject({ code: 'E_ABORTED' })
  expect(lookups).toBe(3)
})
