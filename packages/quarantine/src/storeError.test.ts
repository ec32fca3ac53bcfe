import { expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { storeError } from './storeError.ts'

test.each([
  ['ENOSPC', 'the disk is full'],
  ['EDQUOT', 'the disk is full'],
  ['EACCES', 'must belong to the user'],
  ['EPERM', 'must belong to the user'],
  ['EROFS', 'mounted read-only'],
  ['ENOENT', 'does not exist'],
  ['ENOTDIR', 'is not a folder'],
  ['ELOOP', 'symbolic link'],
  ['EMFILE', 'LimitNOFILE'],
  ['EIO', 'the disk fails'],
])('tells the cure of %s', (code, hint) => {
  const cause = Object.assign(new Error('x'), { code })
  const error = storeError(cause, '/q: cannot be written')
  expect([error.code, error.message, error.cause]).toEqual([
    'E_QUARANTINE',
    `/q: cannot be written: ${code}`,
    cause,
  ])
  expect(error.hint).toContain(hint)
})

test.each([new Error('x'), 'text', null, { code: 5 }])('gives no hint for %p', (cause) => {
  const error = storeError(cause, 'what')
  expect([error.message, error.cause, error.hint]).toEqual(['what', cause, undefined])
})

test('leaves an error of ours as it is', () => {
  const error = new FilterError('E_QUARANTINE', 'x')
  expect(storeError(error, 'y')).toBe(error)
})
