import { expect, test } from '@jest/globals'
import { FilterError, type ConfiguredScanner, type Message, type Scanner } from '@ecluse/core'
import {
  FakeGate,
  judgeOf,
  keep,
  kept,
  MAIL,
  run,
  SPAM,
  useQuarantine,
  VIRUS,
} from '../../test/quarantineKit.ts'
import type { QuarantineSetup } from './task.ts'

useQuarantine()

/** Takes everything. */
class OpenGate extends FakeGate {
  override async deliver(request: Parameters<FakeGate['deliver']>[0]) {
    const results = await super.deliver(request)
    return results.map(({ recipient }) => ({
      recipient,
      outcome: 'relayed' as const,
      mta: 'smtp:[127.0.0.1]:10025',
      line: '250 2.0.0 Ok',
    }))
  }
}

const gateOf = (gate: FakeGate): Partial<QuarantineSetup> => ({ openGate: () => gate })

test('says the second time who released it, and does so again by force only', async () => {
  await keep({ id: SPAM, day: 1 })
  const gate = new OpenGate()
  expect((await run(`release ${SPAM}`, gateOf(gate))).code).toBe(0)
  expect((await run(`release ${SPAM}`, gateOf(gate))).code).toBe(
    `E_QUARANTINE ${SPAM}: was released at 2026-11-24T08:00:00.000Z by root to <anna@example.org> and 1 more ` +
      '(use --force to deliver it once more, or name others with --to)',
  )
  expect(gate.requests).toHaveLength(1)
  expect((await run(`release ${SPAM} --force`, gateOf(gate))).code).toBe(0)
  expect(gate.requests).toHaveLength(2)
  expect((await run(`show ${SPAM}`)).out).toContain(
    'Released:\n' +
      '  2026-11-24T08:00:00.000Z by root to <anna@example.org>, <bob@example.org> (plain)\n' +
      '  2026-11-24T08:00:00.000Z by root to <anna@example.org>, <bob@example.org> (plain)\n',
  )
  expect((await run(`show ${SPAM}`)).out).toContain(
    '<anna@example.org>: discard, spam, score 21.5, released\n',
  )
})

test('goes the second time to those who did not get it the first time', async () => {
  await keep({ id: SPAM, day: 1 })
  expect((await run(`release ${SPAM}`)).code).toBe(1)
  const gate = new OpenGate()
  expect((await run(`release ${SPAM}`, gateOf(gate))).code).toBe(0)
  expect(gate.requests.map(({ request }) => request.recipients)).toEqual([[{ address: 'bob@example.org' }]])
})

function learner(name: string, learn?: Scanner['learn']): ConfiguredScanner {
  const scanner: Scanner = {
    scan: async () => ({ findings: [] }),
    version: async () => ({ engine: name }),
    ...(learn && { learn }),
  }
  return { name, kind: 'spamd', concerns: ['spam'], timeoutMs: 60_000, onError: 'pass', scanner }
}

const learning = (...scanners: ConfiguredScanner[]): Partial<QuarantineSetup> => ({
  openGate: () => new OpenGate(),
  openJudge: async () => ({ ...judgeOf({}), scanners }),
})

test('teaches the scanners that learn what it was, and tells what they said', async () => {
  await keep({ id: SPAM, day: 1 })
  const told: unknown[] = []
  const remember = async (message: Message, as: string): Promise<boolean> => {
    told.push([message.bytes?.toString(), as])
    return told.length === 1
  }
  const { code, out } = await run(
    `release ${SPAM} --learn ham`,
    learning(learner('sa', remember), learner('clamav'), learner('rspamd', remember)),
  )
  expect([code, told]).toEqual([
    0,
    [
      [MAIL, 'ham'],
      [MAIL, 'ham'],
    ],
  ])
  expect(out).toContain('sa: learned as ham\nrspamd: knew it already\n')
})

test('is not well when a scanner did not learn, and released all the same', async () => {
  await keep({ id: SPAM, day: 1 })
  const refuse = async (): Promise<boolean> => {
    throw new FilterError('E_SCANNER_PROTOCOL', 'spamd: no\u001b[31m', { hint: '--allow-tell' })
  }
  expect(await run(`release ${SPAM} --learn ham`, learning(learner('sa', refuse)))).toMatchObject({
    code: 1,
    err: 'ecluse: spamd: no\\x1b[31m (--allow-tell)\n',
  })
  expect((await kept.store.get(SPAM)).releases).toHaveLength(1)
  const none = await run(`release ${SPAM} --learn ham --force`, learning(learner('clamav')))
  expect(none).toMatchObject({ code: 1, err: expect.stringContaining('no scanner learns') })
})

test.each([
  ['--as parcel', '--as: expected one of: resend, attachment, plain, got "parcel"'],
  ['--learn spam', '--learn: expected one of: ham, got "spam"'],
  ['--limit 3', 'does not know --limit'],
])('refuses %s', async (options, message) => {
  expect((await run(`release ${SPAM} ${options}`)).code).toContain(`E_USAGE quarantine release: ${message}`)
})

test('gives no hint that would let everybody through', async () => {
  await keep({ id: SPAM, day: 1, envelope: { mailFrom: '' } })
  expect((await run(`release ${SPAM}`, gateOf(new OpenGate()))).out).not.toContain('allow')
  await keep({ id: VIRUS, day: 1, virus: true })
  expect((await run(`release ${VIRUS} --force`, gateOf(new OpenGate()))).out).not.toContain('allow')
})
