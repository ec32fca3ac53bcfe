import { expect, test } from '@jest/globals'
import { systemErrorName } from './errors.ts'

test.each([
  [{ code: 'ENOSPC' }, 'ENOSPC'],
  [{ code: 'Unknown system error -122' }, 'EDQUOT'],
  [{ code: 'Unknown system error -999' }, 'Unknown system error -999'],
  [{ code: 5 }, undefined],
  [new Error('x'), undefined],
  ['text', undefined],
  [null, undefined],
])('the system error of %p is %p', (cause, name) => {
  expect(systemErrorName(cause)).toBe(name)
})
