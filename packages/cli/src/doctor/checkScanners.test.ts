import { afterEach, describe, expect, test } from '@jest/globals'
import {
  CLEAN,
  FilterError,
  type ConfiguredScanner,
  type Scanner,
  type ScannerVersion,
  type Verdict,
} from '@ecluse/core'
import { EICAR, GTUBE } from '@ecluse/fixtures'
import { complaints, sampleConfig } from '../../test/samplePostfix.ts'
import { configuredScanners } from '../wiring.ts'
import { checkScanners } from './checkScanners.ts'

const NOW = Date.UTC(2026, 10, 24)
const closed: string[] = []

afterEach(() => {
  closed.length = 0
})

function scannerThat(
  concerns: ConfiguredScanner['concerns'],
  scan: (text: string) => Verdict,
  version: ScannerVersion = { engine: 'Engine 1' },
): ConfiguredScanner {
  const scanner: Scanner = {
    scan: async ({ message }) => scan(message.bytes?.toString('latin1') ?? ''),
    version: async () => version,
    close: async () => void closed.push('engine'),
  }
  return { name: 'engine', kind: 'engine', concerns, timeoutMs: 5000, onError: 'pass', scanner }
}

async function check(...scanners: ConfiguredScanner[]) {
  return await checkScanners(scanners, sampleConfig(), NOW)
}

const virus = (name: string): Verdict => ({ findings: [{ kind: 'virus', name }] })
const points = (score: number, required?: number): Verdict => ({
  findings: [{ kind: 'score', points: score, symbols: [], ...(required !== undefined && { required }) }],
})

test('the built-in test scanner finds both', async () => {
  const diagnoses = await checkScanners(
    configuredScanners(sampleConfig({ scanners: [{ kind: 'test' }] })),
    sampleConfig(),
    NOW,
  )
  expect(complaints(diagnoses)).toEqual([])
  expect(diagnoses.map((diagnosis) => diagnosis.check)).toEqual([
    'scanner test',
    'scanner test EICAR',
    'scanner test GTUBE',
  ])
})

describe('what each engine is shown', () => {
  test('is EICAR in an attachment for one that looks for viruses', async () => {
    const seen: string[] = []
    const diagnoses = await check(
      scannerThat(['virus'], (text) => {
        seen.push(text)
        return virus('Eicar')
      }),
    )
    expect(complaints(diagnoses)).toEqual([])
    expect(seen).toHaveLength(1)
    expect(seen[0]).toContain(Buffer.from(EICAR).toString('base64').slice(0, 76))
  })

  test('is GTUBE for one that looks for spam', async () => {
    const seen: string[] = []
    await check(
      scannerThat(['spam'], (text) => {
        seen.push(text)
        return points(1000, 5)
      }),
    )
    expect(seen).toHaveLength(1)
    expect(seen[0]).toContain(GTUBE)
  })
})

test.each<readonly [what: string, concern: 'virus' | 'spam', verdict: Verdict, expected: readonly string[]]>([
  ['clean', 'virus', CLEAN, ['✗ scanner engine EICAR']],
  ['clean', 'spam', CLEAN, ['✗ scanner engine GTUBE']],
  [
    'unchecked',
    'virus',
    { findings: [{ kind: 'unchecked', reason: 'encrypted' }] },
    ['✗ scanner engine EICAR'],
  ],
  ['points below its own threshold', 'spam', points(4, 5), ['✗ scanner engine GTUBE']],
  ['points at its own threshold', 'spam', points(5, 5), []],
  ['points below tag2Level', 'spam', points(6), ['✗ scanner engine GTUBE']],
  ['points above tag2Level', 'spam', points(7), []],
])('an engine that says %s to what it must find as %s', async (_, concern, verdict, expected) => {
  expect(complaints(await check(scannerThat([concern], () => verdict)))).toEqual(expected)
})

test.each([
  ['of today', { signatureTimestamp: NOW / 1000 }, []],
  ['of a week', { signatureTimestamp: NOW / 1000 - 7 * 86_400 }, []],
  ['older', { signatureTimestamp: NOW / 1000 - 7 * 86_400 - 1 }, ['! scanner engine signatures']],
  ['without a date', { signatures: '27500' }, []],
  ['that it does not tell', {}, []],
])('signatures %s', async (_, signatures, expected) => {
  const diagnoses = await check(scannerThat([], () => CLEAN, { engine: 'Engine 1', ...signatures }))
  expect(complaints(diagnoses)).toEqual(expected)
})

test('an engine that does not answer is one line, and the others are asked', async () => {
  const silent: ConfiguredScanner = {
    ...scannerThat(['virus'], () => virus('x')),
    name: 'silent',
    scanner: {
      scan: async () => CLEAN,
      version: async () => {
        throw new FilterError('E_SCANNER_CONNECT', 'silent: cannot connect')
      },
    },
  }
  const diagnoses = await check(
    silent,
    scannerThat(['virus'], () => virus('x')),
  )
  expect(complaints(diagnoses)).toEqual(['✗ scanner silent'])
  expect(diagnoses.map((diagnosis) => diagnosis.check)).toEqual([
    'scanner silent',
    'scanner engine',
    'scanner engine EICAR',
  ])
})

test('what the engine holds open is freed', async () => {
  await check(scannerThat([], () => CLEAN))
  expect(closed).toEqual(['engine'])
})

test('no scanner at all is told', async () => {
  expect(complaints(await check())).toEqual(['! scanners'])
})
