import { localDomains } from '@ecluse/core'
import { settingOf, wordsOf } from './postfixConfig.ts'
import type { PostfixDomains } from './postfixDomains.ts'
import type { PostfixWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** What the tables of Postfix say. */
export interface TableAnswers {
  /** Those of the domains asked for that some table has. */
  readonly known: ReadonlySet<string>
  /** Tables that were not asked. */
  readonly unasked: readonly string[]
}

const MAX_NAMES = 10

/** Whether both sides mean the same domains: a wrong localDomains leaves recipients without spam header fields. */
export function checkDomains(way: PostfixWay, domains: PostfixDomains, answers: TableAnswers): Diagnosis[] {
  return [checkLocal(way, domains, answers), checkForgotten(way, domains)]
}

/** The domains that localDomains names, without the dots; each once. */
export function localNames(entries: readonly string[]): string[] {
  return [...new Set(entries.map((entry) => entry.toLowerCase().replace(/^\./, '')))]
}

function checkLocal(
  { postfix, config }: PostfixWay,
  { named }: PostfixDomains,
  { known, unasked }: TableAnswers,
): Diagnosis {
  const check = 'postfix local domains'
  const subdomains = subdomainTest(settingOf(postfix, 'parent_domain_matches_subdomains'), named)
  const isNamed = (name: string): boolean =>
    named.has(name) ||
    known.has(name) ||
    subdomains(name) ||
    [...named.keys()].some((other) => other.endsWith(`.${name}`))
  const strange = localNames(config.localDomains).filter((name) => !isNamed(name))
  if (strange.length === 0) return well(check, `Postfix takes mail for all of localDomains`)
  const names = `${some(strange)} in localDomains`
  if (unasked.length > 0) {
    const detail = `${names}: not in the lists of main.cf; not looked up in ${some(unasked)}`
    return warn(check, detail, `look it up: postmap -q ${strange[0]} ${unasked[0]}`)
  }
  const detail = `${names}: Postfix does not take mail for it (mydestination, virtual_*_domains, relay_domains)`
  return wrong(
    check,
    detail,
    'correct localDomains, or add the domain to the list in main.cf that it belongs to',
  )
}

/** A name below one in a list counts too where the list is among parent_domain_matches_subdomains. */
function subdomainTest(
  value: string | undefined,
  named: ReadonlyMap<string, string>,
): (name: string) => boolean {
  const lists = new Set(wordsOf(value))
  return (name) => {
    for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
      if (named.has(name.slice(dot))) return true
      const list = named.get(name.slice(dot + 1))
      if (list !== undefined && lists.has(list)) return true
    }
    return false
  }
}

function checkForgotten({ postfix, config }: PostfixWay, { named }: PostfixDomains): Diagnosis {
  const check = 'postfix other domains'
  const isLocal = localDomains(config.localDomains)
  const host = settingOf(postfix, 'myhostname')?.toLowerCase()
  const forgotten = [...named.keys()]
    // Mail to the machine itself is the administrator's.
    .filter((name) => name !== host && !/^localhost(?:\.|$)/.test(name))
    .filter((name) => !isLocal(`x@${name.replace(/^\./, 'x.')}`))
  if (forgotten.length === 0) return well(check, 'Postfix names none that is not in localDomains')
  const detail = `${some(forgotten)}: Postfix takes mail for it, but it is not in localDomains: no spam header fields`
  return warn(
    check,
    detail,
    `add it to localDomains: [${[...config.localDomains, ...forgotten].slice(0, MAX_NAMES).join(', ')}]`,
  )
}

function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMES
  return `${names.slice(0, MAX_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
