/** A Postfix configuration on its way into a mistake. */
export interface Files {
  mainCf: string
  masterCf: string
  yaml: string
}

/** Makes the mistake. */
export type Edit = (files: Files) => void

/** Sets a parameter of main.cf. */
export const setMain =
  (parameter: string, value: string): Edit =>
  (files) => {
    const lines = files.mainCf.split('\n').filter((line) => !line.startsWith(`${parameter} =`))
    files.mainCf = [...lines, `${parameter} = ${value}`, ''].join('\n')
  }

/** Replaces a text that must be there. */
export const replace =
  (file: keyof Files, from: string | RegExp, to: string): Edit =>
  (files) => {
    const changed = files[file].replace(from, to)
    if (changed === files[file]) throw new Error(`${file}: no ${String(from)}`)
    files[file] = changed
  }

/** An option of the re-entry service or of the transport. */
const setOption = (name: string, value: string): Edit =>
  replace('masterCf', new RegExp(`^  -o ${name}=.*$`, 'm'), `  -o ${name}=${value}`)

const dropOption = (name: string): Edit => replace('masterCf', new RegExp(`^  -o ${name}=.*\n`, 'm'), '')

/** What each mistake must be found by, and that alone, with which cure. The files are those that we ship. */
export const MISTAKES: readonly (readonly [check: string, level: '✗' | '!', cure: RegExp, edit: Edit])[] = [
  // The feed.
  ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', '')],
  ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', 'ecluse:[127.0.0.1]:9')],
  ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', 'eclusse:[127.0.0.1]:10024')],
  ['postfix filter', '✗', /run lmtp in master\.cf/, replace('masterCf', /^(ecluse .*)lmtp$/m, '$1smtp')],
  [
    'postfix bypass',
    '!',
    /remove content_filter=/,
    replace('masterCf', /^(127\.0\.0\.1:\d+ inet n - n - - smtpd)$/m, '$1\n  -o content_filter='),
  ],
  [
    'postfix feed xforward',
    '✗',
    /-o lmtp_send_xforward_command=yes/,
    dropOption('lmtp_send_xforward_command'),
  ],
  ['postfix feed timeout', '✗', /-o lmtp_data_done_timeout=1200s/, setOption('lmtp_data_done_timeout', '5m')],
  ['postfix feed line length', '✗', /-o lmtp_line_length_limit=0/, dropOption('lmtp_line_length_limit')],
  [
    'postfix feed tls',
    '✗',
    /-o lmtp_tls_security_level=none/,
    setOption('lmtp_tls_security_level', 'encrypt'),
  ],
  ['postfix feed source', '✗', /-o lmtp_bind_address=;/, setOption('lmtp_bind_address', '192.0.2.1')],
  [
    'postfix feed rewriting',
    '!',
    /-o lmtp_generic_maps=/,
    setOption('lmtp_generic_maps', 'inline:{root=admin@example.org}'),
  ],
  [
    'postfix feed extensions',
    '✗',
    /-o lmtp_discard_lhlo_keywords=/,
    setMain('lmtp_discard_lhlo_keywords', 'dsn, silent-discard'),
  ],
  // The way back.
  [
    'postfix reentry',
    '✗',
    /ecluse postfix/,
    replace('masterCf', /^127\.0\.0\.1:\d+ inet n {2}-(?:.*\n)(?: {2}-o.*\n)+/m, ''),
  ],
  ['postfix loop', '✗', /-o content_filter=$/, replace('masterCf', /^ {2}-o content_filter=\n/m, '')],
  ['postfix reentry restrictions', '✗', /-o mynetworks=/, setOption('mynetworks', '10.0.0.0/8')],
  [
    'postfix reentry restrictions',
    '✗',
    /-o smtpd_sender_restrictions=permit_mynetworks,reject/,
    (files) => {
      setMain('smtpd_sender_restrictions', 'reject_unknown_sender_domain')(files)
      dropOption('smtpd_sender_restrictions')(files)
    },
  ],
  [
    'postfix reentry restrictions',
    '!',
    /-o smtpd_helo_restrictions=permit_mynetworks,reject/,
    setOption('smtpd_helo_restrictions', 'check_helo_access,static:DUNNO'),
  ],
  [
    'postfix reentry strangers',
    '✗',
    /-o smtpd_client_restrictions=permit_mynetworks,reject/,
    (files) => {
      setMain('inet_interfaces', 'all')(files)
      replace('masterCf', /^127\.0\.0\.1:(\d+ inet n {2}-)/m, '$1')(files)
      setOption('smtpd_client_restrictions', '')(files)
      setOption('smtpd_recipient_restrictions', 'permit_mynetworks,reject_unauth_destination')(files)
    },
  ],
  [
    'postfix reentry xforward',
    '✗',
    /-o smtpd_authorized_xforward_hosts=127\.0\.0\.0\/8/,
    setOption('smtpd_authorized_xforward_hosts', ''),
  ],
  [
    'postfix reentry session',
    '✗',
    /-o smtpd_tls_security_level=none/,
    setOption('smtpd_tls_security_level', 'encrypt'),
  ],
  [
    'postfix reentry session',
    '✗',
    /-o smtpd_upstream_proxy_protocol=/,
    setOption('smtpd_upstream_proxy_protocol', 'haproxy'),
  ],
  [
    'postfix reentry extensions',
    '✗',
    /-o smtpd_discard_ehlo_keywords=/,
    setOption('smtpd_discard_ehlo_keywords', 'dsn,smtputf8'),
  ],
  [
    'postfix reentry overrides',
    '!',
    /-o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters$/,
    (files) => {
      setMain('smtpd_milters', 'inet:127.0.0.1:8891')(files)
      dropOption('smtpd_milters')(files)
      setOption('receive_override_options', 'no_unknown_recipient_checks,no_header_body_checks')(files)
    },
  ],
  [
    'postfix reentry processes',
    '✗',
    /maxproc .* to 20 or more/,
    replace('masterCf', /^(127\.0\.0\.1:\d+ inet n .*)50( +smtpd)$/m, '$110$2'),
  ],
  [
    'postfix reentry client limits',
    '✗',
    /-o smtpd_client_event_limit_exceptions=/,
    (files) => {
      setMain('smtpd_client_connection_count_limit', '10')(files)
      setOption('smtpd_client_event_limit_exceptions', '')(files)
    },
  ],
  [
    'postfix reentry recipients',
    '!',
    /-o smtpd_recipient_limit=1000/,
    setOption('smtpd_recipient_limit', '100'),
  ],
  ['postfix reentry errors', '!', /-o smtpd_hard_error_limit=1000/, dropOption('smtpd_hard_error_limit')],
  // What both sides allow.
  ['postfix size in', '✗', /set message_size_limit = 104857600/, setMain('message_size_limit', '0')],
  [
    'postfix size back',
    '✗',
    /"recleanup" in master\.cf: -o message_size_limit=0/,
    replace('masterCf', /(recleanup unix(?:.*\n)(?: {2}-o .*\n)?) {2}-o message_size_limit=0/, '$1'),
  ],
  [
    'postfix hops',
    '!',
    /"recleanup" in master\.cf: -o hopcount_limit=1000/,
    replace('masterCf', / {2}-o hopcount_limit=1000\n/, ''),
  ],
  [
    'postfix concurrency',
    '✗',
    /ecluse_destination_concurrency_limit = 50/,
    (files) => {
      setMain('ecluse_destination_concurrency_limit', '80')(files)
      replace('masterCf', /^(ecluse .*) 20 /m, '$1 80 ')(files)
    },
  ],
  ['postfix concurrency', '!', /the same number/, setMain('ecluse_destination_concurrency_limit', '30')],
  [
    'postfix recipients',
    '✗',
    /ecluse_destination_recipient_limit = 1000/,
    setMain('ecluse_destination_recipient_limit', '5000'),
  ],
  [
    'postfix restart',
    '!',
    /failed_cohort_limit = 10/,
    setMain('ecluse_destination_concurrency_failed_cohort_limit', '1'),
  ],
  // The front.
  [
    'postfix smuggling',
    '✗',
    /smtpd_forbid_bare_newline = normalize/,
    setMain('smtpd_forbid_bare_newline', 'no'),
  ],
  [
    'postfix pipelining',
    '!',
    /smtpd_forbid_unauth_pipelining = yes/,
    (files) => {
      setMain('smtpd_forbid_unauth_pipelining', 'no')(files)
      setMain('smtpd_data_restrictions', '')(files)
    },
  ],
  [
    'postfix stray line ends',
    '✗',
    /cleanup_replace_stray_cr_lf = yes/,
    setMain('cleanup_replace_stray_cr_lf', 'no'),
  ],
  [
    'postfix aliases',
    '!',
    /receive_override_options = no_address_mappings/,
    setMain('receive_override_options', ''),
  ],
  [
    'postfix aliases',
    '✗',
    /take no_address_mappings off/,
    replace('masterCf', '-o receive_override_options=', '-o receive_override_options=no_address_mappings,'),
  ],
  ['postfix warning', '!', /correct main\.cf/, setMain('ecluse_destination_concurency_limit', '20')],
  // Domains.
  [
    'postfix local domains',
    '✗',
    /correct localDomains/,
    replace('yaml', 'localDomains: [example.org', 'localDomains: [exmaple.org, example.org'),
  ],
  [
    'postfix other domains',
    '!',
    /localDomains: \[.*forgotten\.example/,
    (files) => {
      setMain('virtual_mailbox_domains', 'forgotten.example, inline:{a.example=x, b.example=y}')(files)
      replace('yaml', 'localDomains: [', 'localDomains: [b.example, ')(files)
    },
  ],
  [
    'postfix local domains',
    '!',
    /postmap -q example\.edu proxy:unix:/,
    (files) => {
      setMain('virtual_mailbox_domains', 'proxy:unix:passwd.byname')(files)
      replace('yaml', 'localDomains: [', 'localDomains: [example.edu, ')(files)
    },
  ],
]
