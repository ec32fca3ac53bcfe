import { settingOf, wordsOf, type PostfixService } from './postfixConfig.ts'
import { isSmtpd, nameOf, type PostfixWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** What concerns mail before it comes to us. */
export function checkFront(way: PostfixWay): Diagnosis[] {
  return [
    checkSmuggling(way),
    checkPipelining(way),
    checkStrayLineEnds(way),
    checkMappings(way),
    checkProtocols(way),
  ]
}

/** SMTP services whose setting is one of these values; absent settings do not count. */
function frontsWith(
  { postfix, fronts }: PostfixWay,
  name: string,
  values: readonly string[],
): PostfixService[] {
  return fronts.filter(
    (service) => isSmtpd(service) && values.includes(settingOf(postfix, name, service) ?? '-'),
  )
}

/** CVE-2023-51764. */
function checkSmuggling(way: PostfixWay): Diagnosis {
  const check = 'postfix smuggling'
  const name = 'smtpd_forbid_bare_newline'
  if (settingOf(way.postfix, name) === undefined) {
    const detail =
      'this Postfix has no smtpd_forbid_bare_newline: a sender can hide a second mail in a first one'
    return warn(check, detail, 'take Postfix 3.5.24, 3.6.14, 3.7.10, 3.8.5 or newer')
  }
  const open = frontsWith(way, name, ['no', ''])
  if (open.length === 0) return well(check, `${name}: a message ends with <CR><LF>.<CR><LF> only`)
  const detail = `${name} is no for ${open.map(nameOf).join(', ')}: a sender can hide a second mail in a first one`
  return wrong(check, detail, `set ${name} = normalize in main.cf`)
}

function checkPipelining(way: PostfixWay): Diagnosis {
  const check = 'postfix pipelining'
  const name = 'smtpd_forbid_unauth_pipelining'
  const { postfix, fronts } = way
  const open = fronts.filter(
    (service) =>
      isSmtpd(service) &&
      settingOf(postfix, name, service) !== 'yes' &&
      !wordsOf(settingOf(postfix, 'smtpd_data_restrictions', service)).includes('reject_unauth_pipelining'),
  )
  if (open.length === 0) return well(check, 'commands sent ahead of a reply are refused')
  const detail = `${open.map(nameOf).join(', ')}: commands sent ahead of a reply are taken, as SMTP smuggling needs them`
  const known = settingOf(postfix, name) !== undefined
  const cure = known ? `${name} = yes` : 'smtpd_data_restrictions = reject_unauth_pipelining'
  return warn(check, detail, `set ${cure} in main.cf`)
}

function checkStrayLineEnds({ postfix }: PostfixWay): Diagnosis {
  const check = 'postfix stray line ends'
  const name = 'cleanup_replace_stray_cr_lf'
  const value = settingOf(postfix, name)
  if (value !== 'no')
    return well(check, value === undefined ? `this Postfix has no ${name}` : `${name} is ${value}`)
  const detail = `${name} is no: a lone <CR> or <LF> goes on to servers that may take it for a line end`
  return wrong(check, detail, `set ${name} = yes in main.cf`)
}

const NO_MAPPINGS = 'no_address_mappings'

/** Aliases are expanded once: before us or, better, after. */
function checkMappings(way: PostfixWay): Diagnosis {
  const check = 'postfix aliases'
  const { postfix, fronts, reentry } = way
  const keeps = (service: PostfixService): boolean =>
    wordsOf(settingOf(postfix, 'receive_override_options', service)).includes(NO_MAPPINGS)
  if (!reentry) return well(check, 'not checked without the re-entry service')
  const expanding = fronts.filter((service) => !keeps(service))
  if (keeps(reentry)) {
    if (expanding.length === fronts.length)
      return well(check, 'expanded before Écluse, whose rules see the result')
    const detail = `receive_override_options has ${NO_MAPPINGS} before Écluse and after: aliases are never expanded`
    return wrong(check, detail, `take ${NO_MAPPINGS} off "${reentry.name}" in master.cf`)
  }
  if (expanding.length === 0) return well(check, 'expanded once, after Écluse')
  const detail = `${expanding.map(nameOf).join(', ')}: aliases are expanded before Écluse and once more after it`
  return warn(check, detail, `set receive_override_options = ${NO_MAPPINGS} in main.cf`)
}

/** An IPv6 address in brackets, as Postfix writes a next hop. */
const IPV6_NEXT_HOP = /\[(?:ipv6:)?[\da-f]*:[\da-f:.]*\]/i

function checkProtocols({ postfix, filters }: PostfixWay): Diagnosis {
  const check = 'postfix inet_protocols'
  const value = settingOf(postfix, 'inet_protocols') ?? ''
  if (wordsOf(value).some((word) => word === 'all' || word === 'ipv6')) return well(check, value)
  const unreachable = filters.find(({ feed, value: filter }) => feed && IPV6_NEXT_HOP.test(filter))
  if (unreachable) {
    const detail = `inet_protocols is ${value}: Postfix cannot connect to ${unreachable.value}`
    return wrong(check, detail, 'set inet_protocols = all in main.cf, or let Écluse listen on 127.0.0.1')
  }
  const note =
    '10025 answers 501 to the XFORWARD of an IPv6 client, such as another Postfix in front may tell of'
  return well(check, `${value}: ${note}; that mail passes, its log loses the client`)
}
