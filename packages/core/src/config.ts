import { z } from 'zod'
import type { Address } from './address.ts'
import type { MailProtocol } from './envelope.ts'
import type { Policy, PolicyOverlay } from './policy.ts'
import type { OnError, ScannerKind } from './scanner.ts'
import {
  digestsRemembered,
  knownListeners,
  knownScanners,
  nestDeadlines,
  separatePlaces,
} from './configRules.ts'
import { knownBackups } from './configBackups.ts'
import {
  httpSection,
  ledgerSection,
  limitsSection,
  listenerSection,
  logSection,
  reinjectSection,
  spoolSection,
} from './configSections.ts'
import { cacheSection } from './configCache.ts'
import { consoleSection, linksHaveASecret, type ConsoleConfig } from './configConsole.ts'
import { mailboxStands } from './configMailbox.ts'
import { noticesSection, type NoticesConfig } from './configNotices.ts'
import { quarantineSection, type KeepTimes, type QUARANTINE_STORES } from './configQuarantine.ts'
import { redisSection, type RedisConfig } from './configRedis.ts'
import { policyList, senderList } from './configLists.ts'
import { policySection } from './configPolicy.ts'
import { scannerList } from './configScanners.ts'
import { cidr, domainPattern, flag, hostName, list, section } from './schema.ts'

/**
 * A configuration file, read: every key that has a default is there, durations are milliseconds, sizes bytes.
 * Keys are named as in the file.
 */
export interface Config {
  /** Our own name in header fields and greetings. */
  readonly hostname: string
  /** At least one; all addresses differ. */
  readonly listen: readonly ListenConfig[]
  readonly reinject: ReinjectConfig
  /** In the order of the file; names differ. Empty: nothing looks at the mail. */
  readonly scanners: readonly ScannerConfig[]
  /** Entries for `localDomains()`. Empty: no recipient is local. */
  readonly localDomains: readonly string[]
  /** CIDR, always with a prefix length: mail from these clients is our own. */
  readonly networks: readonly string[]
  readonly policy: Policy
  /** Overlays of `policy`, in order; names differ. */
  readonly policies: readonly PolicyConfig[]
  /** In order. */
  readonly senders: readonly SenderConfig[]
  /** One character; '': addresses have no extensions. */
  readonly recipientDelimiter: string
  /** Whose Authentication-Results are believed (RFC 8601 section 2.2). Empty: nobody's. */
  readonly authservIds: readonly string[]
  /** Whether what we would refuse or discard stays in the queue of Postfix. */
  readonly softBounce: boolean
  readonly quarantine: QuarantineConfig
  readonly spool: SpoolConfig
  readonly ledger: LedgerConfig
  readonly limits: LimitsConfig
  readonly http: HttpConfig
  readonly log: LogConfig
  /** Name of the alert header field; begins with `X-`. */
  readonly alertHeader: string
  /** Absent: nothing is shared. */
  readonly redis?: RedisConfig
  readonly cache: CacheConfig
  readonly notices: NoticesConfig
  /** Absent: there is no such page, and lists have no links. */
  readonly console?: ConsoleConfig
}

/** An overlay of the policy. Lists hold entries as the file has them: `file:PATH` is a file of entries. */
export interface PolicyConfig {
  readonly name: string
  /** Absent conditions hold. */
  readonly when: {
    readonly originating?: boolean
    /** As {@link formatAddress} writes them. */
    readonly listeners?: readonly string[]
    readonly clients?: readonly string[]
    readonly senders?: readonly string[]
    readonly recipients?: readonly string[]
  }
  readonly policy: PolicyOverlay
}

/** Senders and what is done with their mail. Either `action` or `score` is there. */
export interface SenderConfig {
  readonly action?: 'allow' | 'block'
  readonly score?: number
  readonly senders: readonly string[]
  /** Absent: for all. */
  readonly recipients?: readonly string[]
  readonly unauthenticated: boolean
}

/** A place where mail is taken. */
export interface ListenConfig {
  readonly protocol: MailProtocol
  readonly address: Address
  /** Permission bits; Unix sockets only. */
  readonly mode: number
  /** CIDR, always with a prefix length; at least one. Unix sockets trust whoever may open them. */
  readonly trust: readonly string[]
  /** CIDR, always with a prefix length. Empty: no connection begins with a PROXY header. */
  readonly proxies: readonly string[]
  /** Absent: STARTTLS is not offered. */
  readonly tls?: {
    readonly key: string
    readonly cert: string
    /** Absent: the system's authorities. */
    readonly ca?: string
    readonly requireClientCertificate: boolean
    readonly required: boolean
  }
}

/** Where mail goes back to. All timeouts in milliseconds. */
export interface ReinjectConfig {
  readonly protocol: MailProtocol
  readonly address: Address
  /** How many at most at the same time. */
  readonly connections: number
  readonly tls: {
    readonly mode: 'off' | 'may' | 'require'
    /** Absent: the system's authorities. */
    readonly ca?: string
    /** Absent: the host of the address. */
    readonly servername?: string
  }
  readonly connectTimeout: number
  readonly commandTimeout: number
  readonly dataTimeout: number
  readonly dotTimeout: number
  readonly idleTimeout: number
}

/** One configured scanner; `options` are the kind's own keys, read, for {@link ScannerKind.create}. */
export interface ScannerConfig {
  readonly name: string
  readonly kind: string
  /** Milliseconds. */
  readonly timeout: number
  /** Bytes; absent: no limit. */
  readonly maxSize?: number
  /** Messages that it looks at at the same time; absent: as many as there are. */
  readonly concurrency?: number
  readonly onError: OnError
  /** Names of other scanners, at least one; absent: it is no backup. */
  readonly backupFor?: readonly string[]
  /** `retryAfter` in milliseconds. */
  readonly breaker: { readonly failures: number; readonly retryAfter: number }
  readonly options: unknown
}

/** Where copies are kept. */
export interface QuarantineConfig {
  readonly store: (typeof QUARANTINE_STORES)[number]
  /** For {@link parsePostgresUrl}; there where `store` is `postgres`. */
  readonly url?: string
  /** Of PostgreSQL at most. */
  readonly connections: number
  /** Milliseconds. */
  readonly timeout: number
  /** There where `store` is `mailbox`. */
  readonly mailbox?: string
  readonly directory: string
  /** Absent: everything for ever. */
  readonly keep?: KeepTimes
  /** Bytes as stored; absent: no limit. */
  readonly maxSize?: number
  readonly compress: 'none' | 'gzip' | 'zstd'
  /** What is looked at again by itself. */
  readonly rescan: 'none' | 'unchecked'
  /** At least 32 characters; absent: no links are made, nor believed. */
  readonly secret?: string
}

/** Where messages are while they are looked at. */
export interface SpoolConfig {
  readonly directory: string
  /** Larger messages go to a file. */
  readonly memoryBytes: number
}

/** Where it is remembered what was delivered. */
export interface LedgerConfig {
  readonly directory: string
  /** Milliseconds. */
  readonly ttl: number
  /** Whether other instances may know it too; without effect where there is no `redis`. */
  readonly shared: boolean
}

/** What one instance takes on. */
export interface LimitsConfig {
  /** Bytes. */
  readonly messageSize: number
  readonly recipients: number
  readonly connections: number
  readonly concurrency: number
  /** Bytes of all messages that are in files. */
  readonly spoolBytes: number
  /** Milliseconds from the final dot to the replies. */
  readonly deadline: number
  /** How often one message may make a scanner fail; 0: without end. */
  readonly scanFailures: number
  /** Milliseconds that a silent client is waited for. */
  readonly idle: number
  /** Bytes per second; 0: any. */
  readonly minRate: number
  /** Milliseconds that a client may be slower than that. */
  readonly grace: number
  /** Milliseconds from DATA to the final dot. */
  readonly receive: number
  /** Milliseconds that what runs may go on at the end. */
  readonly drain: number
}

/** Where health and metrics are asked for. */
export interface HttpConfig {
  readonly address: Address
}

/** How the log is written. */
export interface LogConfig {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly format: 'json' | 'text'
}

/** How long results are remembered. All times in milliseconds. */
export interface CacheConfig {
  readonly maxEntries: number
  /** Bytes. */
  readonly maxBytes: number
  readonly cleanTtl: number
  readonly infectedTtl: number
  readonly spamTtl: number
  readonly versionInterval: number
}

const LOOPBACK = ['127.0.0.0/8', '::1/128']

/**
 * The schema of a whole configuration file. Its issues carry messages that continue the name of the key, such as
 * `expected 1s–590s`, and the cure, where there is one, as `params.hint`.
 *
 * @param kinds every kind of scanner that the file may name
 * @param hostname the default of `hostname`: the system's name
 */
export function configSchema(kinds: readonly ScannerKind[], hostname: string) {
  return section('The configuration of one Écluse instance.', {
    hostname: hostName('Our own name in header fields, replies and greetings.').prefault(hostname),
    listen: list('Where mail is taken.', listenerSection(LOOPBACK), { min: 1, max: 20 })
      .superRefine(distinct('listen', 'address'))
      .prefault([{ protocol: 'lmtp', address: '127.0.0.1:10024' }]),
    reinject: reinjectSection().prefault({}),
    scanners: scannerList(kinds).superRefine(distinct('scanners', 'name')).prefault([]),
    localDomains: localDomainList(),
    networks: list('Our own clients: mail from them is "originating".', cidr('Network.')).prefault(LOOPBACK),
    policy: policySection().prefault({}),
    policies: policyList().superRefine(distinct('policies', 'name')).prefault([]),
    senders: senderList().prefault([]),
    recipientDelimiter: z
      .string({ error: DELIMITER })
      .regex(/^[+=#_.-]?$/, { error: DELIMITER })
      .meta({
        description: 'Between user and extension, as recipient_delimiter of Postfix; "" for no extensions.',
        notation: 'character',
      })
      .prefault('+'),
    authservIds: list(
      'Names in Authentication-Results that are believed; our Postfix must remove those of others.',
      hostName('Name.'),
      { max: 20 },
    ).prefault([]),
    softBounce: flag(
      'For roll-out: what would be refused or discarded gets 450 and stays in the queue of Postfix.',
    ).prefault(false),
    quarantine: quarantineSection().prefault({}),
    spool: spoolSection().prefault({}),
    ledger: ledgerSection().prefault({}),
    limits: limitsSection().prefault({}),
    http: httpSection().prefault({}),
    log: logSection().prefault({}),
    alertHeader: z
      .string({ error: ALERT_HEADER })
      // It is also removed from what comes in: a name such as Subject would take the subject off every mail.
      .regex(/^X-[A-Za-z0-9-]{1,60}$/, { error: ALERT_HEADER })
      .meta({
        description: 'Header field that says what was found; X-Amavis-Alert suits older tools.',
        notation: 'field name',
      })
      .prefault('X-Ecluse-Alert'),
    redis: redisSection().exactOptional(),
    cache: cacheSection().prefault({}),
    notices: noticesSection().prefault({}),
    console: consoleSection().exactOptional(),
  })
    .superRefine(nestDeadlines)
    .superRefine(separatePlaces)
    .superRefine(knownScanners)
    .superRefine(knownBackups(kinds))
    .superRefine(knownListeners)
    .superRefine(digestsRemembered)
    .superRefine(linksHaveASecret)
    .superRefine(mailboxStands)
}

function localDomainList() {
  const entries = list(
    'Domains whose recipients get spam headers and the subject tag.',
    domainPattern('Domain.'),
  )
  const example = 'write localDomains: [example.org] with the domains that you receive mail for'
  return entries.meta({ ...entries.meta(), example })
}

const DELIMITER = 'expected one of + = # _ . - in quotes, or ""'

const ALERT_HEADER = 'expected a field name that begins with X-, of letters, digits and hyphens'

/** What {@link configSchema} gives. */
export type ConfigSchema = ReturnType<typeof configSchema>

function distinct<K extends string>(listName: string, key: K) {
  return (entries: readonly Readonly<Record<K, unknown>>[], context: z.core.$RefinementCtx): void => {
    const seen = new Map<string, number>()
    entries.forEach((entry, index) => {
      const value = JSON.stringify(entry[key])
      const first = seen.get(value)
      if (first === undefined) return void seen.set(value, index)
      context.addIssue({
        code: 'custom',
        path: [index, key],
        message: `the same as ${listName}[${first}].${key}`,
        params: { hint: `give each its own ${key}` },
      })
    })
  }
}
