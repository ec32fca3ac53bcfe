import { isDeepStrictEqual } from 'node:util'
import type { Config } from '@ecluse/core'

/** What a new configuration changes. Names in the order of the schema. */
export interface ConfigChanges {
  /** Top-level keys of which something is put in force at once. */
  readonly applied: readonly string[]
  /** Keys whose old value stays until a restart: `listen`, `limits.messageSize`. */
  readonly needRestart: readonly string[]
}

/** Keys that are put in force while mail runs. What is not here needs a restart. */
const RELOADED: ReadonlySet<string> = new Set([
  'scanners',
  'localDomains',
  'networks',
  'policy',
  'policies',
  'senders',
  'recipientDelimiter',
  'authservIds',
  'softBounce',
  'alertHeader',
  'cache.maxEntries',
  'cache.maxBytes',
  'cache.cleanTtl',
  'cache.infectedTtl',
  'cache.spamTtl',
  'limits.concurrency',
  'limits.spoolBytes',
  'limits.deadline',
  'limits.scanFailures',
  'limits.drain',
  'log.level',
])
/** Sections of which each key is on its own. */
const SPLIT = ['cache', 'limits', 'log', 'quarantine'] as const

/**
 * Compares values, not how they are written.
 *
 * @param started what the daemon was started with
 * @param inForce what was last put in force
 */
export function configChanges(
  { started, inForce }: { readonly started: Config; readonly inForce: Config },
  next: Config,
): ConfigChanges {
  // Chosen before they are compared: lists are long.
  const applied = changedKeys(inForce, next, (key) => RELOADED.has(key))
  return {
    applied: [...new Set(applied.map((key) => key.split('.', 1)[0] ?? key))],
    needRestart: changedKeys(started, next, (key) => !RELOADED.has(key)),
  }
}

function changedKeys(before: Config, after: Config, isAsked: (key: string) => boolean): string[] {
  const [old, fresh] = [flatten(before), flatten(after)]
  const keys = new Set([...fresh.keys(), ...old.keys()])
  return [...keys].filter((key) => isAsked(key) && !isDeepStrictEqual(old.get(key), fresh.get(key)))
}

/** Top-level keys, and `section.key` of the sections that are split. */
function flatten(config: Config): Map<string, unknown> {
  const isSplit = (key: string): key is (typeof SPLIT)[number] => SPLIT.some((name) => name === key)
  const entries = Object.entries(config).flatMap(([key, value]) =>
    isSplit(key)
      ? Object.entries(config[key]).map(([name, inner]): [string, unknown] => [`${key}.${name}`, inner])
      : [[key, value] as [string, unknown]],
  )
  return new Map(entries)
}
