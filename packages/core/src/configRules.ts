import type { z } from 'zod'
import { formatAddress, type Address } from './address.ts'
import type { Config } from './config.ts'
import { formatDuration } from './schema.ts'

/** No stage may wait longer than the whole message: its own limit would never be reached. */
export function nestDeadlines(config: Config, context: z.core.$RefinementCtx): void {
  const { deadline } = config.limits
  const stages: [(string | number)[], number][] = [
    ...config.scanners.map(({ timeout }, index): [(string | number)[], number] => [
      ['scanners', index, 'timeout'],
      timeout,
    ]),
    ...(['connectTimeout', 'commandTimeout', 'dataTimeout', 'dotTimeout'] as const).map(
      (key): [string[], number] => [['reinject', key], config.reinject[key]],
    ),
  ]
  for (const [path, timeout] of stages) {
    if (timeout <= deadline) continue
    context.addIssue({
      code: 'custom',
      path,
      message: `expected at most limits.deadline (${formatDuration(deadline)})`,
      params: { actual: formatDuration(timeout) },
    })
  }
}

/** Two things in one place: mail that goes in circles, a port bound twice, quarantined mail swept from the spool. */
export function separatePlaces(config: Config, context: z.core.$RefinementCtx): void {
  const taken = (key: 'http' | 'console', message: string): void => {
    const params = { hint: 'use another port' }
    context.addIssue({ code: 'custom', path: [key, 'address'], message, params })
  }
  config.listen.forEach(({ address }, index) => {
    if (reaches(config.reinject.address, address)) {
      const message = `${formatAddress(config.reinject.address)} is where listen[${index}] takes mail: mail would go in circles`
      context.addIssue({
        code: 'custom',
        path: ['reinject', 'address'],
        message,
        params: { hint: 'name the re-entry service of Postfix' },
      })
    }
    for (const key of ['http', 'console'] as const) {
      const own = config[key]?.address
      if (own && reaches(own, address))
        taken(key, `${formatAddress(own)} is where listen[${index}] takes mail`)
    }
  })
  if (config.console && reaches(config.console.address, config.http.address)) {
    taken('console', 'the same as http.address')
  }
  separateFolders(config, context)
}

/** One folder inside another: what one of them removes, or counts, is the other's. */
function separateFolders(config: Config, context: z.core.$RefinementCtx): void {
  const hints = {
    spool: 'leftovers in the spool are removed at start',
    quarantine: 'the quarantine counts and lists what is in its folder',
  }
  const folder = (key: 'spool' | 'quarantine' | 'ledger'): string =>
    `${config[key].directory.replace(/\/+$/, '')}/`
  const pairs = [
    ['quarantine', 'spool'],
    ['ledger', 'spool'],
    ['ledger', 'quarantine'],
  ] as const
  for (const [key, other] of pairs) {
    if (!folder(key).startsWith(folder(other)) && !folder(other).startsWith(folder(key))) continue
    context.addIssue({
      code: 'custom',
      path: [key, 'directory'],
      message: `expected a folder apart from ${other}.directory`,
      params: { hint: hints[other] },
    })
  }
}

/** A policy that names a scanner that is not there would let everything through unseen. */
export function knownScanners({ scanners, policy, policies }: Config, context: z.core.$RefinementCtx): void {
  const backups = new Map(scanners.flatMap(({ name, backupFor }) => (backupFor ? [[name, backupFor]] : [])))
  const names = new Set(scanners.flatMap(({ name, backupFor }) => (backupFor ? [] : [name])))
  const check = (wanted: readonly string[] | undefined, path: readonly (string | number)[]): void => {
    wanted?.forEach((name, index) => {
      if (names.has(name)) return
      const primaries = backups.get(name)
      if (primaries) {
        const message = `${name} is a backup: it goes with what it stands in for`
        const hint = `name ${primaries.join(', ').slice(0, 200)}`
        return context.addIssue({ code: 'custom', path: [...path, index], message, params: { hint } })
      }
      const message = `no scanner has the name ${name.slice(0, 60)}`
      const hint = names.size === 0 ? 'there are no scanners' : `there are: ${[...names].join(', ')}`
      context.addIssue({ code: 'custom', path: [...path, index], message, params: { hint } })
    })
  }
  check(policy.scanners, ['policy', 'scanners'])
  policies.forEach((overlay, index) => {
    check(overlay.policy.scanners, ['policies', index, 'policy', 'scanners'])
  })
}

/** A condition about a place where no mail comes in never holds. */
export function knownListeners({ listen, policies }: Config, context: z.core.$RefinementCtx): void {
  const known = new Set(listen.map(({ address }) => formatAddress(address)))
  policies.forEach(({ when }, index) => {
    when.listeners?.forEach((listener, place) => {
      if (known.has(listener)) return
      context.addIssue({
        code: 'custom',
        path: ['policies', index, 'when', 'listeners', place],
        message: 'is no address of listen',
        params: { hint: `there are: ${[...known].join(', ')}` },
      })
    })
  })
}

/** Whether who connects to the one may come out at the other. Port 0 is a free port: never the same. */
function reaches(target: Address, listener: Address): boolean {
  if ('path' in target || 'path' in listener) return formatAddress(target) === formatAddress(listener)
  if (target.port !== listener.port || target.port === 0) return false
  const local = /^(?:127\.|::1$|localhost$|0\.0\.0\.0$|::$)/
  if (!local.test(target.host)) return target.host === listener.host
  return (
    target.host === listener.host ||
    ['0.0.0.0', '::'].includes(listener.host) ||
    ['0.0.0.0', '::'].includes(target.host)
  )
}

/** A list that is not remembered for a day would be sent again after a restart. */
export function digestsRemembered(
  { notices, ledger }: Pick<Config, 'notices' | 'ledger'>,
  context: z.core.$RefinementCtx,
): void {
  if (!notices.recipients || ledger.ttl >= 86_400_000) return
  const params = { hint: 'write ledger: { ttl: 2d }, or notices: { recipients: false }' }
  const message = 'expected at least 1d with notices.recipients'
  context.addIssue({ code: 'custom', path: ['ledger', 'ttl'], message, params })
}
