import { tryAddress } from './schema.ts'

/** What a URL of PostgreSQL says. */
export interface PostgresUrl {
  /** A name or address; beginning with `/`: the folder of its Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password?: string
  readonly database: string
  /** Absent: without TLS. */
  readonly tls?: {
    /** What of its certificate is looked at. */
    readonly verify: 'nothing' | 'authority' | 'authority and host'
    /** File of the authorities, PEM; absent: the system's. */
    readonly ca?: string
  }
}

const DEFAULT_PORT = 5432
const SHAPE = 'expected a URL such as postgres://user:password@127.0.0.1:5432/database'
const PARAMETERS = 'expected no other parameters than sslmode, sslrootcert and host'
const SSLMODE = 'expected sslmode=disable, require, verify-ca or verify-full'
const SSLROOTCERT = 'expected sslrootcert=/PATH, with sslmode=verify-ca or verify-full'
const HOST = 'expected host=/FOLDER of a Unix socket, and then no host before the database, and no sslmode'

const MODES: ReadonlyMap<string, NonNullable<PostgresUrl['tls']>['verify'] | undefined> = new Map([
  ['disable', undefined],
  ['require', 'nothing'],
  ['verify-ca', 'authority'],
  ['verify-full', 'authority and host'],
])

/**
 * `postgres://user[:password]@host[:port]/database`, with the parameters of libpq that make sense for us and no others:
 * some of them name files, or weaken what others say. User, password and database are percent-encoded (RFC 3986 section
 * 2.1). Without sslmode there is no TLS.
 *
 * @returns text: what was expected
 */
export function parsePostgresUrl(url: string): PostgresUrl | string {
  const parts =
    /^postgres(?:ql)?:\/\/([^@/?#:]+)(?::([^@/?#]*))?@(\[[^\]/@]+\]|[^@/:?#[\]]*)(?::(\d{1,5}))?\/([^/?#]+)(?:\?([^#]*))?$/.exec(
      url,
    )
  if (!parts) return SHAPE
  const [, user = '', password = '', name = '', port = String(DEFAULT_PORT), database = '', query = ''] =
    parts
  const login = loginOf({ user, password, database })
  if (!login) return SHAPE
  const parameters = parametersOf(query)
  if (typeof parameters === 'string') return parameters
  const host = hostOf(name, port, parameters)
  const tls = tlsOf(parameters)
  if (host === undefined) return parameters.has('host') ? HOST : SHAPE
  return typeof tls === 'string' ? tls : { ...host, ...login, ...(tls && { tls }) }
}

/** Absent: it is not well encoded. */
function loginOf(
  encoded: Readonly<Record<'user' | 'password' | 'database', string>>,
): Pick<PostgresUrl, 'user' | 'password' | 'database'> | undefined {
  const [user, password, database] = [encoded.user, encoded.password, encoded.database].map(decoded)
  if (user === undefined || password === undefined || database === undefined) return undefined
  return { user, ...(password !== '' && { password }), database }
}

/** Absent: it is not well encoded, or has what no name has. */
function decoded(text: string): string | undefined {
  try {
    const plain = decodeURIComponent(text)
    return /\p{Cc}/u.test(plain) ? undefined : plain
  } catch {
    // A percent sign that encodes nothing.
    return undefined
  }
}

function parametersOf(query: string): Map<string, string> | string {
  const found = new Map<string, string>()
  for (const pair of query === '' ? [] : query.split('&')) {
    const [, name = '', text = ''] = /^(sslmode|sslrootcert|host)=(.*)$/.exec(pair) ?? []
    const value = decoded(text)
    if (name === '' || value === undefined || found.has(name)) return PARAMETERS
    found.set(name, value)
  }
  return found
}

function hostOf(
  name: string,
  port: string,
  parameters: ReadonlyMap<string, string>,
): Pick<PostgresUrl, 'host' | 'port'> | undefined {
  const folder = parameters.get('host')
  if (!isPort(port)) return undefined
  if (folder !== undefined) {
    const plain = name === '' && !parameters.has('sslmode') && folder.length < 100
    return plain && folder.startsWith('/') ? { host: folder, port: Number(port) } : undefined
  }
  const where = tryAddress(`${name}:${port}`)
  return typeof where !== 'string' && 'host' in where ? where : undefined
}

function isPort(port: string): boolean {
  return Number(port) >= 1 && Number(port) <= 65_535
}

/** Absent: no TLS. Text: what was expected. */
function tlsOf(parameters: ReadonlyMap<string, string>): PostgresUrl['tls'] | string {
  const mode = parameters.get('sslmode') ?? 'disable'
  if (!MODES.has(mode)) return SSLMODE
  const verify = MODES.get(mode)
  const ca = parameters.get('sslrootcert')
  if (ca === undefined) return verify && { verify }
  if (verify === undefined || verify === 'nothing' || !ca.startsWith('/')) return SSLROOTCERT
  return { verify, ca }
}
