import { expect, test } from '@jest/globals'
import { extendRecipient } from './addressExtension.ts'

test.each([
  ['anna@example.org', 'anna+spam@example.org', 'rfc822;anna@example.org'],
  ['Anna+News@Example.ORG', 'Anna+spam@Example.ORG', 'rfc822;Anna+2BNews@Example.ORG'],
  ['+odd@example.org', '+odd+spam@example.org', 'rfc822;+2Bodd@example.org'],
  ['"a b"@example.org', '"a b+spam"@example.org', 'rfc822;"a+20b"@example.org'],
  ['"a b+x"@example.org', '"a b+spam"@example.org', 'rfc822;"a+20b+2Bx"@example.org'],
  ['root', 'root+spam', 'rfc822;root'],
  ['jörg@example.org', 'jörg+spam@example.org', undefined],
])('%s with the extension spam: %s', (address, extended, orcpt) => {
  const recipient = extendRecipient({ address, notify: ['NEVER'] }, 'spam', '+')
  expect(recipient).toEqual({ address: extended, notify: ['NEVER'], ...(orcpt !== undefined && { orcpt }) })
})

test('keeps the original recipient that the sender named', () => {
  const recipient = extendRecipient({ address: 'a@example.org', orcpt: 'rfc822;b@example.net' }, 'spam', '-')
  expect(recipient).toEqual({ address: 'a-spam@example.org', orcpt: 'rfc822;b@example.net' })
})

test.each([
  [500, true],
  [501, false],
])('names an original recipient of %i characters: %p', (length, named) => {
  const address = `${'a'.repeat(length - 'rfc822;@example.org'.length)}@example.org`
  expect(extendRecipient({ address }, 'spam', '+').orcpt !== undefined).toBe(named)
})
