import { join } from 'node:path'
import {
  formatAddress,
  isIpAddress,
  type Address,
  type Config,
  type ListenConfig,
  type MailProtocol,
} from '@ecluse/core'
import { settingOf, type PostfixConfig, type PostfixService } from './postfixConfig.ts'

/** The way of a mail through both configurations: what the checks look at. */
export interface PostfixWay {
  readonly postfix: PostfixConfig
  readonly config: Config
  /** Where mail comes in: smtpd services but the re-entry, and pickup. */
  readonly fronts: readonly PostfixService[]
  /** Each filter that they name, once, in the order of master.cf. Empty: none names one. */
  readonly filters: readonly Filter[]
  /** The service at `reinject.address`; absent: master.cf has none there. */
  readonly reentry?: PostfixService
}

/** A value of content_filter. */
interface Filter {
  readonly value: string
  /** A transport that brings mail to a listener of ours. */
  readonly feed?: Feed
  /** Why it does not; absent: it does. */
  readonly fault?: FilterFault
}

/** A transport of master.cf that brings mail to us. */
export interface Feed {
  readonly service: PostfixService
  /** What it speaks: also the prefix of its parameters. */
  readonly protocol: MailProtocol
  readonly listener: ListenConfig
}

/** What is wrong with a content_filter, and the cure. */
interface FilterFault {
  readonly detail: string
  readonly cure: string
}

/** Finds the services that concern us. */
export function findWay(postfix: PostfixConfig, config: Config): PostfixWay {
  const reentry = postfix.services.find((service) => isReentry(service, postfix, config.reinject.address))
  const fronts = postfix.services.filter(
    (service) => service !== reentry && (isSmtpd(service) || service.command === 'pickup'),
  )
  const values = new Set(fronts.map((service) => settingOf(postfix, 'content_filter', service) ?? ''))
  values.delete('')
  const filters = [...values].map((value) => readFilter(value, postfix, config))
  return { postfix, config, fronts, filters, ...(reentry && { reentry }) }
}

/** The way's feeds, each once. */
export function feedsOf({ filters }: PostfixWay): Feed[] {
  return filters.flatMap(({ feed }) => feed ?? [])
}

/** How a service is called in messages: `127.0.0.1:10025/inet`, `pickup/unix`. */
export function nameOf({ name, type }: PostfixService): string {
  return `${name}/${type}`
}

/** Whether mail comes in here over SMTP. */
export function isSmtpd({ command, type }: PostfixService): boolean {
  return command === 'smtpd' && (type === 'inet' || type === 'pass')
}

const PORTS: Readonly<Record<string, number>> = {
  smtp: 25,
  lmtp: 24,
  submission: 587,
  smtps: 465,
  submissions: 465,
}

/** Where a service of type inet listens; `host` is absent where it is on all of inet_interfaces. Absent: nowhere known. */
export function placeOf({
  name,
  type,
}: PostfixService): { readonly host?: string; readonly port: number } | undefined {
  if (type !== 'inet') return undefined
  const [, bracketed, bare, word = ''] = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?([\w-]+)$/.exec(name) ?? []
  const port = /^\d+$/.test(word) ? Number(word) : PORTS[word]
  const host = bracketed ?? bare
  return port === undefined ? undefined : { port, ...(host !== undefined && { host }) }
}

function isReentry(service: PostfixService, postfix: PostfixConfig, address: Address): boolean {
  if ('path' in address) {
    const queue = settingOf(postfix, 'queue_directory') ?? ''
    return (
      service.type === 'unix' &&
      ['private', 'public'].some((folder) => join(queue, folder, service.name) === address.path)
    )
  }
  const place = placeOf(service)
  if (place?.port !== address.port) return false
  return place.host === undefined || sameHost(place.host, address.host)
}

/** Whether both may mean the same machine; a name other than localhost is only itself. */
function sameHost(one: string, other: string): boolean {
  const loopback = (host: string): boolean =>
    host === 'localhost' || host === '::1' || host.startsWith('127.')
  const sameName = one.toLowerCase() === other.toLowerCase()
  return sameName || (loopback(one) && loopback(other) && (!isIpAddress(one) || !isIpAddress(other)))
}

function readFilter(value: string, postfix: PostfixConfig, config: Config): Filter {
  const colon = value.indexOf(':')
  const transport = colon === -1 ? value : value.slice(0, colon)
  const service = postfix.services.find(({ name, type }) => name === transport && type === 'unix')
  const cure = `write content_filter = ecluse:${nextHopOf(config)} and the transport, as ecluse postfix prints them`
  if (!service)
    return { value, fault: { detail: `master.cf has no service "${transport}" of type unix`, cure } }
  const protocol = service.command
  if (protocol !== 'lmtp' && protocol !== 'smtp') {
    return { value, fault: { detail: `"${transport}" runs ${protocol}, not lmtp or smtp`, cure } }
  }
  const nextHops = splitNextHops(value.slice(colon + 1))
  const unreadable = nextHops.length > 1 && nextHops.find((hop) => /^(?:inet|unix):/.test(hop))
  if (unreadable) {
    const detail = `of several next hops none may begin with a type, as ${unreadable} does`
    return { value, fault: { detail, cure: 'write each of them as [ADDRESS]:PORT' } }
  }
  const listener = nextHops
    .map((hop) => listenerAt(hop, { service, postfix, config }))
    .find((found) => found !== undefined)
  if (!listener) {
    const listening = config.listen.map(({ address }) => formatAddress(address)).join(', ')
    return { value, fault: { detail: `Écluse does not listen there, but at ${listening}`, cure } }
  }
  if (listener.protocol !== protocol) {
    const detail = `"${transport}" speaks ${protocol}, but ${formatAddress(listener.address)} ${listener.protocol}`
    return {
      value,
      fault: {
        detail,
        cure: `let "${transport}" run ${listener.protocol} in master.cf, or set protocol: ${protocol} for this listener`,
      },
    }
  }
  return { value, feed: { service, protocol, listener } }
}

/** Postfix 3.5 and later tries several in turn; a type is only taken off the first one, and then of all of them. */
function splitNextHops(nextHops: string): readonly string[] {
  return nextHops.split(/[\s,]+/)
}

/** `[127.0.0.1]:10024`, `unix:PATH` for messages. */
function nextHopOf({ listen }: Config): string {
  const address = listen[0]?.address
  if (!address) throw new TypeError('a configuration listens somewhere')
  return 'path' in address ? formatAddress(address) : `[${address.host}]:${address.port}`
}

function listenerAt(
  nextHop: string,
  { service, postfix, config }: { service: PostfixService; postfix: PostfixConfig; config: Config },
): ListenConfig | undefined {
  if (nextHop.startsWith('unix:')) {
    const path = nextHop.slice('unix:'.length)
    const queue = settingOf(postfix, 'queue_directory') ?? ''
    // A path is seen from the queue directory where the transport is locked in there, or the path is relative.
    const seen = service.chroot || !path.startsWith('/') ? join(queue, path) : path
    return config.listen.find(({ address }) => 'path' in address && address.path === seen)
  }
  const [, bracketed, bare, word = '24'] =
    /^(?:inet:)?(?:\[([^\]]+)\]|([^:[\]]+))(?::([\w-]+))?$/.exec(nextHop) ?? []
  const host = (bracketed ?? bare)?.replace(/^ipv6:/i, '')
  const port = /^\d+$/.test(word) ? Number(word) : PORTS[word]
  if (host === undefined) return undefined
  return config.listen.find(
    ({ address }) =>
      'port' in address && address.port === port && (isAny(address.host) || sameHost(address.host, host)),
  )
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
