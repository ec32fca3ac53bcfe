import {
  parseNetwork,
  readNetworkText,
  type Config,
  type KeyPath,
  type ListFiles,
  type PolicyConfig,
  type PolicyOverlay,
  type ScannerKind,
  type SenderConfig,
} from '@ecluse/core'
import { firstOf, type Warning } from './warning.ts'

/** What warnings about rules are made from. */
export interface RuleFacts {
  readonly config: Config
  readonly kinds: readonly ScannerKind[]
  readonly files: ListFiles
}

/** Rules that never apply, or leave no trace. Time is linear in all rules and entries together. */
export function ruleWarnings({ config, kinds, files }: RuleFacts): Warning[] {
  return [
    ...firstOf(emptyOverlays(config)),
    ...firstOf(overwrittenOverlays(config.policies)),
    ...firstOf(impossibleOrigins(config, files)),
    ...firstOf(overruledSenders(config.senders, files)),
    ...firstOf(unprovenSenders(config, kinds)),
  ]
}

/** `destiny.spam` and the like: sections are merged key by key. */
function keysOf(overlay: PolicyOverlay): string[] {
  return Object.entries(overlay).flatMap(([key, value]) =>
    typeof value === 'object' && !Array.isArray(value)
      ? Object.keys(value).map((name) => `${key}.${name}`)
      : [key],
  )
}

function emptyOverlays({ policies }: Config): Warning[] {
  return policies.flatMap(({ policy }, index) =>
    keysOf(policy).length > 0
      ? []
      : [
          {
            path: ['policies', index, 'policy'],
            message: 'has no keys: it changes nothing',
            hint: 'remove it',
          },
        ],
  )
}

/**
 * An overlay is overwritten where each of its keys is set by a later one that applies whenever it does: with the same
 * conditions, or some of them. Conditions become numbers, so that each overlay asks for at most 32 combinations.
 */
function overwrittenOverlays(policies: readonly PolicyConfig[]): Warning[] {
  const numbers = new Map<string, number>()
  const conditionsOf = ({ when }: PolicyConfig): number[] =>
    Object.entries(when).map(([name, value]) => {
      const key = JSON.stringify([name, typeof value === 'boolean' ? value : [...value].toSorted()])
      const number = numbers.get(key) ?? numbers.size
      numbers.set(key, number)
      return number
    })
  const later = new Map<string, number>()
  const found: Warning[] = []
  for (const [index, policy] of [...policies.entries()].toReversed()) {
    const conditions = conditionsOf(policy).toSorted((a, b) => a - b)
    const keys = keysOf(policy.policy)
    const whole = conditions.join(' ')
    const masters = keys.map((key) =>
      subsetsOf(conditions)
        .map((some) => later.get(`${some.join(' ')}:${key}`))
        .find((master) => master !== undefined),
    )
    if (masters.length > 0 && masters.every((master) => master !== undefined)) {
      found.push(overwritten(policies, index, [...new Set(masters)] as number[]))
    }
    for (const key of keys) later.set(`${whole}:${key}`, index)
  }
  return found.toReversed()
}

function overwritten(policies: readonly PolicyConfig[], index: number, masters: readonly number[]): Warning {
  const names = masters.map((master) => policies[master]?.name ?? '').join(', ')
  return {
    path: ['policies', index, 'policy'],
    message: `nothing is left of it: ${names}, further down, always applies too and sets the same keys`,
    hint: 'of several policies the last one wins: put the exception below the rule',
  }
}

/** All of them, and with fewer: at most 32 of five conditions. */
function subsetsOf(conditions: readonly number[]): number[][] {
  return conditions.reduce<number[][]>((sets, one) => [...sets, ...sets.map((set) => [...set, one])], [[]])
}

function impossibleOrigins({ policies, networks }: Config, files: ListFiles): Warning[] {
  const ours = new NetworkCover(networks)
  return policies.flatMap(({ when: { originating, clients } }, index): Warning[] => {
    if (originating === undefined || !clients) return []
    const keys = clients
      .flatMap((text) => files.get(text)?.map((entry) => entry.text) ?? [text])
      .filter((text) => !text.startsWith('!'))
      .map((text) => readNetworkText(text).key)
    const path = ['policies', index, 'when', 'originating']
    const hint = 'take one of the conditions out'
    if (keys.length === 0) return []
    if (!originating && keys.every((key) => ours.holds(key))) {
      return [{ path, message: 'never holds beside clients: they are all in networks', hint }]
    }
    if (originating && !keys.some((key) => ours.touches(key))) {
      return [{ path, message: 'never holds beside clients: none of them is in networks', hint }]
    }
    return []
  })
}

/** Whether networks are in others; by the bits of their prefixes. */
class NetworkCover {
  readonly #keys: readonly string[]
  readonly #known: ReadonlySet<string>

  constructor(networks: readonly string[]) {
    this.#keys = networks.map((text) => readNetworkText(parseNetwork(text)).key).toSorted()
    this.#known = new Set(this.#keys)
  }

  /** Whether all of the network is in one of them. */
  holds(key: string): boolean {
    return Array.from({ length: key.length }, (_, index) => key.slice(0, index + 1)).some((prefix) =>
      this.#known.has(prefix),
    )
  }

  /** Whether any address of the network is in one of them. */
  touches(key: string): boolean {
    return this.holds(key) || (this.#keys[this.#firstFrom(key)]?.startsWith(key) ?? false)
  }

  #firstFrom(key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#keys[middle] ?? '') < key) low = middle + 1
      else high = middle
    }
    return low
  }
}

/**
 * A rule that allows or blocks is overruled where each of its senders stands in a later rule that always counts, for
 * all recipients or for the same ones.
 */
function overruledSenders(senders: readonly SenderConfig[], files: ListFiles): Warning[] {
  // The last rule that an entry stands in, for each list of recipients; '' for all.
  const always = new Map<string, number>()
  const proved = new Map<string, number>()
  const found: Warning[] = []
  for (const [index, rule] of [...senders.entries()].toReversed()) {
    const { action, unauthenticated } = rule
    if (action === undefined) continue
    const texts = rule.senders.flatMap((text) => files.get(text)?.map((entry) => entry.text) ?? [text])
    const wanted = texts.filter((text) => !text.startsWith('!'))
    const recipients = rule.recipients ? JSON.stringify([...rule.recipients].toSorted()) : ''
    const needsProof = action === 'allow' && !unauthenticated
    const masters = wanted.map((text) =>
      [`:${text}`, `${recipients}:${text}`]
        .map((key) => always.get(key) ?? (needsProof ? proved.get(key) : undefined))
        .find((master) => master !== undefined),
    )
    if (masters.length > 0 && masters.every((master) => master !== undefined)) {
      found.push(overruled(index, [...new Set(masters)] as number[]))
    }
    // An exception may be more specific than what stands in another rule.
    if (wanted.length < texts.length) continue
    for (const text of wanted) (needsProof ? proved : always).set(`${recipients}:${text}`, index)
  }
  return found.toReversed()
}

function overruled(index: number, masters: readonly number[]): Warning {
  const names = masters.slice(0, 3).map((master) => `senders[${master}]`)
  const path: KeyPath = ['senders', index, 'action']
  return {
    path,
    message: `never decides: ${names.join(', ')}, further down, has the same senders`,
    hint: 'the last one wins: put the exception below the rule',
  }
}

function unprovenSenders(
  { senders, scanners, authservIds }: Config,
  kinds: readonly ScannerKind[],
): Warning[] {
  const proving = new Set(kinds.filter(({ proves }) => proves).map(({ kind }) => kind))
  if (authservIds.length > 0 || scanners.some(({ kind }) => proving.has(kind))) return []
  const names = [...proving].join(' or ')
  return senders.flatMap(({ action, unauthenticated }, index) =>
    action !== 'allow' || unauthenticated
      ? []
      : [
          {
            path: ['senders', index, 'action'],
            message: 'never counts: nothing proves who the sender is',
            hint: `add a scanner of kind ${names}, name the authserv-id of our own checks in authservIds, or write unauthenticated: true`,
          },
        ],
  )
}
