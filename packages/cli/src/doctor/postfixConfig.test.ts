import { describe, expect, test } from '@jest/globals'
import { FEED, REENTRY, samplePostfix, withOptions } from '../../test/samplePostfix.ts'
import {
  limitOf,
  numberOf,
  processLimit,
  readPostfixConfig,
  settingOf,
  timeMsOf,
  wordsOf,
  type PostfixConfig,
  type PostfixService,
} from './postfixConfig.ts'

/** As postconf 3.7 prints it. */
const GOLDEN = {
  raw: 'mynetworks = 127.0.0.0/8\nrelay_domains =\nsmtpd_client_event_limit_exceptions = ${smtpd_client_connection_limit_exceptions:$mynetworks}\nsmtpd_authorized_xforward_hosts = $mynetworks, ${myhostname}\nmyhostname = mx\n',
  expanded:
    'mynetworks = 127.0.0.0/8\nrelay_domains =\nsmtpd_client_event_limit_exceptions = 127.0.0.0/8\nsmtpd_authorized_xforward_hosts = 127.0.0.0/8, mx\nmyhostname = mx\n',
  services: `smtp       inet  n       -       y       -       -       smtpd
submission inet  n       -       n       -       0       smtpd -o {smtpd_client_restrictions=permit_mynetworks, reject} -o mynetworks=10.0.0.0/8
local/x    unix  -       n       -       -       7       /usr/libexec/lmtp
`,
  overrides:
    'submission/inet/mynetworks = 10.0.0.0/8\nsubmission/inet/smtpd_client_restrictions = permit_mynetworks, reject\nlocal/x/unix/lmtp_tls_security_level =\n',
}

function serviceOf(postfix: PostfixConfig, name: string): PostfixService {
  const service = postfix.services.find((candidate) => candidate.name === name)
  if (!service) throw new Error(`no ${name}`)
  return service
}

test('reads what postconf prints', () => {
  const postfix = readPostfixConfig(GOLDEN)
  expect(postfix.services).toEqual([
    { name: 'smtp', type: 'inet', chroot: true, command: 'smtpd', overrides: new Map() },
    {
      name: 'submission',
      type: 'inet',
      chroot: false,
      maxProcesses: Infinity,
      command: 'smtpd',
      overrides: new Map([
        ['mynetworks', '10.0.0.0/8'],
        ['smtpd_client_restrictions', 'permit_mynetworks, reject'],
      ]),
    },
    {
      name: 'local/x',
      type: 'unix',
      chroot: false,
      maxProcesses: 7,
      command: 'lmtp',
      overrides: new Map([['lmtp_tls_security_level', '']]),
    },
  ])
})

describe('a setting', () => {
  const postfix = readPostfixConfig(GOLDEN)
  test.each([
    ['of main.cf', 'mynetworks', 'smtp', '127.0.0.0/8'],
    ['that is empty', 'relay_domains', 'smtp', ''],
    ['of the service', 'mynetworks', 'submission', '10.0.0.0/8'],
    ['with a reference', 'smtpd_authorized_xforward_hosts', 'smtp', '127.0.0.0/8, mx'],
    [
      'with a reference to what the service sets',
      'smtpd_authorized_xforward_hosts',
      'submission',
      '10.0.0.0/8, mx',
    ],
    ['that only postconf can expand', 'smtpd_client_event_limit_exceptions', 'submission', '127.0.0.0/8'],
    ['that this Postfix does not know', 'nonsense', 'submission', undefined],
  ])('%s', (_, name, service, value) => {
    expect(settingOf(postfix, name, serviceOf(postfix, service))).toBe(value)
  })

  test('that refers to itself has an end', () => {
    const raw = 'a = $b $b\nb = $a $a\n'
    const looped = readPostfixConfig({ ...GOLDEN, raw, expanded: '' })
    expect(settingOf(looped, 'a', serviceOf(looped, 'submission'))).toEqual(expect.any(String))
  })
})

test('has default_process_limit where maxproc is -', () => {
  const postfix = samplePostfix({ main: { default_process_limit: '33' } })
  expect(processLimit(postfix, serviceOf(postfix, 'smtp'))).toBe(33)
  expect(processLimit(postfix, serviceOf(postfix, 'cleanup'))).toBe(Infinity)
  expect(processLimit(postfix, serviceOf(postfix, 'ecluse'))).toBe(20)
})

test.each([
  ['600s', 600_000],
  ['20m', 1_200_000],
  ['1h', 3_600_000],
  ['300', 300_000],
  ['', undefined],
  ['5 m', undefined],
  ['-1s', undefined],
  [undefined, undefined],
])('the time %j is %j ms', (text, timeMs) => {
  expect(timeMsOf(text)).toBe(timeMs)
})

test.each([
  ['0', 0, Infinity],
  ['52428800', 52_428_800, 52_428_800],
  ['x', 0, Infinity],
  [undefined, 0, Infinity],
])('the number %j is %j, as a limit %j', (text, number, limit) => {
  expect([numberOf(text), limitOf(text)]).toEqual([number, limit])
})

test.each([
  ['a, b  c,,d', ['a', 'b', 'c', 'd']],
  ['check_client_access { inline:x=y, z }, reject', ['check_client_access', '{ inline:x=y, z }', 'reject']],
  ['a.example inline:{b=c, d=e} f', ['a.example', 'inline:{b=c, d=e}', 'f']],
  ['check_client_access { inline:{a=b} }, reject', ['check_client_access', 'inline:{a=b}', 'reject']],
  ['{{{{ a', ['a']],
  ['', []],
  [undefined, []],
])('the list %j has the words %j', (text, words) => {
  expect(wordsOf(text)).toEqual(words)
})

/** Every beginning of a text, so that each parser sees each of its lines torn anywhere. */
const beginnings = (text: string): string[] => Array.from(text, (_, end) => text.slice(0, end))

test('what postconf printed may be torn anywhere', () => {
  for (const name of ['raw', 'expanded', 'services', 'overrides'] as const) {
    for (const torn of beginnings(GOLDEN[name])) {
      const postfix = readPostfixConfig({ ...GOLDEN, [name]: torn })
      expect(postfix.services.length).toBeLessThanOrEqual(3)
    }
  }
})

test.each([' = ', '=', 'a/inet/b', '/inet/x = y', 'a  b  c', '\0 = \0', '$ = ${', 'x'.repeat(100_000)])(
  'passes over a line that is none: %j',
  (line) => {
    const postfix = readPostfixConfig({ raw: line, expanded: line, services: line, overrides: line })
    expect(postfix.services).toEqual([])
    expect(settingOf(postfix, 'mynetworks')).toBeUndefined()
  },
)

test('gives back every option that a service has, whatever is in it', () => {
  const options = { a: '=', b: 'x = y/inet/z = 1', c: '$d', d: '{ 1, 2 }', e: '', f: 'ü\u001b' }
  const postfix = samplePostfix({ services: [withOptions(FEED, options), REENTRY] })
  const feed = serviceOf(postfix, 'ecluse')
  for (const [name, wanted] of Object.entries(options)) expect(settingOf(postfix, name, feed)).toBe(wanted)
})
