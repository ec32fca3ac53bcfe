import { expect, test } from '@jest/globals'
import { configSchema, rulesInSteps, type ListEntry, type Steps } from './index.ts'
import { listFileInSteps } from './listFile.ts'
import { envelopeOf } from './rules.testkit.ts'
import { finish } from './steps.ts'

/** How many times others could have had their turn, and what came out. */
function count<T>(steps: Steps<T>): { turns: number; result: T } {
  for (let turns = 0; ; turns++) {
    const step = steps.next()
    if (step.done === true) return { turns, result: step.value }
  }
}

const lines = Array.from({ length: 20_000 }, (_, index) => `user${index}@example.net`)
const file = (): ListEntry[] => finish(listFileInSteps(lines.join('\n'), '/list'))
const config = (input: Readonly<Record<string, unknown>>) =>
  configSchema([], 'mail.example.org').parse({ localDomains: ['example.org'], ...input })

test('a long list file is read in steps', () => {
  const { turns, result } = count(listFileInSteps(lines.join('\n'), '/list'))
  expect(result).toHaveLength(20_000)
  expect(turns).toBeGreaterThanOrEqual(20)
})

test.each([
  ['senders', { senders: [{ action: 'block', senders: ['file:/list'] }] }],
  ['recipients of senders', { senders: [{ score: 1, senders: ['.'], recipients: ['file:/list'] }] }],
  ['recipients of policies', { policies: [{ name: 'a', when: { recipients: ['file:/list'] }, policy: {} }] }],
  [
    'senders of policies that have recipients too',
    { policies: [{ name: 'a', when: { recipients: ['.'], senders: ['file:/list'] }, policy: {} }] },
  ],
])('a long list of %s is compiled in steps', (_, input) => {
  const { turns } = count(rulesInSteps(config(input), new Map([['file:/list', file()]])))
  expect(turns).toBeGreaterThanOrEqual(20)
})

test('thousands of policies are compiled in steps', () => {
  const policies = Array.from({ length: 5000 }, (_, index) => ({
    name: `p${index}`,
    when: { recipients: [`user${index}@example.org`] },
    policy: { tag2Level: index },
  }))
  const { turns, result } = count(rulesInSteps(config({ policies }), new Map()))
  expect(turns).toBeGreaterThanOrEqual(50)
  const mail = result.forMail(envelopeOf(), [])
  expect(mail.policyFor('user4999@example.org').tag2Level).toBe(4999)
})

test('an entry that the configuration itself has is told with its path', () => {
  const input = { senders: [{ action: 'block', senders: ['a@example.net', 'b@example.net'] }] }
  const rules = finish(rulesInSteps(config(input), new Map()))
  const { matches } = rules
    .forMail(envelopeOf({ mailFrom: 'b@example.net' }), [])
    .standingFor('x@example.org', [])
  expect(matches.map(({ match }) => match.entry.place)).toEqual([{ path: 'senders[0].senders[1]' }])
})
