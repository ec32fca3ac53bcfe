import { z } from 'zod'
import {
  address,
  choice,
  cidr,
  count,
  duration,
  flag,
  hostName,
  list,
  path,
  section,
  size,
} from './schema.ts'

const PROTOCOLS = ['lmtp', 'smtp'] as const

/** An entry of `listen`. */
export function listenerSection(loopback: readonly string[]) {
  return section('A place where mail is taken.', {
    protocol: choice('lmtp has a reply for each recipient; smtp only one for all.', PROTOCOLS).prefault(
      'lmtp',
    ),
    address: address('Where to listen.'),
    mode: z
      .string({ error: 'expected an octal mode in quotes such as "0660"' })
      .regex(/^0?[0-7]{3}$/, { error: 'expected an octal mode in quotes such as "0660"' })
      .transform((digits) => Number.parseInt(digits, 8))
      .meta({ description: 'Permissions of a Unix socket, in octal and in quotes.', notation: 'octal' })
      .prefault('0660'),
    trust: list('Networks that may talk to us; others are refused. Not for Unix sockets.', cidr('Network.'), {
      min: 1,
    }).prefault([...loopback]),
    proxies: list(
      'Balancers (networks) that begin each connection with a PROXY header; the client in it must be in trust.',
      cidr('Network.'),
    ).prefault([]),
    tls: listenerTls().exactOptional(),
  }).superRefine(({ address: at, proxies }, context) => {
    if (!('path' in at) || proxies.length === 0) return
    context.addIssue({
      code: 'custom',
      path: ['proxies'],
      message: 'is not for Unix sockets: who connects there has no address',
      params: { hint: 'let the balancer connect over TCP, or let it send no header and remove proxies' },
    })
  })
}

function listenerTls() {
  return section('Certificate for STARTTLS; absent: no TLS.', {
    key: path('Private key, PEM.'),
    cert: path('Certificate with its chain, PEM.'),
    ca: path('Authorities that client certificates must come from, PEM.').exactOptional(),
    requireClientCertificate: flag('Refuse clients without a certificate from `ca`.').prefault(false),
    required: flag('Refuse mail before STARTTLS.').prefault(false),
  }).superRefine(({ requireClientCertificate, ca }, context) => {
    if (!requireClientCertificate || ca !== undefined) return
    context.addIssue({
      code: 'custom',
      path: ['requireClientCertificate'],
      message: 'needs ca',
      params: { hint: 'without it any certificate that anyone can buy would do' },
    })
  })
}

/** `reinject`. */
export function reinjectSection() {
  return section('Where mail goes back to Postfix.', {
    protocol: choice('What the re-entry service speaks: smtp for smtpd.', PROTOCOLS).prefault('smtp'),
    address: address('The re-entry service in master.cf.').prefault('127.0.0.1:10025'),
    connections: count('Connections at most; not more than maxproc of the re-entry service.', {
      min: 1,
      max: 1000,
    }).prefault(20),
    tls: section('TLS towards the re-entry service.', {
      mode: choice('off; may: where it is offered; require: never without, and with a valid certificate.', [
        'off',
        'may',
        'require',
      ]).prefault('off'),
      ca: path(
        'Authorities that its certificate must come from, PEM; absent: those of the system.',
      ).exactOptional(),
      servername: hostName('Name in its certificate; absent: the host of the address.').exactOptional(),
    }).prefault({}),
    connectTimeout: duration('For the connection and the greeting.', { min: '100ms', max: '590s' }).prefault(
      '10s',
    ),
    commandTimeout: duration('For the reply to each command.', { min: '100ms', max: '590s' }).prefault('60s'),
    dataTimeout: duration('For each pause in which Postfix takes no more data.', {
      min: '100ms',
      max: '590s',
    }).prefault('60s'),
    dotTimeout: duration('For the reply to the end of the message.', { min: '100ms', max: '590s' }).prefault(
      '120s',
    ),
    // Postfix ends idle sessions after smtpd_timeout, 300 s: a connection closed by it is one found dead in use.
    idleTimeout: duration('How long an unused connection is kept; below smtpd_timeout of Postfix (300s).', {
      min: '1s',
      max: '290s',
    }).prefault('60s'),
  })
}

/** `spool`. */
export function spoolSection() {
  return section('Where a message is while it is looked at.', {
    directory: path('Folder for messages above memoryBytes; leftovers in it are removed at start.').prefault(
      '/var/spool/ecluse',
    ),
    memoryBytes: size('Up to here a message is held in memory.', { min: '0B', max: '64MiB' }).prefault(
      '256KiB',
    ),
  })
}

/** `ledger`. */
export function ledgerSection() {
  return section('Memory of what was done, so that a lost reply does not become a second delivery.', {
    directory: path('Its folder, for this instance alone, on a local disk.').prefault(
      '/var/lib/ecluse/ledger',
    ),
    ttl: duration('How long it is remembered what was done for a message.', {
      min: '1h',
      max: '30d',
    }).prefault('2d'),
    shared: flag(
      'With redis: also there, so that a retry that reaches another instance is no second delivery.',
    ).prefault(true),
  })
}

/** `limits`. */
export function limitsSection() {
  return section('What one instance takes on.', {
    // RFC 5321 section 4.5.3.1.7: at least 64 KiB.
    messageSize: size('Largest message; not below message_size_limit of Postfix.', {
      min: '64KiB',
      max: '2GiB',
    }).prefault('50MiB'),
    // RFC 5321 section 4.5.3.1.8: at least 100.
    recipients: count('Recipients of one message; Postfix sends the rest in another one.', {
      min: 100,
      max: 100_000,
    }).prefault(1000),
    connections: count('Connections at the same time; further ones are told to come again.', {
      min: 1,
      max: 10_000,
    }).prefault(200),
    concurrency: count('Messages looked at at the same time.', { min: 1, max: 1000 }).prefault(50),
    spoolBytes: size('Messages above spool.memoryBytes, all together; for more there is no room now.', {
      min: '64KiB',
      max: '16384GiB',
    }).prefault('1GiB'),
    // lmtp_data_done_timeout of Postfix is 600 s: past it, Postfix would send a second time.
    deadline: duration('From the end of the message to the replies; then Postfix is told to try again.', {
      min: '1s',
      max: '590s',
      why: 'Postfix waits for 600s: lmtp_data_done_timeout',
    }).prefault('300s'),
    scanFailures: count(
      'Times that one message may crash a scanner or get no answer; then it is "unchecked". 0: without end.',
      { max: 100 },
    ).prefault(3),
    idle: duration('How long a silent client is waited for.', { min: '10s', max: '1h' }).prefault('480s'),
    minRate: count('Bytes per second that a client in the midst of a message must send; 0: any.', {
      min: 0,
      max: 1_000_000,
    }).prefault(500),
    grace: duration(
      'How long a client may be slower than that, or take for a command; a tenth of it when connections run out.',
      { min: '1s', max: '1h' },
    ).prefault('30s'),
    receive: duration('From DATA to the end of the message; then the client is dropped.', {
      min: '10s',
      max: '24h',
    }).prefault('900s'),
    drain: duration('At the end: how long messages that are being looked at may go on.', {
      min: '0s',
      max: '590s',
    }).prefault('30s'),
  })
}

/** `http`. */
export function httpSection() {
  return section('Health and metrics.', {
    address: address('Where /healthz, /readyz and /metrics are.').prefault('127.0.0.1:9725'),
  })
}

/** `log`. */
export function logSection() {
  return section('The log, on stderr.', {
    level: choice('The least important lines that are written.', ['error', 'warn', 'info', 'debug']).prefault(
      'info',
    ),
    format: choice('json: one object a line; text: lines as amavisd writes them.', ['json', 'text']).prefault(
      'json',
    ),
  })
}
