import { expect, test } from '@jest/globals'
import {
  DEFAULT_POLICY,
  FilterError,
  assess,
  blockedReply,
  combineForSmtp,
  decide,
  deliveryReply,
  type DeliveryResult,
  type Destiny,
  type ErrorCode,
  type Policy,
  type ReinjectStage,
  type SmtpReply,
} from './index.ts'

const recipient = { address: 'a@example.org' }
const mta = 'smtp:[127.0.0.1]:10025'
const line = ({ code, enhanced, text }: SmtpReply): string => `${code} ${enhanced} ${text}`
const ID = 'AbCdEf123456'

const policyOf = (destiny: Destiny): Policy => ({
  ...DEFAULT_POLICY,
  destiny: {
    virus: destiny,
    banned: destiny,
    unchecked: destiny,
    spam: destiny,
    spammy: destiny,
    'bad-header': destiny,
    oversized: destiny,
  },
  quarantine: [],
})
const assessment = assess(
  [
    {
      scanner: 's',
      concerns: ['virus'],
      elapsedMs: 1,
      outcome: 'done',
      cached: false,
      verdict: { findings: [{ kind: 'virus', name: 'Eicar' }] },
    },
  ],
  DEFAULT_POLICY,
)

test.each<[Destiny, string]>([
  ['discard', `250 2.7.0 Ok, discarded, id=${ID} - INFECTED: Eicar`],
  ['reject', `554 5.7.0 Reject, id=${ID} - INFECTED: Eicar`],
  ['tempfail', `450 4.7.0 Temporary failure, id=${ID} - INFECTED: Eicar`],
])('a virus with destiny %s', (destiny, expected) => {
  expect(
    line(blockedReply(decide(recipient, { policy: policyOf(destiny), local: true }, assessment), ID)),
  ).toBe(expected)
})

test('a virus that waits is named, although a needed scanner failed', () => {
  const doubtful = { ...assessment, mustDefer: true }
  const about = { policy: policyOf('tempfail'), local: true }
  expect(line(blockedReply(decide(recipient, about, doubtful), ID))).toBe(
    `450 4.7.0 Temporary failure, id=${ID} - INFECTED: Eicar`,
  )
})

test.each<[string, string]>([
  ['250 2.0.0 Ok: queued as 079474CE44', `250 2.0.0 from MTA(${mta}): 250 2.0.0 Ok: queued as 079474CE44`],
  ['250 OK', `250 2.6.0 from MTA(${mta}): 250 OK`],
  ['250 5.1.1 odd', `250 2.6.0 from MTA(${mta}): 250 5.1.1 odd`],
])('relayed with %j', (told, expected) => {
  expect(line(deliveryReply({ recipient, outcome: 'relayed', mta, line: told }, ID))).toBe(expected)
})

test.each<[ReinjectStage, string, string]>([
  [
    'rcpt',
    '550 5.1.1 <u@d>: no',
    `550 5.1.1 id=${ID} - Rejected by next-hop MTA on relaying, from MTA(${mta}): 550 5.1.1 <u@d>: no`,
  ],
  [
    'rcpt',
    '451 4.3.0 later',
    `451 4.3.0 id=${ID} - Temporary MTA failure on relaying, from MTA(${mta}): 451 4.3.0 later`,
  ],
  ['mail', '553 no', `553 5.1.0 id=${ID} - Rejected by next-hop MTA on relaying, from MTA(${mta}): 553 no`],
  ['data', '554 no', `554 5.5.0 id=${ID} - Rejected by next-hop MTA on relaying, from MTA(${mta}): 554 no`],
  [
    'dot',
    '552 too big',
    `552 5.6.0 id=${ID} - Rejected by next-hop MTA on relaying, from MTA(${mta}): 552 too big`,
  ],
  [
    'dot',
    '421 4.3.2 bye',
    `451 4.3.2 id=${ID} - Temporary MTA failure on relaying, from MTA(${mta}): 421 4.3.2 bye`,
  ],
])('refused at %s with %j', (stage, told, expected) => {
  expect(line(deliveryReply({ recipient, outcome: 'refused', mta, stage, line: told }, ID))).toBe(expected)
})

test.each<[ErrorCode, string]>([
  ['E_REINJECT_CONNECT', `451 4.4.1 Cannot relay now, id=${ID}`],
  ['E_REINJECT_TIMEOUT', `451 4.4.2 Timed out while relaying, id=${ID}`],
  ['E_REINJECT_LOST', `451 4.4.2 Connection lost while relaying, id=${ID}`],
  ['E_REINJECT_PROTOCOL', `451 4.5.0 Error while relaying, id=${ID}`],
  ['E_SPOOL', `451 4.5.0 Error while relaying, id=${ID}`],
])('a fault of transport, %s, is 4xx and names neither host nor cause', (code, expected) => {
  const error = new FilterError(code, '192.0.2.1:10025: ECONNREFUSED')
  expect(line(deliveryReply({ recipient, outcome: 'failed', error }, ID))).toBe(expected)
})

test('no byte of a peer that is not printable reaches a reply, and no flood of them', () => {
  const told = `250 ok\r\n250 \u0000\u001b[2J${'x'.repeat(5000)}`
  const reply = deliveryReply({ recipient, outcome: 'relayed', mta, line: told }, ID)
  expect(reply.text).toMatch(/^[\x20-\x7e]{1,520}$/)
})

test.each<[string, DeliveryResult[], string]>([
  ['all relayed', [relayed('A'), relayed('B')], `250 2.0.0 from MTA(${mta}): 250 2.0.0 Ok: queued as A`],
  ['all refused', [refused('550 5.1.1 no'), refused('550 5.1.1 no')], '550'],
  ['one deferred', [relayed('A'), refused('450 4.2.0 busy')], '450'],
  [
    'one refused, one relayed',
    [refused('550 5.1.1 no'), relayed('A')],
    '451 4.5.0 Recipients have different results',
  ],
  [
    'one withheld, one deferred: the cause, not what came of it',
    [{ recipient, outcome: 'withheld' }, refused('450 4.2.0 busy')],
    '450 4.2.0',
  ],
  [
    'one relayed, one refused, others withheld: something was relayed',
    [
      relayed('A'),
      refused('550 5.1.1 no'),
      { recipient, outcome: 'withheld' },
      { recipient, outcome: 'withheld' },
    ],
    '451 4.5.0 Recipients have different results',
  ],
  ['one refused, one withheld', [refused('550 5.1.1 no'), { recipient, outcome: 'withheld' }], '451 4.5.0'],
])('SMTP, one reply for all: %s', (_name, results, start) => {
  expect(
    line(
      combineForSmtp(
        results.map((result) => deliveryReply(result, ID)),
        ID,
      ),
    ).startsWith(start),
  ).toBe(true)
})

function relayed(queuedAs: string): DeliveryResult {
  return { recipient, outcome: 'relayed', mta, line: `250 2.0.0 Ok: queued as ${queuedAs}`, queuedAs }
}
function refused(told: string): DeliveryResult {
  return { recipient, outcome: 'refused', mta, stage: 'rcpt', line: told }
}
