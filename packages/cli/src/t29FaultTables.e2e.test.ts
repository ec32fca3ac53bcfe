import { describe, expect, test } from '@jest/globals'
import { FAILURE_RULES, FAULTY_KINDS, mixedSoak, runReinjectRows, runScannerRows } from '@ecluse/fixtures'

/** What is told at once, by an answer that must not be believed. */
const QUICK = ['refused', 'mid-reply', 'garbage', 'wrong-type', 'two-verdicts', 'no-terminator'] as const
const rules = FAULTY_KINDS.flatMap((kind) => FAILURE_RULES.map((onError) => ({ kind, onError })))

describe('a scanner that fails', () => {
  test.each(rules)('$kind, onError: $onError: nothing is believed, and all is well after it', async (row) => {
    const rows = await runScannerRows(row.kind, row.onError, { messages: 2, behaviours: QUICK })
    expect(rows.flatMap(({ behaviour, wrong }) => wrong.map((what) => `${behaviour}: ${what}`))).toEqual([])
    expect(rows).toHaveLength(QUICK.length)
  })
})

test('10025 that fails: each recipient gets the right reply, and in the end one copy', async () => {
  const rows = await runReinjectRows({ messages: 1, faults: ['4xx', '5xx', '421', 'drop', 'garbage'] })
  expect(
    rows.flatMap(({ stage, fault, wrong }) => wrong.map((what) => `${stage} ${fault}: ${what}`)),
  ).toEqual([])
  expect(rows).toHaveLength(40)
})

test('500 mixed messages: none is lost, changed or doubled, and nothing is left', async () => {
  const result = await mixedSoak({ messages: 500, concurrency: 20, sampleEveryMs: 2000 })
  expect(result).toMatchObject({
    messages: 500,
    lost: 0,
    wrongDigest: 0,
    extraCopies: 0,
    refused: 0,
    temporaryFilesAfter: 0,
    internalErrors: 0,
  })
  expect(result.kept).toBe((result.kinds['spam'] ?? 0) + (result.kinds['virus'] ?? 0))
  expect(result.openAfter).toBeLessThanOrEqual(result.openBefore)
  expect(result.samples.every(({ ledgerFiles }) => ledgerFiles <= 3)).toBe(true)
}, 120_000)
