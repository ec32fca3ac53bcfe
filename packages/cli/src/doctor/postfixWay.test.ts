import { describe, expect, test } from '@jest/globals'
import { FEED, REENTRY, sampleWay, type SampleService } from '../../test/samplePostfix.ts'
import { feedsOf, placeOf } from './postfixWay.ts'

const transport = (line: string): SampleService => ({ ...FEED, line })

describe('a content_filter brings mail to a listener', () => {
  test.each([
    ['ecluse:[127.0.0.1]:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:127.0.0.1:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:inet:127.0.0.1:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:localhost:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:[127.0.0.1]:10024', '0.0.0.0:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:[::1]:10024', '[::1]:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:[127.0.0.1]', '127.0.0.1:24', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:unix:/run/ecluse/lmtp', 'unix:/run/ecluse/lmtp', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:[192.0.2.9]:10024, [127.0.0.1]:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:[127.0.0.1]:10024 [192.0.2.9]:10024', '127.0.0.1:10024', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:unix:ecluse/lmtp', 'unix:/var/spool/postfix/ecluse/lmtp', 'ecluse unix - - n - 20 lmtp'],
    ['ecluse:unix:/ecluse/lmtp', 'unix:/var/spool/postfix/ecluse/lmtp', 'ecluse unix - - y - 20 lmtp'],
  ])('%s at %s, %s', (filter, address, line) => {
    const way = sampleWay(
      { main: { content_filter: filter }, services: [transport(line), REENTRY] },
      { listen: [{ protocol: 'lmtp', address }] },
    )
    expect(way.filters.map(({ fault }) => fault)).toEqual([undefined])
    expect(feedsOf(way)).toHaveLength(1)
  })

  test('over SMTP too', () => {
    const way = sampleWay(
      { services: [transport('ecluse unix - - n - 20 smtp'), REENTRY] },
      { listen: [{ protocol: 'smtp', address: '127.0.0.1:10024' }] },
    )
    expect(feedsOf(way)).toMatchObject([{ protocol: 'smtp' }])
  })
})

test.each([
  ['ecluse', /does not listen there, but at 127\.0\.0\.1:10024/],
  ['ecluse:', /does not listen there/],
  ['ecluse:[127.0.0.2]:10024', /does not listen there/],
  ['ecluse:[127.0.0.1]:10026', /does not listen there/],
  ['ecluse:unix:/run/ecluse/lmtp', /does not listen there/],
  ['ecluse:[192.0.2.8]:10024,[192.0.2.9]:10024', /does not listen there/],
  [
    'ecluse:inet:[127.0.0.1]:10024, [127.0.0.1]:10026',
    /none may begin with a type, as inet:\[127\.0\.0\.1\]:10024/,
  ],
  ['ecluse:[127.0.0.1]:10024 unix:/run/ecluse/lmtp', /none may begin with a type, as unix:/],
  ['other:[127.0.0.1]:10024', /no service "other" of type unix/],
  ['cleanup:[127.0.0.1]:10024', /"cleanup" runs cleanup/],
  ['smtponly:[127.0.0.1]:10024', /speaks smtp, but 127\.0\.0\.1:10024 lmtp/],
])('the content_filter %s does not: %s', (filter, detail) => {
  const services = [FEED, REENTRY, { line: 'smtponly unix - - n - - smtp' }]
  const way = sampleWay({ main: { content_filter: filter }, services })
  expect(feedsOf(way)).toEqual([])
  expect(way.filters[0]?.fault?.detail).toMatch(detail)
})

test.each([
  ['127.0.0.1:10025 inet n - n - - smtpd', '127.0.0.1:10025', true],
  ['localhost:10025 inet n - n - - smtpd', '127.0.0.1:10025', true],
  ['10025 inet n - n - - smtpd', '192.0.2.7:10025', true],
  ['[::1]:10025 inet n - n - - smtpd', '[::1]:10025', true],
  ['127.0.0.2:10025 inet n - n - - smtpd', '127.0.0.1:10025', false],
  ['127.0.0.1:10026 inet n - n - - smtpd', '127.0.0.1:10025', false],
  ['reentry unix - - n - - smtpd', 'unix:/var/spool/postfix/private/reentry', true],
  ['reentry unix n - n - - smtpd', 'unix:/var/spool/postfix/public/reentry', true],
  ['reentry unix n - n - - smtpd', 'unix:/run/reentry', false],
])('the service "%s" takes back what goes to %s: %j', (line, address, found) => {
  const way = sampleWay({ services: [FEED, { ...REENTRY, line }] }, { reinject: { address } })
  expect(way.reentry?.name).toBe(found ? line.split(' ')[0] : undefined)
})

test.each([
  ['smtp', { port: 25 }],
  ['submission', { port: 587 }],
  ['10025', { port: 10_025 }],
  ['192.0.2.1:smtp', { host: '192.0.2.1', port: 25 }],
  ['[2001:db8::1]:25', { host: '2001:db8::1', port: 25 }],
  ['unheard-of', undefined],
  [':::', undefined],
])('the service %s is at %j', (name, place) => {
  const service = { name, type: 'inet', chroot: false, command: 'smtpd', overrides: new Map() }
  expect(placeOf(service)).toEqual(place)
})
