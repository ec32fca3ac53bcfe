import { expect, test } from '@jest/globals'
import { describeKeys, ON_ERROR } from '@ecluse/core'
import { SCANNER_KINDS } from './kinds.ts'

test('each kind has its own name', () => {
  const names = SCANNER_KINDS.map(({ kind }) => kind)
  expect(names).toEqual(['clamd', 'spamd', 'rspamd', 'test'])
})

test.each(SCANNER_KINDS)('$kind works on its defaults', async (declared) => {
  const scanner = declared.create(declared.kind, declared.options.parse({}))
  expect(declared.concerns).not.toEqual([])
  expect(ON_ERROR).toContain(declared.defaults?.onError)
  await scanner.close?.()
})

test.each(SCANNER_KINDS)('$kind knows no unknown keys', ({ options }) => {
  expect(options.safeParse({ unknown: 1 }).success).toBe(false)
})

test.each(SCANNER_KINDS)('$kind documents each of its keys', ({ options }) => {
  for (const key of describeKeys(options))
    expect(key).toMatchObject({ description: expect.stringMatching(/\.$/) })
})
