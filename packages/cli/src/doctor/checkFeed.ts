import { formatAddress } from '@ecluse/core'
import { settingOf, timeMsOf, wordsOf, type PostfixService } from './postfixConfig.ts'
import { inNetworks } from './postfixNetworks.ts'
import { feedsOf, isSmtpd, nameOf, type Feed, type PostfixWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** Whether mail that comes in is handed to us, and by whom it is not. */
export function checkFilter(way: PostfixWay): Diagnosis[] {
  const check = 'postfix filter'
  const feeds = feedsOf(way)
  const proxy = way.fronts.map((service) => proxyOf(way, service)).find((value) => value !== '')
  if (way.filters.length === 0 && proxy !== undefined) {
    const detail = `smtpd_proxy_filter = ${proxy}: mail is filtered before the queue, which is not checked`
    return [warn(check, detail, 'use content_filter instead, as ecluse postfix prints it')]
  }
  if (way.filters.length === 0) {
    const cure = 'add what ecluse postfix prints for main.cf'
    return [wrong(check, 'content_filter is empty: no mail comes to Écluse', cure)]
  }
  const told = way.filters.map(({ value, feed, fault }): Diagnosis => {
    if (!fault) return well(check, `content_filter = ${value}: ${feed?.protocol} to Écluse`)
    const detail = `content_filter = ${value}: ${fault.detail}`
    // Some mail may go to another filter on purpose, and what is between us may be a balancer.
    return feeds.length > 0 || hasProxies(way)
      ? warn(check, detail, fault.cure)
      : wrong(check, detail, fault.cure)
  })
  return [...told, ...checkBypass(way)]
}

function hasProxies({ config }: PostfixWay): boolean {
  return config.listen.some(({ proxies }) => proxies.length > 0)
}

/** '' where there is none. */
function proxyOf({ postfix }: PostfixWay, service: PostfixService): string {
  return isSmtpd(service) ? (settingOf(postfix, 'smtpd_proxy_filter', service) ?? '') : ''
}

function checkBypass(way: PostfixWay): Diagnosis[] {
  const without = way.fronts
    .filter(
      (service) => settingOf(way.postfix, 'content_filter', service) === '' && proxyOf(way, service) === '',
    )
    .map(nameOf)
  if (without.length === 0) return []
  const detail = `mail of ${without.join(', ')} does not go through Écluse`
  return [
    warn(
      'postfix bypass',
      detail,
      'remove content_filter= of this service from master.cf if it is not meant',
    ),
  ]
}

/** Whether the transports to us are set up so that nothing is lost on the way. */
export function checkFeeds(way: PostfixWay): Diagnosis[] {
  return feedsOf(way).flatMap((feed) => [
    checkXforward(way, feed),
    checkTimeout(way, feed),
    checkLineLength(way, feed),
    checkTls(way, feed),
    checkSource(way, feed),
    checkHeader(way, feed),
    checkRewriting(way, feed),
    checkKeywords(way, feed),
  ])
}

/** Sets an option of the transport. */
function setOption({ service }: Feed, option: string): string {
  return `give "${service.name}" in master.cf: -o ${option}`
}

function checkXforward({ postfix }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed xforward'
  const name = `${feed.protocol}_send_xforward_command`
  if (settingOf(postfix, name, feed.service) === 'yes')
    return well(check, 'Écluse learns client and queue id')
  const detail = `${name} is not yes: Écluse learns neither client nor queue id, and takes all mail for our own`
  return wrong(check, detail, setOption(feed, `${name}=yes`))
}

function checkTimeout({ postfix, config }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed timeout'
  const name = `${feed.protocol}_data_done_timeout`
  const value = settingOf(postfix, name, feed.service)
  const timeMs = timeMsOf(value) ?? 0
  const { deadline } = config.limits
  const facts = `${name} is ${value}, limits.deadline ${deadline / 1000}s`
  if (timeMs > deadline) return well(check, facts)
  const detail = `${facts}: Postfix gives up first, and sends the message again`
  return wrong(check, detail, setOption(feed, `${name}=${Math.max(1200, (2 * deadline) / 1000)}s`))
}

function checkLineLength({ postfix }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed line length'
  const name = `${feed.protocol}_line_length_limit`
  const value = settingOf(postfix, name, feed.service)
  if (value === '0') return well(check, 'long lines stay as they are')
  const detail = `${name} is ${value}: longer lines are folded before they are scanned, DKIM signatures break`
  return wrong(check, detail, setOption(feed, `${name}=0`))
}

const NEEDS_TLS = new Set(['encrypt', 'dane-only', 'fingerprint', 'verify', 'secure'])

function checkTls({ postfix }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed tls'
  const name = `${feed.protocol}_tls_security_level`
  const level = settingOf(postfix, name, feed.service) ?? ''
  const needs =
    NEEDS_TLS.has(level) || settingOf(postfix, `${feed.protocol}_enforce_tls`, feed.service) === 'yes'
  const { tls } = feed.listener
  if (needs && !tls) {
    const detail = `${name} is ${level}, but this listener has no certificate: no mail comes through`
    return wrong(check, detail, `${setOption(feed, `${name}=none`)}; or give the listener tls`)
  }
  if (!needs && level !== 'may' && (tls?.required || tls?.requireClientCertificate)) {
    const detail = `${name} is ${level || 'empty'}, but this listener takes no mail without TLS`
    return wrong(check, detail, setOption(feed, `${name}=encrypt`))
  }
  return well(
    check,
    `${name} is ${level || 'empty'}, the listener ${tls ? 'has' : 'needs'} ${tls ? 'a certificate' : 'none'}`,
  )
}

/** The parameter that gives Postfix its own address towards us, and the address; both '' where none does. */
function sourceOf({ postfix }: PostfixWay, feed: Feed): readonly [parameter: string, address: string] {
  const parameters = ['bind_address', 'bind_address6'].map((suffix) => `${feed.protocol}_${suffix}`)
  return (
    parameters
      .map((parameter) => [parameter, settingOf(postfix, parameter, feed.service) ?? ''] as const)
      .find(([, value]) => value !== '') ?? ['', '']
  )
}

function checkSource(way: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed source'
  const { address, trust } = feed.listener
  if ('path' in address) return well(check, 'a Unix socket has none')
  const [name, bound] = sourceOf(way, feed)
  if (bound === '') return well(check, 'Postfix comes from the address that the way to Écluse has')
  if (trust.some((network) => inNetworks(network, bound) === 'in'))
    return well(check, `${name} is ${bound}, trusted`)
  const detail = `${name} is ${bound}, which ${formatAddress(address)} does not trust: it refuses Postfix`
  return wrong(check, detail, `${setOption(feed, `${name}=`)}; or add ${bound} to trust of the listener`)
}

/** Postfix sends no PROXY header: where one is waited for, no mail comes through. */
function checkHeader(way: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed header'
  const { address, proxies } = feed.listener
  // To an address of this machine one comes from the same one.
  const source = sourceOf(way, feed)[1] || ('host' in address ? address.host : '')
  const network = proxies.find((candidate) => inNetworks(candidate, source) === 'in')
  if (network === undefined) return well(check, 'no PROXY header is expected from Postfix')
  const detail = `Postfix comes from ${source}, which is in proxies (${network}), and sends no PROXY header`
  return wrong(
    check,
    detail,
    `name the balancer in content_filter of main.cf, or take ${network} out of proxies`,
  )
}

/** Parameters of lmtp(8) and smtp(8) that change the header on the way out: here mail is not on its way out yet. */
const REWRITING = [
  'generic_maps',
  'header_checks',
  'mime_header_checks',
  'nested_header_checks',
  'body_checks',
]

function checkRewriting({ postfix }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed rewriting'
  const name = REWRITING.map((suffix) => `${feed.protocol}_${suffix}`).find(
    (parameter) => (settingOf(postfix, parameter, feed.service) ?? '') !== '',
  )
  if (name === undefined) return well(check, 'messages come as they are')
  const value = settingOf(postfix, name, feed.service)
  return warn(check, `${name} is ${value}: what is scanned is not what came in`, setOption(feed, `${name}=`))
}

const NEEDED = ['xforward', 'dsn', '8bitmime', 'smtputf8']

function checkKeywords({ postfix }: PostfixWay, feed: Feed): Diagnosis {
  const check = 'postfix feed extensions'
  const name = feed.protocol === 'lmtp' ? 'lmtp_discard_lhlo_keywords' : 'smtp_discard_ehlo_keywords'
  const value = settingOf(postfix, name, feed.service) ?? ''
  const ignored = wordsOf(value.toLowerCase()).filter((word) => NEEDED.includes(word))
  if (ignored.length === 0) return well(check, 'none that Écluse offers is ignored')
  return wrong(check, `${name}: Postfix does not use ${ignored.join(', ')}`, setOption(feed, `${name}=`))
}
