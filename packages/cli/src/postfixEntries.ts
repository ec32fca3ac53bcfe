import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatAddress, type Address, type Config, type ListenConfig } from '@ecluse/core'

/** The files that the operator gets; the tests start Postfix from them. */
const FILES = join(import.meta.dirname, '../../../deploy/postfix')

/** What a line of the shipped files becomes; each stands there exactly once. */
type Change = readonly [line: string, becomes: string]

/** The entries of main.cf and master.cf that fit a configuration: the shipped files with its addresses and limits. */
export function postfixEntries(config: Config): string {
  const listener = config.listen.find(({ protocol }) => protocol === 'lmtp') ?? config.listen[0]
  if (!listener) throw new TypeError('a configuration listens somewhere')
  const main = change(read('main.cf'), mainChanges(listener, config))
  const master = change(read('master.cf'), [...feedChanges(listener, config), ...reentryChanges(config)])
  return `${main}\n${listener.protocol === 'lmtp' ? master : master.replaceAll('lmtp_', 'smtp_')}`
}

function read(name: string): string {
  return readFileSync(join(FILES, name), 'utf8')
}

function change(text: string, changes: readonly Change[]): string {
  return changes.reduce((changed, [line, becomes]) => {
    if (changed.split(line).length !== 2) throw new TypeError(`${line}: stands not once in the shipped file`)
    return changed.replace(line, () => becomes)
  }, text)
}

/** As many deliveries at once as every limit on the way allows. */
function feedsOf({ limits, reinject }: Config): number {
  return Math.min(limits.concurrency, limits.connections, reinject.connections)
}

function mainChanges({ address }: ListenConfig, config: Config): Change[] {
  return [
    ['content_filter = ecluse:[127.0.0.1]:10024', `content_filter = ecluse:${nextHop(address)}`],
    ['destination_concurrency_limit = 20', `destination_concurrency_limit = ${feedsOf(config)}`],
    ['destination_recipient_limit = 1000', `destination_recipient_limit = ${config.limits.recipients}`],
  ]
}

function feedChanges({ protocol, tls }: ListenConfig, config: Config): Change[] {
  const level = tls === undefined ? 'none' : tls.required || tls.requireClientCertificate ? 'encrypt' : 'may'
  const certificate = tls?.requireClientCertificate
    ? '\n  -o lmtp_tls_cert_file=/etc/postfix/client.pem\n  -o lmtp_tls_key_file=/etc/postfix/client.key'
    : ''
  return [
    [
      'ecluse    unix  -       -       n       -       20      lmtp',
      `ecluse    unix  -       -       n       -       ${feedsOf(config)}      ${protocol}`,
    ],
    ['-o lmtp_tls_security_level=none', `-o lmtp_tls_security_level=${level}${certificate}`],
  ]
}

function reentryChanges(config: Config): Change[] {
  const { reinject, limits } = config
  const processes = Math.max(50, reinject.connections, feedsOf(config))
  return [
    [
      '127.0.0.1:10025 inet n  -       n       -       50      smtpd',
      `${reentryService(reinject.address)}  -       n       -       ${processes}      smtpd`,
    ],
    [
      '-o smtpd_tls_security_level=none',
      `-o smtpd_tls_security_level=${reinject.tls.mode === 'off' ? 'none' : 'may'}`,
    ],
    ['-o smtpd_recipient_limit=1000', `-o smtpd_recipient_limit=${limits.recipients}`],
  ]
}

/** Brackets keep Postfix from looking for MX records. */
function nextHop(address: Address): string {
  if ('path' in address) return formatAddress(address)
  return `[${reachable(address.host)}]:${address.port}`
}

function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

function reentryService(address: Address): string {
  if ('port' in address) return `${formatAddress(address)} inet n`
  // Unix services of Postfix are named below its queue directory: private/NAME or public/NAME.
  const [folder, name] = address.path.split('/').slice(-2)
  return `${name} unix ${folder === 'private' ? '-' : 'n'}`
}
