import { FilterError, type Config, type ErrorPlace, type ScannerKind } from '@ecluse/core'
import { errorAt } from './configErrors.ts'
import { consoleWarnings } from './consoleWarnings.ts'
import { listWarnings } from './listWarnings.ts'
import { mailboxWarnings } from './mailboxWarnings.ts'
import { noticeWarnings } from './noticeWarnings.ts'
import { proxyWarnings } from './proxyWarnings.ts'
import { policyWarnings } from './policyWarnings.ts'
import { ruleWarnings, type RuleFacts } from './ruleWarnings.ts'
import { firstOf, type Warning } from './warning.ts'
import type { YamlFile } from './yamlFile.ts'

/** What is allowed, but probably not meant, in the order of the file. Each warning tells what will happen. */
export function configWarnings(facts: RuleFacts, file: YamlFile): FilterError[] {
  const { config, kinds, files } = facts
  const warnings = [
    ...scannerWarnings(config, kinds),
    ...domainWarnings(config),
    ...policyWarnings(config),
    ...noticeWarnings(config),
    ...consoleWarnings(config),
    ...mailboxWarnings(config),
    ...ruleWarnings(facts),
    ...firstOf(listWarnings(config, files), OF_ALL_LISTS),
    ...listenWarnings(config),
  ]
  // Those of list files stand where the configuration names them.
  const placed = warnings.map((warning) => ({ ...warning, named: file.valuePlace(warning.path) }))
  return inOrder(placed).map(({ path, message, hint, named, place }) =>
    place === undefined
      ? errorAt(path, message, { place: named, hint })
      : new FilterError('E_CONFIG', message, { place, ...(hint !== undefined && { hint }) }),
  )
}

const OF_ALL_LISTS = 60

function inOrder<T extends { readonly named: ErrorPlace }>(warnings: readonly T[]): T[] {
  return warnings.toSorted(
    ({ named: a }, { named: b }) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  )
}

function scannerWarnings({ scanners }: Config, kinds: readonly ScannerKind[]): Warning[] {
  if (scanners.length === 0) {
    return [{ path: ['scanners'], message: 'none: nothing looks at the mail', hint: 'see ecluse scanners' }]
  }
  const looking = new Set(kinds.filter(({ concerns }) => concerns.includes('virus')).map(({ kind }) => kind))
  const antivirus = scanners.filter(({ kind }) => kind !== TEST_KIND && looking.has(kind))
  const warnings: Warning[] = []
  if (antivirus.length > 0 && antivirus.every(({ onError }) => onError === 'pass')) {
    warnings.push({
      path: ['scanners', scanners.findIndex(({ kind }) => kind === antivirus[0]?.kind), 'onError'],
      message: 'no virus scanner has another onError than pass: when they fail, viruses are delivered',
      hint: 'use tempfail for one of them',
    })
  }
  scanners.forEach(({ kind }, index) => {
    if (kind !== TEST_KIND) return
    warnings.push({
      path: ['scanners', index, 'kind'],
      message: 'is for trying things out: senders choose their own score',
      hint: 'remove it where real mail is',
    })
  })
  return warnings
}

const TEST_KIND = 'test'

function domainWarnings({ localDomains }: Config): Warning[] {
  if (localDomains.length === 0) {
    return [
      {
        path: ['localDomains'],
        message: 'empty: no recipient gets spam headers or the subject tag',
        hint: 'name the domains that you receive mail for',
      },
    ]
  }
  const names = localDomains.map((name) => name.toLowerCase())
  const first = new Map(names.toReversed().map((name, index) => [name, names.length - 1 - index]))
  const warnings = names.flatMap((name, index): Warning[] => {
    const doubled = (first.get(name) ?? index) < index
    const cover = doubled ? name : parentsOf(name).find((parent) => first.has(parent))
    if (cover === undefined) return []
    const message = `${name} can never match: ${doubled ? 'it stands here already' : `${cover} covers it`}`
    return [{ path: ['localDomains', index], message, hint: 'remove it' }]
  })
  return firstOf(warnings)
}

/** The entries that stand for a domain among others, without itself. */
function parentsOf(entry: string): string[] {
  const labels = entry.replace(/^\./, '').split('.')
  const parents = labels.map((_, index) => `.${labels.slice(index).join('.')}`)
  return parents.filter((parent) => parent !== entry)
}

function listenWarnings({ listen, limits }: Config): Warning[] {
  const warnings: Warning[] = listen.flatMap(({ address, trust, tls }, index) => {
    const everybody = trust.some((network) => network.endsWith('/0'))
    if (!everybody || 'path' in address || tls?.requireClientCertificate) return []
    const message = 'everybody may send mail through here as if it were checked by Postfix'
    return [{ path: ['listen', index, 'trust'], message, hint: 'name the address of Postfix' }]
  })
  warnings.push(...proxyWarnings(listen))
  if (limits.concurrency > limits.connections) {
    const message = `can never be reached: limits.connections is ${limits.connections}`
    warnings.push({ path: ['limits', 'concurrency'], message, hint: 'lower it, or raise limits.connections' })
  }
  if (limits.spoolBytes < limits.messageSize) {
    const message = 'below limits.messageSize: the largest messages come in only one at a time'
    warnings.push({ path: ['limits', 'spoolBytes'], message, hint: 'raise it, or lower limits.messageSize' })
  }
  return warnings
}
