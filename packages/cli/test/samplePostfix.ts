import { configSchema, type Config } from '@ecluse/core'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { readPostfixConfig, type PostfixConfig } from '../src/doctor/postfixConfig.ts'
import { findWay, type PostfixWay } from '../src/doctor/postfixWay.ts'
import type { Diagnosis } from '../src/doctor/report.ts'

/** Values of Postfix 3.7 that the checks look at, and a main.cf as we ship it. */
const MAIN: Readonly<Record<string, string>> = {
  cleanup_replace_stray_cr_lf: 'yes',
  cleanup_service_name: 'cleanup',
  content_filter: 'ecluse:[127.0.0.1]:10024',
  default_process_limit: '100',
  ecluse_destination_concurrency_failed_cohort_limit: '10',
  ecluse_destination_concurrency_limit: '20',
  ecluse_destination_recipient_limit: '1000',
  hopcount_limit: '50',
  inet_interfaces: 'all',
  inet_protocols: 'all',
  lmtp_bind_address: '',
  lmtp_data_done_timeout: '600s',
  lmtp_line_length_limit: '998',
  lmtp_send_xforward_command: 'no',
  lmtp_tls_security_level: '',
  message_size_limit: '10240000',
  mydestination: '$myhostname, localhost',
  myhostname: 'mail.example.org',
  mynetworks: '127.0.0.0/8 [::1]/128 192.0.2.0/24',
  parent_domain_matches_subdomains: 'debug_peer_list,relay_domains',
  queue_directory: '/var/spool/postfix',
  receive_override_options: 'no_address_mappings',
  relay_domains: 'example.org',
  smtpd_authorized_xforward_hosts: '',
  smtpd_client_connection_count_limit: '50',
  smtpd_client_event_limit_exceptions: '$mynetworks',
  smtpd_client_restrictions: '',
  smtpd_forbid_bare_newline: 'normalize',
  smtpd_forbid_unauth_pipelining: 'yes',
  smtpd_error_sleep_time: '1s',
  smtpd_hard_error_limit: '20',
  smtpd_milters: '',
  smtpd_soft_error_limit: '10',
  smtpd_recipient_limit: '1000',
  smtpd_reject_unlisted_recipient: 'yes',
  smtpd_relay_restrictions: 'permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination',
  smtpd_tls_security_level: 'may',
  smtp_data_done_timeout: '600s',
  smtp_line_length_limit: '998',
  smtp_send_xforward_command: 'no',
}

/** What a test changes: `name/type`, what stands behind it in master.cf, and its options. */
export interface SampleService {
  readonly line: string
  readonly options?: Readonly<Record<string, string>>
}

export const FEED: SampleService = {
  line: 'ecluse unix - - n - 20 lmtp',
  options: {
    lmtp_data_done_timeout: '1200s',
    lmtp_send_xforward_command: 'yes',
    lmtp_line_length_limit: '0',
    lmtp_tls_security_level: 'none',
  },
}

export const REENTRY: SampleService = {
  line: '127.0.0.1:10025 inet n - n - 50 smtpd',
  options: {
    content_filter: '',
    receive_override_options: 'no_unknown_recipient_checks,no_header_body_checks,no_milters',
    smtpd_client_restrictions: 'permit_mynetworks,reject',
    smtpd_authorized_xforward_hosts: '127.0.0.0/8,[::1]/128',
    smtpd_tls_security_level: 'none',
    smtpd_hard_error_limit: '1000',
    smtpd_error_sleep_time: '0',
    message_size_limit: '0',
    cleanup_service_name: 'recleanup',
  },
}

const OTHERS: readonly SampleService[] = [
  { line: 'smtp inet n - y - - smtpd' },
  { line: 'pickup unix n - y 60 1 pickup' },
  { line: 'cleanup unix n - y - 0 cleanup' },
  { line: 'recleanup unix n - n - 0 cleanup', options: { message_size_limit: '0', hopcount_limit: '1000' } },
]

/** A Postfix with our entries, and changes. A parameter set to undefined is one that this Postfix does not know. */
export function samplePostfix({
  main = {},
  services = [FEED, REENTRY],
}: {
  readonly main?: Readonly<Record<string, string | undefined>>
  readonly services?: readonly SampleService[]
} = {}): PostfixConfig {
  const all = [...OTHERS, ...services]
  const values = Object.entries({ ...MAIN, ...main }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  )
  const known = new Map(values)
  const expand = (value: string): string =>
    value.replace(/\$(\w+)/g, (_, name: string) => known.get(name) ?? '')
  return readPostfixConfig({
    raw: values.map(([name, value]) => `${name} = ${value}\n`).join(''),
    expanded: values.map(([name, value]) => `${name} = ${expand(value)}\n`).join(''),
    services: all.map(({ line }) => `${line}\n`).join(''),
    overrides: all
      .flatMap(({ line, options = {} }) => {
        const [name, type] = line.split(' ')
        return Object.entries(options).map(
          ([parameter, value]) => `${name}/${type}/${parameter} = ${value}\n`,
        )
      })
      .join(''),
  })
}

/** A configuration of ours with what a test changes; `example.org` is local. */
export function sampleConfig(input: Readonly<Record<string, unknown>> = {}): Config {
  return configSchema(SCANNER_KINDS, 'mail.example.org').parse({ localDomains: ['example.org'], ...input })
}

/** The way through both. */
export function sampleWay(
  postfix: Parameters<typeof samplePostfix>[0] = {},
  config: Readonly<Record<string, unknown>> = {},
): PostfixWay {
  return findWay(samplePostfix(postfix), sampleConfig(config))
}

/** With other options: `undefined` takes one away. */
export function withOptions(
  service: SampleService,
  changed: Readonly<Record<string, string | undefined>>,
): SampleService {
  const options = Object.entries({ ...service.options, ...changed }).filter(
    ([, value]) => value !== undefined,
  )
  return { ...service, options: Object.fromEntries(options) as Readonly<Record<string, string>> }
}

/** `✗ postfix loop`, for what is not well. */
export function complaints(diagnoses: readonly Diagnosis[]): string[] {
  return diagnoses
    .filter(({ level }) => level !== 'well')
    .map(({ level, check }) => `${level === 'wrong' ? '✗' : '!'} ${check}`)
}
