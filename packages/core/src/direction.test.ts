import { expect, test } from '@jest/globals'
import { compileRules, DEFAULT_POLICY, type Envelope } from './index.ts'

const rules = compileRules(
  {
    policy: DEFAULT_POLICY,
    policies: [],
    senders: [],
    localDomains: ['example.org'],
    networks: ['127.0.0.0/8', '::1/128', '192.0.2.0/24', '2001:db8::/32'],
    recipientDelimiter: '+',
    authservIds: [],
    softBounce: false,
  },
  new Map(),
)

test.each([
  ['198.51.100.7', 'a@example.org', 'inbound'],
  ['198.51.100.7', 'a@example.org b@example.com', 'inbound'],
  ['198.51.100.7', 'b@example.com', 'open-relay'],
  ['192.0.2.77', 'a@example.org', 'internal'],
  ['192.0.2.77', 'a@example.org b@example.com', 'outbound'],
  ['2001:db8::9', 'b@example.com', 'outbound'],
  ['2001:db9::9', 'a@example.org', 'inbound'],
  [undefined, 'b@example.com', 'outbound'],
])('client %s, to %s: %s', (address, to, direction) => {
  const envelope: Envelope = {
    protocol: 'lmtp',
    mailFrom: '',
    recipients: to.split(' ').map((recipient) => ({ address: recipient })),
    smtpUtf8: false,
    client: address === undefined ? {} : { address },
    peer: { helo: 'h' },
    listener: 'l',
  }
  expect(rules.directionOf(envelope)).toBe(direction)
})
