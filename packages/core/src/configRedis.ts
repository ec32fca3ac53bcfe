import { z } from 'zod'
import type { Address } from './address.ts'
import {
  address,
  count,
  duration,
  hostName,
  list,
  path,
  secret,
  section,
  text,
  tryAddress,
} from './schema.ts'

/** `redis`, read: it is in one place, and what stands in `url` does not stand beside it. */
export interface RedisConfig {
  /** For {@link parseRedisUrl}. Either this, `sentinels` or `cluster` is there. */
  readonly url?: string
  /** Hosts and ports. */
  readonly sentinels?: readonly Address[]
  readonly sentinelName?: string
  /** Hosts and ports. */
  readonly cluster?: readonly Address[]
  readonly username?: string
  readonly password?: string
  readonly database?: number
  readonly tls?: {
    /** Absent: the system's authorities. */
    readonly ca?: string
    /** Absent: the host of the address. */
    readonly servername?: string
  }
  readonly prefix: string
  /** Absent: what is stored is not proof against forging. */
  readonly secret?: string
  /** Milliseconds. */
  readonly timeout: number
}

/** What a URL of Redis says. */
export interface RedisUrl {
  readonly address: Address
  readonly tls: boolean
  readonly username?: string
  readonly password?: string
  readonly database?: number
}

const URL_ERROR = 'expected a URL such as redis://127.0.0.1:6379/0'
const PREFIX_ERROR = 'expected a name of letters, digits, dots, hyphens and underscores'
const MAX_DATABASE = 1_000_000
const DEFAULT_PORT = 6379

/** Memory that instances share. */
export function redisSection() {
  return section('Memory shared by several instances, which may lose it: verdicts, and what was done.', {
    url: secret(
      'Where Redis or Valkey is: redis://[user:password@]host:port/database, rediss:// with TLS, or unix:/PATH.',
    )
      .refine((url) => parseRedisUrl(url) !== undefined, { error: URL_ERROR })
      .exactOptional(),
    sentinels: list('Sentinels that know where it is, in place of url.', hostPort('Sentinel.'), {
      min: 1,
      max: 20,
    }).exactOptional(),
    sentinelName: hostName('The name that the Sentinels know it by, such as mymaster.').exactOptional(),
    cluster: list('Some nodes of a Redis Cluster, in place of url.', hostPort('Node.'), {
      min: 1,
      max: 100,
    }).exactOptional(),
    username: text('ACL user.').exactOptional(),
    password: secret('Password.').exactOptional(),
    database: count('Number of the database; a Cluster has only 0.', { max: MAX_DATABASE }).exactOptional(),
    tls: section('TLS for Sentinels or a Cluster, and what certificates must be like.', {
      ca: path(
        'Authorities that its certificate must come from, PEM; absent: those of the system.',
      ).exactOptional(),
      servername: hostName('Name in its certificate; absent: the host of the address.').exactOptional(),
    }).exactOptional(),
    prefix: z
      .string({ error: PREFIX_ERROR })
      .regex(/^[A-Za-z0-9._-]{1,60}$/, { error: PREFIX_ERROR })
      .meta({
        description: 'Begins every key: the same for all instances that share, another one for others.',
        notation: 'name',
      })
      .prefault('ecluse'),
    secret: secret(
      'Proves that a verdict was stored by one of us: the same for all instances that share; absent: who can write to Redis can make a virus clean.',
    )
      .min(16, { error: 'expected at least 16 characters' })
      .exactOptional(),
    timeout: duration('How long an answer is waited for; then mail goes on without it.', {
      min: '5ms',
      max: '5s',
    }).prefault('50ms'),
  }).superRefine(onePlace)
}

function hostPort(doc: string) {
  return address(doc)
    .refine((where) => 'host' in where, { error: 'expected host:port' })
    .meta({ description: doc, notation: 'address' })
}

function onePlace(config: RedisConfig, context: z.core.$RefinementCtx): void {
  for (const { path: where, message, hint } of contradictions(config)) {
    context.addIssue({ code: 'custom', path: where, message, params: { hint } })
  }
}

interface Contradiction {
  readonly path: string[]
  readonly message: string
  readonly hint: string
}

function contradictions(config: RedisConfig): Contradiction[] {
  const { url, sentinels, sentinelName, cluster } = config
  const places = [url, sentinels, cluster].filter((place) => place !== undefined)
  if (places.length !== 1) {
    const message = places.length === 0 ? 'says not where Redis is' : 'says more than once where Redis is'
    return [{ path: [], message, hint: 'write one of url, sentinels and cluster' }]
  }
  const wrong: Contradiction[] = []
  if ((sentinels === undefined) !== (sentinelName === undefined)) {
    const missing = sentinels === undefined ? 'sentinels' : 'sentinelName'
    wrong.push({
      path: [sentinels === undefined ? 'sentinelName' : 'sentinels'],
      message: `needs ${missing}`,
      hint: 'the Sentinels are asked for the master of this name',
    })
  }
  const password = config.password ?? (url === undefined ? undefined : parseRedisUrl(url)?.password)
  if (config.username !== undefined && password === undefined) {
    wrong.push({ path: ['username'], message: 'needs password', hint: 'a user without one cannot log in' })
  }
  if (cluster && (config.database ?? 0) !== 0) {
    wrong.push({ path: ['database'], message: 'expected 0 with cluster', hint: 'a Cluster has no other' })
  }
  return [...wrong, ...urlContradictions(config)]
}

/** What stands in the URL and beside it. */
function urlContradictions({ url, username, password, database, tls }: RedisConfig): Contradiction[] {
  const read = url === undefined ? undefined : parseRedisUrl(url)
  if (!read) return []
  const twice = (key: 'password' | 'username' | 'database'): Contradiction => ({
    path: [key],
    message: 'stands in url too',
    hint: 'write it in one place',
  })
  return [
    ...(read.password !== undefined && password !== undefined ? [twice('password')] : []),
    ...(read.username !== undefined && username !== undefined ? [twice('username')] : []),
    ...(read.database !== undefined && database !== undefined ? [twice('database')] : []),
    ...(tls && !read.tls
      ? [{ path: ['tls'], message: 'has no use with this url', hint: 'write rediss:// in url' }]
      : []),
  ]
}

/**
 * `redis://[user[:password]@]host[:port][/database]`, the same with rediss, or `unix:/PATH`; user and password
 * percent-encoded (RFC 3986 section 2.1). Absent: it is none.
 */
export function parseRedisUrl(url: string): RedisUrl | undefined {
  if (url.startsWith('unix:')) {
    const socket = tryAddress(url)
    return typeof socket === 'string' ? undefined : { address: socket, tls: false }
  }
  const parts =
    /^(rediss?):\/\/(?:([^@/]*)@)?(\[[^\]/@]+\]|[^@/:[\]]+)(?::(\d{1,5}))?(?:\/(\d{1,7})?)?$/.exec(url)
  if (!parts) return undefined
  const [, scheme, login, host = '', port = String(DEFAULT_PORT), database] = parts
  const where = tryAddress(`${host}:${port}`)
  const user = loginOf(login)
  if (typeof where === 'string' || !user || Number(database ?? 0) > MAX_DATABASE) return undefined
  return {
    address: where,
    tls: scheme === 'rediss',
    ...user,
    ...(database !== undefined && { database: Number(database) }),
  }
}

/** Absent: it is not well encoded. */
function loginOf(login: string | undefined): Pick<RedisUrl, 'username' | 'password'> | undefined {
  if (login === undefined) return {}
  const at = login.indexOf(':')
  try {
    const username = decodeURIComponent(at === -1 ? login : login.slice(0, at))
    const password = at === -1 ? '' : decodeURIComponent(login.slice(at + 1))
    return { ...(username !== '' && { username }), ...(password !== '' && { password }) }
  } catch {
    // A percent sign that encodes nothing.
    return undefined
  }
}
