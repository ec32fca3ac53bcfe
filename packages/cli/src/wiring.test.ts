import { isDeepStrictEqual } from 'node:util'
import { expect, test } from '@jest/globals'
import { configSchema, type ConfiguredScanner } from '@ecluse/core'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { configuredScanners } from './wiring.ts'

function scannerWith(keys: Record<string, unknown>): ConfiguredScanner | undefined {
  const config = configSchema(SCANNER_KINDS, 'mail.example.org').parse({
    localDomains: ['example.org'],
    scanners: [{ kind: 'test', ...keys }],
  })
  return configuredScanners(config)[0]
}

/** Whether a reload keeps the engine of the one for the other. */
const same = (one: Record<string, unknown>, other: Record<string, unknown>): boolean =>
  isDeepStrictEqual(scannerWith(one)?.options, scannerWith(other)?.options)

test('a scanner with another queue is another scanner, with another timeout it is not', () => {
  expect(same({ concurrency: 3 }, { concurrency: 3, timeout: '5s' })).toBe(true)
  expect(same({ concurrency: 3 }, { concurrency: 4 })).toBe(false)
  expect(same({ concurrency: 3 }, {})).toBe(false)
})
