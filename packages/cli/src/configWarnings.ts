import {
  WITHOUT_EFFECT,
  overlayPolicy,
  type Category,
  type Config,
  type FilterError,
  type KeyPath,
  type ScannerKind,
} from '@ecluse/core'
import { errorAt } from './configErrors.ts'
import type { YamlFile } from './yamlFile.ts'

interface Warning {
  readonly path: KeyPath
  readonly message: string
  readonly hint?: string
}

/** What is allowed, but probably not meant. Each warning tells what will happen. */
export function configWarnings(config: Config, kinds: readonly ScannerKind[], file: YamlFile): FilterError[] {
  const warnings = [
    ...withoutEffect(config),
    ...scannerWarnings(config, kinds),
    ...domainWarnings(config),
    ...policyWarnings(config),
    ...overlayWarnings(config),
    ...listenWarnings(config),
  ]
  return warnings.map(({ path, message, hint }) =>
    errorAt(path, message, { place: file.valuePlace(path), hint }),
  )
}

function withoutEffect(config: Config): Warning[] {
  const message = 'has no effect in this version'
  const warnings: Warning[] = WITHOUT_EFFECT.filter((key) => config[key] !== undefined).map((key) => ({
    path: [key],
    message,
  }))
  if (config.quarantine.keep === undefined) return warnings
  const hint = 'nothing is deleted by itself: keep an eye on the space'
  return [...warnings, { path: ['quarantine', 'keep'], message, hint }]
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
    return [{ path: ['localDomains'], message: 'empty: no recipient gets spam headers or the subject tag' }]
  }
  const names = localDomains.map((name) => name.toLowerCase())
  const all = new Set(names)
  return names.flatMap((name, index) => {
    const cover = names.indexOf(name) < index ? name : parentsOf(name).find((parent) => all.has(parent))
    if (cover === undefined) return []
    return [{ path: ['localDomains', index], message: `${name} can never match: ${cover} comes first` }]
  })
}

/** The entries that stand for a domain among others, without itself. */
function parentsOf(entry: string): string[] {
  const labels = entry.replace(/^\./, '').split('.')
  const parents = labels.map((_, index) => `.${labels.slice(index).join('.')}`)
  return parents.filter((parent) => parent !== entry)
}

function policyWarnings({ policy }: Config): Warning[] {
  const warnings: Warning[] = []
  if (policy.destiny.virus === 'pass') {
    warnings.push({ path: ['policy', 'destiny', 'virus'], message: 'viruses are delivered' })
  }
  for (const [category, destiny] of Object.entries(policy.destiny)) {
    const path = ['policy', 'destiny', category]
    if (destiny === 'discard' && category !== 'virus' && !policy.quarantine.includes(category as Category)) {
      const hint = `add ${category} to policy.quarantine`
      warnings.push({ path, message: `${category} mail is discarded and no copy kept`, hint })
    }
    if (destiny === 'tempfail') {
      const hint = 'Postfix tries for days, then sends it back to its sender'
      warnings.push({ path, message: `${category} mail stays in the queue of Postfix`, hint })
    }
  }
  return warnings
}

/** The levels of `policy` are in order; one that an overlay moves can cross the other. */
function overlayWarnings({ policy, policies }: Config): Warning[] {
  return policies.flatMap(({ policy: overlay }, index): Warning[] => {
    const { tag2Level, killLevel } = overlayPolicy(policy, overlay)
    if (killLevel >= tag2Level) return []
    const [key, where] =
      overlay.killLevel === undefined
        ? ['tag2Level', `above killLevel (${killLevel})`]
        : ['killLevel', `below tag2Level (${tag2Level})`]
    const message = `${where}: spam with less than ${tag2Level} points has X-Spam-Flag: NO`
    const hint = 'let the overlay set both'
    return [{ path: ['policies', index, 'policy', key], message, hint }]
  })
}

function listenWarnings({ listen, limits }: Config): Warning[] {
  const warnings: Warning[] = listen.flatMap(({ address, trust, tls }, index) => {
    const everybody = trust.some((network) => network.endsWith('/0'))
    if (!everybody || 'path' in address || tls?.requireClientCertificate) return []
    const message = 'everybody may send mail through here as if it were checked by Postfix'
    return [{ path: ['listen', index, 'trust'], message, hint: 'name the address of Postfix' }]
  })
  if (limits.concurrency > limits.connections) {
    const message = `can never be reached: limits.connections is ${limits.connections}`
    warnings.push({ path: ['limits', 'concurrency'], message })
  }
  return warnings
}
