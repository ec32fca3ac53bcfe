import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import {
  FilterError,
  verdictMemory,
  type Config,
  type ConfiguredScanner,
  type ListenConfig,
  type QuarantineConfig,
  type ReinjectConfig,
} from '@ecluse/core'
import type { DaemonOptions, Log, NoticeOptions, ReloadableOptions } from '@ecluse/daemon'
import { loadNoticeTemplates, type ReceiverOptions, type ReinjectOptions } from '@ecluse/mail'
import { canPack, type Retention } from '@ecluse/quarantine'
import { SCANNER_KINDS, queued } from '@ecluse/scanners'
import type { LoadedConfig } from './loadConfig.ts'
import { contactOf, linkMaker } from './openConsole.ts'
import { postgresOptions } from './postgresWiring.ts'
import { openQuarantine } from './quarantineStore.ts'
import { redisOptions } from './redisWiring.ts'

/** Whoever is there answers at once; several may wait for it at the start. */
const ANSWER_MS = 5000
/** How often expired mail is looked for. */
const EXPIRY_INTERVAL_MS = 60_000
/** How often it is tried whether a rescan that had to wait can go on. */
const RESCAN_INTERVAL_MS = 10_000
/** A daemon that restarts has no socket for a moment. */
const SCAN_RETRY_MS = 1000

/** A configuration with the rules that were made of it. */
type Ruled = Pick<LoadedConfig, 'config' | 'rules'>

/**
 * What the daemon needs, from what the configuration says.
 *
 * @throws FilterError E_CONFIG when a file that the configuration names cannot be read
 */
export async function daemonOptions(loaded: Ruled, log: Log): Promise<DaemonOptions> {
  const { config } = loaded
  return {
    ...reloadableOptions(loaded),
    ...(await connections(config)),
    hostname: config.hostname,
    spool: config.spool,
    ledger: { directory: config.ledger.directory, ttlMs: config.ledger.ttl },
    versionIntervalMs: config.cache.versionInterval,
    answerMs: Math.min(ANSWER_MS, config.cache.versionInterval),
    scanRetryMs: SCAN_RETRY_MS,
    notices: await noticeOptions(config),
    http: config.http.address,
    log,
    // The last: whatever fails before leaves nothing open.
    ...(await quarantineOptions(config)),
  }
}

/** The part of {@link daemonOptions} that can be put in force while mail runs. Opens nothing. */
export function reloadableOptions({ config, rules }: Ruled): ReloadableOptions {
  const { alertHeader, limits, cache } = config
  return {
    alertHeader,
    scanners: configuredScanners(config),
    rules,
    cache: {
      maxEntries: cache.maxEntries,
      maxBytes: cache.maxBytes,
      cleanTtlMs: cache.cleanTtl,
      infectedTtlMs: cache.infectedTtl,
      spamTtlMs: cache.spamTtl,
    },
    limits: {
      concurrency: limits.concurrency,
      spoolBytes: limits.spoolBytes,
      deadlineMs: limits.deadline,
      scanFailures: limits.scanFailures,
    },
    drainMs: limits.drain,
  }
}

/**
 * Reads every file that the configuration names and that a start would read.
 *
 * @throws FilterError E_CONFIG when one cannot be used
 */
export async function checkFiles(config: Config): Promise<void> {
  await connections(config)
  await noticeOptions(config)
}

/** @throws FilterError E_CONFIG when this Node.js cannot pack so */
function checkPacking({ compress }: QuarantineConfig): void {
  if (canPack(compress)) return
  throw new FilterError('E_CONFIG', `quarantine.compress: ${compress}: Node.js ${process.version} has none`, {
    hint: 'write gzip, or run Node.js 22.15 or newer',
  })
}

/** @throws FilterError E_CONFIG when a text of `notices.templates` cannot be used */
async function noticeOptions(config: Config): Promise<NoticeOptions> {
  const { notices } = config
  const linkOf = linkMaker(config)
  const { admin, adminRate, recipients, digestTime, senders, bounceBudget, language, templates } = notices
  return {
    ...(admin !== undefined && { admin }),
    senders,
    ...(recipients && { recipients: { time: digestTime, ...(linkOf && { linkOf }) } }),
    adminRate,
    bounceBudget,
    from: contactOf(config),
    templates: await loadNoticeTemplates(language, templates),
  }
}

async function connections(config: Config): Promise<Pick<DaemonOptions, 'receivers' | 'reinject' | 'redis'>> {
  checkPacking(config.quarantine)
  await postgresOptions(config.quarantine, readConfigured)
  const redis = await redisOptions(config, readConfigured)
  return {
    ...(redis && { redis: { ...redis, ledger: config.ledger.shared } }),
    receivers: await Promise.all(config.listen.map((listen) => receiverOptions(listen, config))),
    reinject: await reinjectOptions(config.reinject, config.hostname),
  }
}

async function quarantineOptions({
  quarantine: kept,
  reinject,
  hostname,
}: Config): Promise<Pick<DaemonOptions, 'quarantine' | 'expiry' | 'rescan'>> {
  const retention = retentionOf(kept)
  const nextHop = async (): Promise<ReinjectOptions> => await reinjectOptions(reinject, hostname)
  return {
    quarantine: await openQuarantine(kept, { read: readConfigured, nextHop }),
    ...(retention && { expiry: { retention, intervalMs: EXPIRY_INTERVAL_MS } }),
    ...(kept.rescan === 'unchecked' && { rescan: { intervalMs: RESCAN_INTERVAL_MS } }),
  }
}

/** What the configuration says of how long and how much is kept; absent: everything for ever. */
export function retentionOf({ keep, maxSize }: QuarantineConfig): Retention | undefined {
  if (keep === undefined && maxSize === undefined) return undefined
  return { keepMs: keep ?? {}, ...(maxSize !== undefined && { maxBytes: maxSize }) }
}

/** The scanners that the configuration names, built by their kinds. */
export function configuredScanners({ scanners }: Config): ConfiguredScanner[] {
  return scanners.map((config) => {
    const {
      name,
      kind: kindName,
      timeout,
      maxSize,
      concurrency,
      onError,
      backupFor,
      breaker,
      options,
    } = config
    const kind = SCANNER_KINDS.find((candidate) => candidate.kind === kindName)
    if (!kind) throw new TypeError(`${kindName}: passed the schema, and is no kind`)
    const engine = kind.create(name, options)
    const memory = verdictMemory(kind, options)
    return {
      name,
      kind: kindName,
      concerns: kind.concerns,
      timeoutMs: timeout,
      ...(maxSize !== undefined && { maxSizeBytes: maxSize }),
      onError,
      ...(backupFor && { backupFor }),
      ...(memory && { memory }),
      breaker: { failures: breaker.failures, retryAfterMs: breaker.retryAfter },
      // The queue is a part of what a reload keeps or exchanges.
      options: concurrency === undefined ? options : { queue: concurrency, options },
      scanner: concurrency === undefined ? engine : queued(engine, { name, atOnce: concurrency }),
    }
  })
}

async function receiverOptions(listen: ListenConfig, { hostname, limits }: Config): Promise<ReceiverOptions> {
  const { protocol, address, mode, trust, proxies, tls } = listen
  return {
    protocol,
    address,
    mode,
    hostname,
    trust,
    proxies,
    ...(tls && { tls: await listenerTls(tls) }),
    messageSizeBytes: limits.messageSize,
    recipients: limits.recipients,
    connections: limits.connections,
    idleMs: limits.idle,
    pace: { bytesPerSecond: limits.minRate, graceMs: limits.grace, receiveMs: limits.receive },
  }
}

/** @throws FilterError E_CONFIG for files that cannot be read, or that no TLS connection can be made with. */
async function listenerTls(
  tls: NonNullable<ListenConfig['tls']>,
): Promise<NonNullable<ReceiverOptions['tls']>> {
  const files = {
    key: await readConfigured(tls.key, 'listen.tls.key'),
    cert: await readConfigured(tls.cert, 'listen.tls.cert'),
    ...(tls.ca !== undefined && { ca: await readConfigured(tls.ca, 'listen.tls.ca') }),
  }
  try {
    createSecureContext(files)
  } catch (cause) {
    const { message } = cause as Error
    throw new FilterError('E_CONFIG', `listen.tls: ${tls.key} with ${tls.cert}: ${message}`, {
      cause,
      hint: 'PEM files: a key without a passphrase, and the certificate of this key',
    })
  }
  return { ...files, requireClientCertificate: tls.requireClientCertificate, required: tls.required }
}

/** How the configuration's next hop is spoken to. @throws FilterError E_CONFIG */
export async function reinjectOptions(reinject: ReinjectConfig, hostname: string): Promise<ReinjectOptions> {
  const { protocol, address, connections, tls } = reinject
  return {
    protocol,
    address,
    connections,
    hostname,
    tls: {
      mode: tls.mode,
      ...(tls.ca !== undefined && { ca: await readConfigured(tls.ca, 'reinject.tls.ca') }),
      ...(tls.servername !== undefined && { servername: tls.servername }),
    },
    timeouts: {
      connectMs: reinject.connectTimeout,
      commandMs: reinject.commandTimeout,
      dataMs: reinject.dataTimeout,
      dotMs: reinject.dotTimeout,
      idleMs: reinject.idleTimeout,
    },
  }
}

/** @throws FilterError E_CONFIG, naming the key, for a file that cannot be read. */
export async function readConfigured(path: string, key: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    const { code = 'failed' } = cause as NodeJS.ErrnoException
    throw new FilterError('E_CONFIG', `${key}: ${path}: ${code}`, {
      cause,
      hint: 'the user that Écluse runs as must be able to read it',
    })
  }
}
