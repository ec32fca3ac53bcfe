import { configSchema, describeKeys } from '@ecluse/core'
import { expect, test } from '@jest/globals'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { keyForAmavis, NAMES } from './amavisNames.ts'

test('every name leads to a key that is there', () => {
  const keys = new Set(describeKeys(configSchema(SAMPLE_KINDS, 'mail.example.org')).map(({ path }) => path))
  const lost = Object.values(NAMES).filter((key) => !keys.has(key) && !key.startsWith('maxSize of'))
  expect(lost).toEqual([])
})

test.each([
  ['$final_spam_destiny', 'policy.destiny.spam'],
  ['@local_domains_maps', 'localDomains'],
  ['%policy_bank', 'policies'],
  ['toString', undefined],
  ['spam_admin_maps', undefined],
])('%s is %s', (name, key) => {
  expect(keyForAmavis(name)).toBe(key)
})
