import { expect, test } from '@jest/globals'
import { localDomains } from './index.ts'

test.each([
  ['a@example.org', true],
  ['a@EXAMPLE.org', true],
  ['a@sub.example.org', false],
  ['a@example.net', true],
  ['a@deep.sub.example.net', true],
  ['a@badexample.net', false],
  ['"x@example.org"@example.com', false],
  ['a@example.com', false],
  ['root', true],
  ['a@', false],
  ['"a@b"', false],
  ['a@example.org.', true],
  ['a@bücher.example', true],
  ['a@xn--bcher-kva.example', true],
])('%s is local: %s', (address, local) => {
  expect(localDomains(['Example.org', '.example.net', 'Bücher.example'])(address)).toBe(local)
})
