import { expect, test } from '@jest/globals'
import { REENTRY, samplePostfix, withOptions } from '../../test/samplePostfix.ts'
import { judgeClient, refusesOthers } from './smtpdRestrictions.ts'

function reentry(options: Readonly<Record<string, string>>) {
  const postfix = samplePostfix({ services: [withOptions(REENTRY, options)] })
  const service = postfix.services.find(({ name }) => name === '127.0.0.1:10025')
  if (!service) throw new Error('no re-entry')
  return { postfix, service }
}

test.each([
  ['', 'passes'],
  ['permit_mynetworks, reject', 'passes'],
  ['permit_mynetworks reject_unknown_client_hostname', 'passes'],
  ['reject_unauth_pipelining, permit_mynetworks, reject', 'passes'],
  ['permit_sasl_authenticated', 'passes'],
  ['permit_sasl_authenticated, reject', 'refused'],
  ['reject', 'refused'],
  ['REJECT', 'refused'],
  ['defer_if_permit', 'refused'],
  ['reject_unknown_helo_hostname, permit_mynetworks', 'refused'],
  ['warn_if_reject reject_unknown_helo_hostname, permit_mynetworks', 'passes'],
  ['sleep 1, permit', 'passes'],
  ['check_client_access hash:/etc/postfix/access, permit_mynetworks', 'open'],
  ['check_client_access reject, permit_mynetworks', 'open'],
  ['check_policy_service { unix:x, timeout=1s }', 'open'],
  ['greylist', 'open'],
  ['greylist, reject', 'refused'],
])('a client of mynetworks and the list %j: %s', (list, outcome) => {
  const { postfix, service } = reentry({ smtpd_helo_restrictions: list })
  expect(judgeClient(postfix, service, ['127.0.0.1']).outcome).toBe(outcome)
})

test('a client outside of mynetworks is told which list refuses it', () => {
  const { postfix, service } = reentry({ mynetworks: '10.0.0.0/8' })
  expect(judgeClient(postfix, service, ['127.0.0.1'])).toEqual({
    outcome: 'refused',
    word: 'reject',
    list: 'smtpd_client_restrictions',
  })
})

test('both addresses of a name must be in mynetworks', () => {
  const { postfix, service } = reentry({ mynetworks: '127.0.0.0/8' })
  expect(judgeClient(postfix, service, ['127.0.0.1', '::1']).outcome).toBe('refused')
})

test('the default of smtpd_relay_restrictions lets mynetworks in', () => {
  const { postfix, service } = reentry({ smtpd_client_restrictions: '' })
  expect(judgeClient(postfix, service, ['127.0.0.1']).outcome).toBe('passes')
  expect(refusesOthers(postfix, service, '192.0.2.99')).toBe(false)
})

test.each([
  ['permit_mynetworks, reject', '127.0.0.0/8', true],
  ['permit_mynetworks, reject', '0.0.0.0/0', false],
  ['reject_unauth_destination', '127.0.0.0/8', false],
  ['permit', '127.0.0.0/8', false],
])('strangers and the list %j with mynetworks %s: refused %j', (list, mynetworks, refused) => {
  const { postfix, service } = reentry({ smtpd_client_restrictions: list, mynetworks })
  expect(refusesOthers(postfix, service, '192.0.2.99')).toBe(refused)
})
