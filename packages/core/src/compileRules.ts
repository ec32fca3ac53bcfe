import { addressListInSteps, compileAddressList, type AddressList } from './addressList.ts'
import type { ListFiles } from './configuredLists.ts'
import { FILE_PREFIX } from './configLists.ts'
import type { Config } from './config.ts'
import { FilterError } from './errors.ts'
import type { ListEntry } from './listEntry.ts'
import { compileNetworkList, networkListInSteps, type NetworkList } from './networkIndex.ts'
import { patternPool, type PatternPool } from './pattern.ts'
import { localDomains } from './policy.ts'
import { leadingCondition, PolicyRules, type Entries, type PolicyRule } from './policyRules.ts'
import { createRules, type Rules } from './rules.ts'
import { SenderLists, type SenderRule } from './senderLists.ts'
import { finish, LISTS_OF_STEP, type Steps } from './steps.ts'

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
  return finish(rulesInSteps(config, files))
}

/** As {@link compileRules}, for use while mail runs. */
export function* rulesInSteps(config: RuleConfig, files: ListFiles): Steps<Rules> {
  const lists = new ListCompiler(files)
  const { recipientDelimiter, authservIds, softBounce } = config
  const own = yield* lists.networks(config.networks, 'networks', false)
  const policies: PolicyRule[] = []
  for (const [index, policy] of config.policies.entries()) {
    policies.push(yield* policyRule(policy, `policies[${index}].when`, lists))
    if (index % LISTS_OF_STEP === LISTS_OF_STEP - 1) yield
  }
  const senders: SenderRule[] = []
  for (const [index, rule] of config.senders.entries()) {
    senders.push(senderRule(rule, `senders[${index}]`, lists))
    if (index % LISTS_OF_STEP === LISTS_OF_STEP - 1) yield
  }
  return createRules({
    isLocal: localDomains(config.localDomains),
    own,
    recipientDelimiter,
    authservIds,
    softBounce,
    policies: yield* PolicyRules.compile(config.policy, policies, lists.patterns),
    senders: yield* SenderLists.compile(senders, lists.patterns),
  })
}

function* policyRule(
  { name, when, policy }: Config['policies'][number],
  path: string,
  lists: ListCompiler,
): Steps<PolicyRule> {
  const { originating, listeners, clients, senders, recipients } = when
  const leading = leadingCondition(when)
  return {
    name,
    policy,
    when: {
      ...(originating !== undefined && { originating }),
      ...(listeners && { listeners: new Set(listeners) }),
      ...(clients && { clients: yield* lists.networks(clients, `${path}.clients`, leading === 'clients') }),
      ...(senders && { senders: yield* lists.addresses(senders, `${path}.senders`, leading === 'senders') }),
      ...(recipients && { recipients: yield* lists.addresses(recipients, `${path}.recipients`, true) }),
    },
  }
}

function senderRule(rule: Config['senders'][number], path: string, lists: ListCompiler): SenderRule {
  const { senders, recipients, ...rest } = rule
  return {
    ...rest,
    senders: lists.entries(senders, `${path}.senders`),
    ...(recipients && { recipients: lists.entries(recipients, `${path}.recipients`) }),
  }
}

/** Compiles lists that share their regular expressions. */
class ListCompiler {
  readonly patterns: PatternPool = patternPool()
  readonly #files: ListFiles

  constructor(files: ListFiles) {
    this.#files = files
  }

  /** @param indexed whether messages ask an index that this list goes into; then only people ask the list itself */
  *addresses(texts: readonly string[], path: string, indexed: boolean): Steps<AddressList & Entries> {
    const { patterns } = this
    const entries = this.entries(texts, path)
    const list = indexed
      ? asked(() => compileAddressList(entries, { patterns }))
      : yield* addressListInSteps(entries, { patterns })
    return { ...list, entries }
  }

  /** @param indexed see {@link addresses} */
  *networks(texts: readonly string[], path: string, indexed: boolean): Steps<NetworkList & Entries> {
    const entries = this.entries(texts, path)
    const list = indexed ? asked(() => compileNetworkList(entries)) : yield* networkListInSteps(entries)
    return { ...list, entries }
  }

  /** The entries of a list, with those of the files it names in their place. */
  entries(texts: readonly string[], path: string): readonly ListEntry[] {
    const parts = texts.map((text, index): readonly ListEntry[] => {
      if (!text.startsWith(FILE_PREFIX)) return [new WrittenEntry(text, path, index)]
      const entries = this.#files.get(text)
      if (!entries) throw new FilterError('E_CONFIG', `${path}[${index}]: ${text} has not been read`)
      return entries
    })
    return parts.length === 1 ? (parts[0] ?? []) : parts.flat()
  }
}

/** A list that is compiled when somebody asks it. */
function asked<A, M>(
  compile: () => { readonly match: (question: A) => M },
): {
  readonly match: (question: A) => M
} {
  let list: ReturnType<typeof compile> | undefined
  return { match: (question) => (list ??= compile()).match(question) }
}

/** An entry of the configuration itself. There are many, and their paths are long: written out when one is told. */
class WrittenEntry implements ListEntry {
  readonly text: string
  // Plain fields: those with # take more memory.
  private readonly list: string
  private readonly index: number

  constructor(text: string, list: string, index: number) {
    this.text = text
    this.list = list
    this.index = index
  }

  get place(): { readonly path: string } {
    return { path: `${this.list}[${this.index}]` }
  }
}
