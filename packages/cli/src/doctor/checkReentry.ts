import { formatAddress } from '@ecluse/core'
import {
  limitOf,
  numberOf,
  processLimit,
  settingOf,
  timeMsOf,
  wordsOf,
  type PostfixService,
} from './postfixConfig.ts'
import { allInNetworks, ourAddresses } from './postfixNetworks.ts'
import { isSmtpd, placeOf, type PostfixWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'
import { judgeClient, refusesOthers } from './smtpdRestrictions.ts'

/** The way back, found: what the checks of it look at. */
interface Reentry extends PostfixWay {
  readonly reentry: PostfixService
  /** A parameter as the re-entry service sees it; '' also where this Postfix does not know it. */
  readonly setting: (name: string) => string
  /** The cure: an option for the re-entry service. */
  readonly option: (option: string) => string
}

/** Whether Postfix takes back what we bring, all of it, and does not send it round again. */
export function checkReentry(way: PostfixWay): Diagnosis[] {
  const check = 'postfix reentry'
  const { reentry, postfix, config } = way
  const where = formatAddress(config.reinject.address)
  if (!reentry) return [absentReentry(way)]
  if (reentry.command !== 'smtpd') {
    const detail = `${reentry.name} in master.cf runs ${reentry.command}, not smtpd`
    return [wrong(check, detail, 'let it be the service that ecluse postfix prints')]
  }
  const found: Reentry = {
    ...way,
    reentry,
    setting: (name) => settingOf(postfix, name, reentry) ?? '',
    option: (option) => `give "${reentry.name}" in master.cf: -o ${option}`,
  }
  return [
    well(check, `${where} is "${reentry.name}" in master.cf`),
    checkLoop(found),
    checkRestrictions(found),
    checkStrangers(found),
    checkXforward(found),
    checkSession(found),
    checkKeywords(found),
    checkOverrides(found),
    checkProcesses(found),
    checkClientLimits(found),
    checkRecipients(found),
    checkErrors(found),
  ]
}

function absentReentry({ config }: PostfixWay): Diagnosis {
  const check = 'postfix reentry'
  const { protocol, address } = config.reinject
  const detail = `master.cf has no service at reinject.address (${formatAddress(address)})`
  const cure = 'add the service that ecluse postfix prints'
  if (protocol === 'smtp' && ('path' in address || isLoopback(address.host)))
    return wrong(check, detail, cure)
  return warn(check, `${detail}: not checked`, `if mail goes back to this Postfix, ${cure}`)
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function checkLoop({ setting, option }: Reentry): Diagnosis {
  const check = 'postfix loop'
  const name = ['content_filter', 'smtpd_proxy_filter'].find((parameter) => setting(parameter) !== '')
  if (name === undefined) return well(check, 'what comes back is not filtered again')
  const detail = `${name} of the re-entry service is ${setting(name)}: mail goes round until Postfix gives up`
  return wrong(check, detail, option(`${name}=`))
}

function checkRestrictions({ postfix, config, reentry, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry restrictions'
  const addresses = ourAddresses(config.reinject.address)
  const ruling = judgeClient(postfix, reentry, addresses)
  if (ruling.outcome === 'passes')
    return well(check, 'Écluse is permitted, and nothing that it brings refused')
  const list = ruling.list ?? ''
  const own = allInNetworks(setting('mynetworks'), addresses)
  const cure =
    own === 'out'
      ? option('mynetworks=127.0.0.0/8,[::1]/128 (with the address of Écluse)')
      : option(`${list}=permit_mynetworks,reject`)
  const word = `${ruling.word} in ${list}`
  if (ruling.outcome === 'refused') return wrong(check, `${word} refuses what Écluse brings`, cure)
  return warn(check, `${word} may refuse what was taken already`, cure)
}

/** An address of nobody (RFC 5737). */
const STRANGER = '192.0.2.99'

/** Whoever may talk to 10025 has passed by the filter. */
function checkStrangers({ postfix, reentry, option }: Reentry): Diagnosis {
  const check = 'postfix reentry strangers'
  const interfaces = wordsOf(settingOf(postfix, 'inet_interfaces'))
  const host = placeOf(reentry)?.host
  const hosts = host === undefined ? interfaces : [host]
  if (reentry.type !== 'inet' || hosts.every((name) => name === 'loopback-only' || isLoopback(name))) {
    return well(check, 'only this machine can connect')
  }
  if (refusesOthers(postfix, reentry, STRANGER)) return well(check, 'who is not in its mynetworks is refused')
  const detail = 'everybody may bring mail here, past Écluse'
  return wrong(check, detail, option('smtpd_client_restrictions=permit_mynetworks,reject'))
}

function checkXforward({ config, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry xforward'
  const name = 'smtpd_authorized_xforward_hosts'
  const found = allInNetworks(setting(name), ourAddresses(config.reinject.address))
  if (found === 'in') return well(check, 'Écluse may tell the client')
  if (found === 'unknown') return well(check, `${name}: names or tables, see what 10025 offers`)
  const detail = `${name} is without Écluse: the log of Postfix loses the client`
  return wrong(check, detail, option(`${name}=127.0.0.0/8,[::1]/128`))
}

function checkSession({ config, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry session'
  const { mode } = config.reinject.tls
  const level = setting('smtpd_tls_security_level')
  if (setting('smtpd_tls_wrappermode') === 'yes') {
    return wrong(
      check,
      'it wants TLS from the first byte, Écluse STARTTLS',
      option('smtpd_tls_wrappermode=no'),
    )
  }
  if (setting('smtpd_upstream_proxy_protocol') !== '') {
    return wrong(
      check,
      'it waits for a PROXY header, Écluse sends none',
      option('smtpd_upstream_proxy_protocol='),
    )
  }
  if (mode === 'off' && (level === 'encrypt' || setting('smtpd_enforce_tls') === 'yes')) {
    const cure = `${option('smtpd_tls_security_level=none')}; or set reinject.tls.mode`
    return wrong(check, `smtpd_tls_security_level is ${level}, reinject.tls.mode off`, cure)
  }
  if (mode === 'require' && (level === '' || level === 'none') && setting('smtpd_use_tls') !== 'yes') {
    const detail = `smtpd_tls_security_level is ${level || 'empty'}, reinject.tls.mode require`
    return wrong(check, detail, option('smtpd_tls_security_level=may'))
  }
  return well(check, `smtpd_tls_security_level is ${level || 'empty'}, reinject.tls.mode ${mode}`)
}

const NEEDED = ['xforward', 'dsn', '8bitmime', 'smtputf8', 'size']

function checkKeywords({ setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry extensions'
  const name = 'smtpd_discard_ehlo_keywords'
  const hidden = wordsOf(setting(name).toLowerCase()).filter((word) => NEEDED.includes(word))
  if (hidden.length === 0) return well(check, 'none that Écluse uses is hidden')
  return wrong(check, `${name} hides ${hidden.join(', ')} from Écluse`, option(`${name}=`))
}

const CONTENT_CHECKS = ['header_checks', 'mime_header_checks', 'nested_header_checks', 'body_checks']

/** What was done when the mail came in is not done again. */
function checkOverrides({ postfix, fronts, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry overrides'
  const off = wordsOf(setting('receive_override_options'))
  const milters = setting('smtpd_milters')
  const again: string[] = []
  const used = fronts.some(
    (service) => isSmtpd(service) && settingOf(postfix, 'smtpd_milters', service) === milters,
  )
  // Milters of its own are there on purpose: to sign what has passed.
  if (!off.includes('no_milters') && milters !== '' && used) again.push('no_milters')
  const looks = CONTENT_CHECKS.some((name) => setting(name) !== '')
  if (!off.includes('no_header_body_checks') && looks) again.push('no_header_body_checks')
  const unlisted = setting('smtpd_reject_unlisted_recipient') === 'yes'
  if (!off.includes('no_unknown_recipient_checks') && unlisted) again.push('no_unknown_recipient_checks')
  if (again.length === 0) return well(check, 'nothing is looked at twice')
  const missing = `receive_override_options is without ${again.join(', ')}`
  const all = [...off, ...again].join(',')
  return warn(
    check,
    `${missing}: what comes back is looked at once more`,
    option(`receive_override_options=${all}`),
  )
}

function checkProcesses({ postfix, config, reentry }: Reentry): Diagnosis {
  const check = 'postfix reentry processes'
  const processes = processLimit(postfix, reentry)
  const { connections } = config.reinject
  const facts = `maxproc ${processes === Infinity ? 'none' : processes}, reinject.connections ${connections}`
  if (processes >= connections) return well(check, facts)
  const cure = `set maxproc of "${reentry.name}" in master.cf to ${connections} or more, or reinject.connections to ${processes}`
  return wrong(check, `${facts}: connections wait for one that nobody gives back`, cure)
}

const RATES = ['connection', 'message', 'recipient'].map((what) => `smtpd_client_${what}_rate_limit`)

function checkClientLimits({ config, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry client limits'
  const exceptions = 'smtpd_client_event_limit_exceptions'
  const { address, connections } = config.reinject
  const excepted = allInNetworks(setting(exceptions), ourAddresses(address))
  if (excepted !== 'out') return well(check, `Écluse is among ${exceptions}`)
  const count = limitOf(setting('smtpd_client_connection_count_limit'))
  const rate = RATES.find((name) => numberOf(setting(name)) > 0)
  const cure = option(`${exceptions}=127.0.0.0/8,[::1]/128`)
  if (count < connections) {
    const detail = `smtpd_client_connection_count_limit is ${count}, reinject.connections ${connections}`
    return wrong(check, `${detail}: Postfix refuses the rest`, cure)
  }
  if (rate !== undefined)
    return wrong(check, `${rate} is ${setting(rate)}: Postfix refuses what is above`, cure)
  return well(check, 'none below what Écluse needs')
}

function checkRecipients({ config, setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry recipients'
  const limit = numberOf(setting('smtpd_recipient_limit'))
  const { recipients } = config.limits
  const facts = `smtpd_recipient_limit is ${limit}, limits.recipients ${recipients}`
  if (limit >= recipients) return well(check, facts)
  const detail = `${facts}: larger mail goes back in several parts`
  return warn(check, detail, option(`smtpd_recipient_limit=${recipients}`))
}

/** Fewer refused recipients than this may well come over one connection that is kept. */
const FEW_ERRORS = 100

function checkErrors({ setting, option }: Reentry): Diagnosis {
  const check = 'postfix reentry errors'
  const hard = numberOf(setting('smtpd_hard_error_limit'))
  const soft = numberOf(setting('smtpd_soft_error_limit'))
  const sleeps = timeMsOf(setting('smtpd_error_sleep_time')) !== 0
  if (hard < FEW_ERRORS) {
    const detail = `smtpd_hard_error_limit is ${hard}: after as many refused recipients Postfix ends the connection`
    return warn(check, detail, option('smtpd_hard_error_limit=1000'))
  }
  if (sleeps && soft < FEW_ERRORS) {
    const detail = `smtpd_soft_error_limit is ${soft}: after as many refused recipients each reply waits`
    return warn(check, detail, option('smtpd_error_sleep_time=0'))
  }
  return well(check, 'refused recipients neither slow nor end the connection')
}
