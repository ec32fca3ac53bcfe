import { readAddressEntry } from './addressEntry.ts'
import { compileAddressList, type AddressList } from './addressList.ts'
import { FILE_PREFIX } from './configLists.ts'
import type { Config } from './config.ts'
import { FilterError } from './errors.ts'
import type { ListEntry } from './listEntry.ts'
import { compileNetworkList, readNetworkEntry, type NetworkList } from './networkIndex.ts'
import { patternPool, type PatternPool } from './pattern.ts'
import { localDomains } from './policy.ts'
import { PolicyRules, type Entries, type PolicyRule } from './policyRules.ts'
import { createRules, type Rules } from './rules.ts'
import type { KeyPath } from './schemaWalk.ts'
import { SenderLists, type SenderRule } from './senderLists.ts'

/** What files of entries hold, by the text that names them in the configuration: `file:PATH`. */
export type ListFiles = ReadonlyMap<string, readonly ListEntry[]>

/** What rules are made from. */
export type RuleConfig = Pick<
  Config,
  | 'policy'
  | 'policies'
  | 'senders'
  | 'localDomains'
  | 'networks'
  | 'recipientDelimiter'
  | 'authservIds'
  | 'softBounce'
>

/**
 * Makes the rules of a configuration.
 *
 * @param files holds every file that the configuration names
 * @throws FilterError E_CONFIG with its place, or its path in the configuration, for an entry that cannot be read
 */
export function compileRules(config: RuleConfig, files: ListFiles): Rules {
  const lists = new ListCompiler(files)
  const { recipientDelimiter, authservIds, softBounce } = config
  return createRules({
    isLocal: localDomains(config.localDomains),
    own: lists.networks(config.networks, 'networks'),
    recipientDelimiter,
    authservIds,
    softBounce,
    policies: new PolicyRules(
      config.policy,
      config.policies.map((policy, index) => policyRule(policy, `policies[${index}].when`, lists)),
      lists.patterns,
    ),
    senders: new SenderLists(
      config.senders.map((rule, index) => senderRule(rule, `senders[${index}]`, lists)),
      lists.patterns,
    ),
  })
}

/** A file of entries, and where in the configuration it is named first. */
export interface NamedList {
  /** `file:PATH` */
  readonly name: string
  readonly path: KeyPath
}

/** The files that lists of a configuration name, each once. */
export function listFilesOf(config: ListedIn): NamedList[] {
  const named = new Map<string, NamedList>()
  for (const { texts, path } of listsOf(config)) {
    for (const [index, name] of texts.entries()) {
      if (name.startsWith(FILE_PREFIX) && !named.has(name)) named.set(name, { name, path: [...path, index] })
    }
  }
  return [...named.values()]
}

/** Errors that are told of one file; the others are probably of the same kind. */
const FILE_ERRORS = 20

/** What is wrong with single entries of files: the first 20 of each, in the order of files and lines. Empty: nothing. */
export function listFileErrors(config: ListedIn, files: ListFiles): FilterError[] {
  const seen = new Set<string>()
  return [...listsOf(config)].flatMap(({ texts, clients }) =>
    texts.flatMap((name) => {
      const use = `${clients} ${name}`
      if (!name.startsWith(FILE_PREFIX) || seen.has(use)) return []
      seen.add(use)
      return entryErrors(files.get(name) ?? [], clients)
    }),
  )
}

function entryErrors(entries: readonly ListEntry[], clients: boolean): FilterError[] {
  const errors: FilterError[] = []
  for (const entry of entries) {
    try {
      if (clients) readNetworkEntry(entry)
      else readAddressEntry(entry, patternPool())
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      errors.push(error)
      if (errors.length === FILE_ERRORS) break
    }
  }
  return errors
}

type ListedIn = Pick<Config, 'policies' | 'senders'>

interface List {
  readonly texts: readonly string[]
  readonly path: KeyPath
  /** Whether it has networks, or else addresses. */
  readonly clients: boolean
}

function* listsOf({ policies, senders }: ListedIn): Iterable<List> {
  for (const [index, { when }] of policies.entries()) {
    for (const condition of ['clients', 'senders', 'recipients'] as const) {
      const texts = when[condition]
      const path = ['policies', index, 'when', condition]
      if (texts) yield { texts, path, clients: condition === 'clients' }
    }
  }
  for (const [index, rule] of senders.entries()) {
    yield { texts: rule.senders, path: ['senders', index, 'senders'], clients: false }
    if (rule.recipients) {
      yield { texts: rule.recipients, path: ['senders', index, 'recipients'], clients: false }
    }
  }
}

function policyRule(
  { name, when, policy }: Config['policies'][number],
  path: string,
  lists: ListCompiler,
): PolicyRule {
  const { originating, listeners, clients, senders, recipients } = when
  return {
    name,
    policy,
    when: {
      ...(originating !== undefined && { originating }),
      ...(listeners && { listeners: new Set(listeners) }),
      ...(clients && { clients: lists.networks(clients, `${path}.clients`) }),
      ...(senders && { senders: lists.addresses(senders, `${path}.senders`) }),
      ...(recipients && { recipients: lists.addresses(recipients, `${path}.recipients`) }),
    },
  }
}

function senderRule(rule: Config['senders'][number], path: string, lists: ListCompiler): SenderRule {
  const { senders, recipients, ...rest } = rule
  return {
    ...rest,
    senders: lists.entries(senders, `${path}.senders`),
    ...(recipients && { recipients: lists.addresses(recipients, `${path}.recipients`) }),
  }
}

/** Compiles lists that share their regular expressions. */
class ListCompiler {
  readonly patterns: PatternPool = patternPool()
  readonly #files: ListFiles

  constructor(files: ListFiles) {
    this.#files = files
  }

  addresses(texts: readonly string[], path: string): AddressList & Entries {
    const entries = this.entries(texts, path)
    return { ...compileAddressList(entries, { patterns: this.patterns }), entries }
  }

  networks(texts: readonly string[], path: string): NetworkList & Entries {
    const entries = this.entries(texts, path)
    return { ...compileNetworkList(entries), entries }
  }

  /** The entries of a list, with those of the files it names in their place. */
  entries(texts: readonly string[], path: string): ListEntry[] {
    return texts.flatMap((text, index): readonly ListEntry[] => {
      if (!text.startsWith(FILE_PREFIX)) return [{ text, place: { path: `${path}[${index}]` } }]
      const entries = this.#files.get(text)
      if (!entries) throw new FilterError('E_CONFIG', `${path}[${index}]: ${text} has not been read`)
      return entries
    })
  }
}
