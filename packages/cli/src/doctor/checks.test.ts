import { describe, expect, test } from '@jest/globals'
import {
  FEED,
  REENTRY,
  complaints,
  sampleWay,
  withOptions,
  type SampleService,
} from '../../test/samplePostfix.ts'
import { checkDomains, type TableAnswers } from './checkDomains.ts'
import { checkFeeds, checkFilter } from './checkFeed.ts'
import { checkFront } from './checkFront.ts'
import { checkLimits } from './checkLimits.ts'
import { checkReentry } from './checkReentry.ts'
import { postfixDomains } from './postfixDomains.ts'
import type { PostfixWay } from './postfixWay.ts'

type Main = Readonly<Record<string, string | undefined>>

const everything = (way: PostfixWay): string[] =>
  complaints([
    ...checkFilter(way),
    ...checkFeeds(way),
    ...checkReentry(way),
    ...checkLimits(way),
    ...checkFront(way),
  ])

/** The re-entry service with other options. */
const back = (changed: Main): readonly SampleService[] => [FEED, withOptions(REENTRY, changed)]

test('a Postfix as we set it up has nothing against it', () => {
  expect(everything(sampleWay())).toEqual([])
})

test.each<
  readonly [
    what: string,
    main: Main,
    services: readonly SampleService[] | undefined,
    expected: readonly string[],
  ]
>([
  [
    'another filter beside ours',
    {},
    [FEED, REENTRY, { line: '587 inet n - n - - smtpd', options: { content_filter: 'x:y' } }],
    ['! postfix filter'],
  ],
  [
    'a filter before the queue instead',
    { content_filter: '', smtpd_proxy_filter: '127.0.0.1:10024' },
    back({ smtpd_proxy_filter: '' }),
    ['! postfix filter'],
  ],
  [
    'an old Postfix without the settings against smuggling',
    { smtpd_forbid_bare_newline: undefined, cleanup_replace_stray_cr_lf: undefined },
    undefined,
    ['! postfix smuggling'],
  ],
  [
    'commands ahead refused by a restriction',
    { smtpd_forbid_unauth_pipelining: undefined, smtpd_data_restrictions: 'reject_unauth_pipelining' },
    undefined,
    [],
  ],
  ['smtpd_forbid_bare_newline = reject', { smtpd_forbid_bare_newline: 'reject' }, undefined, []],
  ['a front without a limit', { message_size_limit: '0' }, undefined, ['✗ postfix size in']],
  [
    'the default cleanup for what comes back',
    {},
    back({ cleanup_service_name: undefined }),
    ['✗ postfix size back', '! postfix hops'],
  ],
  ['as many hops as come back', { hopcount_limit: '998' }, undefined, []],
  ['more hops than come back', { hopcount_limit: '999' }, undefined, ['! postfix hops']],
  ['a cleanup that is not there', {}, back({ cleanup_service_name: 'nowhere' }), ['✗ postfix size back']],
  [
    '10025 with just the limit of the front',
    {},
    back({ message_size_limit: '10240000' }),
    ['✗ postfix size back'],
  ],
  ['10025 with room for our header fields', {}, back({ message_size_limit: '10305536' }), []],
  [
    'a feed that waits for exactly our deadline',
    {},
    [withOptions(FEED, { lmtp_data_done_timeout: '300s' }), REENTRY],
    ['✗ postfix feed timeout'],
  ],
  [
    'an unlimited feed',
    { ecluse_destination_concurrency_limit: '0' },
    [{ ...FEED, line: 'ecluse unix - - n - 0 lmtp' }, REENTRY],
    ['✗ postfix concurrency'],
  ],
  [
    'few recipients at once',
    { ecluse_destination_recipient_limit: '1' },
    undefined,
    ['! postfix recipients'],
  ],
  ['the default number of recipients', { ecluse_destination_recipient_limit: '50' }, undefined, []],
  [
    'aliases expanded before us only',
    { receive_override_options: '' },
    back({
      receive_override_options:
        'no_address_mappings,no_milters,no_header_body_checks,no_unknown_recipient_checks',
    }),
    [],
  ],
  [
    'milters of its own at 10025',
    { smtpd_milters: 'inet:a' },
    back({
      receive_override_options: 'no_header_body_checks,no_unknown_recipient_checks',
      smtpd_milters: 'inet:b',
    }),
    [],
  ],
  [
    'the milters of the front once more',
    { smtpd_milters: 'inet:a' },
    back({ receive_override_options: 'no_header_body_checks,no_unknown_recipient_checks' }),
    ['! postfix reentry overrides'],
  ],
  [
    'header checks once more',
    { header_checks: 'pcre:/x' },
    back({ receive_override_options: 'no_milters,no_unknown_recipient_checks' }),
    ['! postfix reentry overrides'],
  ],
  ['a proxy filter at 10025', {}, back({ smtpd_proxy_filter: '127.0.0.1:10024' }), ['✗ postfix loop']],
  [
    'TLS from the first byte at 10025',
    {},
    back({ smtpd_tls_wrappermode: 'yes' }),
    ['✗ postfix reentry session'],
  ],
  [
    'a rate limit at 10025',
    { smtpd_client_message_rate_limit: '10' },
    back({ smtpd_client_event_limit_exceptions: '' }),
    ['✗ postfix reentry client limits'],
  ],
  [
    'mynetworks of the service in its exceptions',
    {},
    back({ mynetworks: '127.0.0.1', smtpd_client_connection_count_limit: '1' }),
    [],
  ],
  [
    'replies that wait after a few errors',
    {},
    back({ smtpd_error_sleep_time: undefined }),
    ['! postfix reentry errors'],
  ],
  [
    'a program in place of smtpd',
    {},
    [FEED, { ...REENTRY, line: '127.0.0.1:10025 inet n - n - 50 qmqpd' }],
    ['✗ postfix reentry'],
  ],
])('%s', (_, main, services, expected) => {
  expect(everything(sampleWay({ main, ...(services && { services }) }))).toEqual(expected)
})

const TLS = { key: '/k', cert: '/c' }

test.each<readonly [level: string, listener: object, expected: readonly string[]]>([
  ['', {}, []],
  ['may', {}, []],
  ['encrypt', {}, ['✗ postfix feed tls']],
  ['encrypt', { tls: { ...TLS, required: true } }, []],
  ['none', { tls: { ...TLS, required: true } }, ['✗ postfix feed tls']],
  ['may', { tls: { ...TLS, required: true } }, []],
])('lmtp_tls_security_level %j and the listener %j: %j', (level, listener, expected) => {
  const services = [withOptions(FEED, { lmtp_tls_security_level: level }), REENTRY]
  const listen = [{ protocol: 'lmtp', address: '127.0.0.1:10024', ...listener }]
  expect(everything(sampleWay({ services }, { listen }))).toEqual(expected)
})

test.each<readonly [level: string, mode: string, expected: readonly string[]]>([
  ['none', 'off', []],
  ['may', 'off', []],
  ['encrypt', 'off', ['✗ postfix reentry session']],
  ['encrypt', 'may', []],
  ['none', 'require', ['✗ postfix reentry session']],
  ['may', 'require', []],
])('smtpd_tls_security_level %s at 10025 and reinject.tls.mode %s: %j', (level, mode, expected) => {
  const way = sampleWay(
    { services: back({ smtpd_tls_security_level: level }) },
    { reinject: { tls: { mode } } },
  )
  expect(everything(way)).toEqual(expected)
})

test('the parameters of a feed over SMTP are those of smtp(8)', () => {
  const options = {
    smtp_data_done_timeout: '20m',
    smtp_send_xforward_command: 'yes',
    smtp_line_length_limit: '0',
  }
  const listen = [{ protocol: 'smtp', address: '127.0.0.1:10024' }]
  const feed = { line: 'ecluse unix - - n - 20 smtp', options }
  expect(everything(sampleWay({ services: [feed, REENTRY] }, { listen }))).toEqual([])
  const wrong = { ...feed, options: FEED.options ?? {} }
  expect(everything(sampleWay({ services: [wrong, REENTRY] }, { listen }))).toEqual([
    '✗ postfix feed xforward',
    '✗ postfix feed line length',
  ])
})

test('a next hop on another machine is not looked for in master.cf', () => {
  const way = sampleWay({ services: [FEED] }, { reinject: { address: '192.0.2.25:10025' } })
  expect(everything(way)).toEqual(['! postfix reentry'])
})

test.each([
  ['all', []],
  ['ipv4, ipv6', []],
  ['ipv4', ['✗ postfix inet_protocols']],
])('a feed to [::1] with inet_protocols %s: %j', (protocols, expected) => {
  const main = { content_filter: 'ecluse:[::1]:10024', inet_protocols: protocols }
  const listen = [{ protocol: 'lmtp', address: '[::1]:10024' }]
  expect(everything(sampleWay({ main }, { listen }))).toEqual(expected)
})

test('a source address that the listener trusts is well', () => {
  const services = [withOptions(FEED, { lmtp_bind_address: '192.0.2.1' }), REENTRY]
  const listen = [{ protocol: 'lmtp', address: '127.0.0.1:10024', trust: ['192.0.2.0/24'] }]
  expect(everything(sampleWay({ services }, { listen }))).toEqual([])
  expect(everything(sampleWay({ services }))).toEqual(['✗ postfix feed source'])
})

test.each([
  [['127.0.0.1'], {}, ['✗ postfix feed header']],
  [['127.0.0.2'], {}, []],
  [['127.0.0.2'], { lmtp_bind_address: '127.0.0.2' }, ['✗ postfix feed header']],
  [['127.0.0.0/8'], { lmtp_bind_address: '127.0.0.2' }, ['✗ postfix feed header']],
])('Postfix straight to a listener with proxies %j, as %j: %j', (proxies, options, expected) => {
  const listen = [{ protocol: 'lmtp', address: '127.0.0.1:10024', proxies }]
  expect(everything(sampleWay({ services: [withOptions(FEED, options), REENTRY] }, { listen }))).toEqual(
    expected,
  )
})

test('a next hop that is not ours may be a balancer where there are proxies', () => {
  const main = { content_filter: 'ecluse:[127.0.0.1]:10023' }
  const listen = [{ protocol: 'lmtp', address: '127.0.0.1:10024', proxies: ['127.0.0.1'] }]
  expect(everything(sampleWay({ main }, { listen }))).toEqual(['! postfix filter'])
  expect(everything(sampleWay({ main }))).toEqual(['✗ postfix filter'])
})

describe('domains', () => {
  const NONE: TableAnswers = { known: new Set(), unasked: [] }

  function domains(main: Main, localDomains: readonly string[], answers: TableAnswers = NONE): string[] {
    const way = sampleWay({ main }, { localDomains })
    return complaints(checkDomains(way, postfixDomains(way.postfix), answers))
  }

  test.each<readonly [main: Main, local: readonly string[], expected: readonly string[]]>([
    [{}, ['example.org'], []],
    [{}, ['Example.ORG'], []],
    [{ relay_domains: 'Example.org' }, ['example.org'], []],
    [{}, ['.example.org'], []],
    [{}, ['example.org', 'exmaple.org'], ['✗ postfix local domains']],
    [{ virtual_alias_domains: 'example.net' }, ['example.org'], ['! postfix other domains']],
    [{ virtual_alias_domains: 'example.net' }, ['example.org', 'example.net'], []],
    // relay_domains stands for what is below it too, mydestination only itself.
    [{}, ['example.org', 'sub.example.org'], []],
    [
      { mydestination: 'example.net' },
      ['example.org', 'example.net', 'sub.example.net'],
      ['✗ postfix local domains'],
    ],
    // An entry for all below a domain is known by any of them.
    [{ relay_domains: 'a.example.org b.example.org' }, ['.example.org'], []],
    [{ relay_domains: '.example.org' }, ['.example.org'], []],
    [{ relay_domains: 'example.org, !bad.example.org, [192.0.2.1]' }, ['example.org'], []],
    [{ mydestination: '$myhostname, localhost, localhost.example.com' }, ['example.org'], []],
  ])('%j with localDomains %j: %j', (main, local, expected) => {
    expect(domains(main, local)).toEqual(expected)
  })

  test('in a table count as named', () => {
    const known = { known: new Set(['example.net']), unasked: [] }
    expect(domains({ virtual_mailbox_domains: 'hash:/d' }, ['example.org', 'example.net'], known)).toEqual([])
  })

  test('that a table which was not asked may have are only warned of', () => {
    const answers = { known: new Set<string>(), unasked: ['mysql:/d'] }
    expect(domains({ virtual_mailbox_domains: 'mysql:/d' }, ['example.org', 'example.net'], answers)).toEqual(
      ['! postfix local domains'],
    )
  })
})
