import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { configSchema, type Config } from '@ecluse/core'
import { postfixEntries } from './postfixEntries.ts'

function entries(input: Record<string, unknown> = {}): string {
  const config: Config = configSchema([], 'mail.example.org').parse({ localDomains: [], ...input })
  return postfixEntries(config)
}

test('for the defaults they are the shipped files', () => {
  const files = ['main.cf', 'master.cf'].map((name) =>
    readFileSync(join(import.meta.dirname, '../../../deploy/postfix', name), 'utf8'),
  )
  expect(entries()).toBe(files.join('\n'))
})

describe('the feed', () => {
  test.each([
    ['127.0.0.1:10024', 'ecluse:[127.0.0.1]:10024'],
    ['[::1]:10024', 'ecluse:[::1]:10024'],
    ['0.0.0.0:10024', 'ecluse:[127.0.0.1]:10024'],
    ['[::]:10024', 'ecluse:[::1]:10024'],
    ['filter.example.org:24', 'ecluse:[filter.example.org]:24'],
    ['unix:/run/ecluse/lmtp.sock', 'ecluse:unix:/run/ecluse/lmtp.sock'],
  ])('to %s is %s', (address, expected) => {
    expect(entries({ listen: [{ address }] })).toContain(`\ncontent_filter = ${expected}\n`)
  })

  test('goes to the first LMTP listener', () => {
    const listen = [{ protocol: 'smtp', address: '127.0.0.1:1' }, { address: '127.0.0.1:2' }]
    expect(entries({ listen })).toContain('[127.0.0.1]:2\n')
  })

  test('speaks SMTP where nothing listens for LMTP', () => {
    const text = entries({ listen: [{ protocol: 'smtp', address: '127.0.0.1:1' }] })
    expect(text).toMatch(/^ecluse +unix .* 20 +smtp$/m)
    expect(text).toContain('-o smtp_send_xforward_command=yes')
    expect(text).not.toContain('-o lmtp_')
  })

  test.each([
    [{ limits: { concurrency: 10 } }, 10],
    [{ limits: { concurrency: 100, connections: 30 }, reinject: { connections: 40 } }, 30],
    [{ limits: { concurrency: 60 }, reinject: { connections: 60 } }, 60],
  ])('has as many processes as %j allow', (input, expected) => {
    const text = entries(input)
    expect(text).toMatch(new RegExp(`^ecluse +unix .* ${expected} +lmtp$`, 'm'))
    expect(text).toContain(`ecluse_destination_concurrency_limit = ${expected}\n`)
  })

  test.each([
    [undefined, 'none'],
    [{ key: '/k', cert: '/c' }, 'may'],
    [{ key: '/k', cert: '/c', required: true }, 'encrypt'],
  ])('with tls %j has level %s', (tls, level) => {
    const text = entries({ listen: [{ address: '127.0.0.1:1', ...(tls && { tls }) }] })
    expect(text).toContain(`-o lmtp_tls_security_level=${level}\n`)
  })

  test('shows a certificate where we ask for one', () => {
    const tls = { key: '/k', cert: '/c', ca: '/a', requireClientCertificate: true }
    expect(entries({ listen: [{ address: '127.0.0.1:1', tls }] })).toContain(
      '\n  -o lmtp_tls_security_level=encrypt\n  -o lmtp_tls_cert_file=',
    )
  })
})

describe('the re-entry', () => {
  test.each([
    ['127.0.0.1:10025', '127.0.0.1:10025 inet n  '],
    ['[::1]:10025', '[::1]:10025 inet n  '],
    ['unix:/var/spool/postfix/private/reentry', 'reentry unix -  '],
    ['unix:/var/spool/postfix/public/reentry', 'reentry unix n  '],
  ])('at %s is %s', (address, expected) => {
    expect(entries({ reinject: { address } })).toContain(`\n${expected}`)
  })

  test('has no fewer processes than the feed, or than our connections', () => {
    expect(entries({ reinject: { connections: 70 } })).toMatch(/^127.0.0.1:10025 inet .* 70 +smtpd$/m)
    expect(entries({ reinject: { connections: 5 } })).toMatch(/^127.0.0.1:10025 inet .* 50 +smtpd$/m)
  })

  test('takes as many recipients as come in', () => {
    expect(entries({ limits: { recipients: 200 } })).toContain('-o smtpd_recipient_limit=200\n')
  })
})
