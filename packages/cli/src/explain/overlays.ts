import {
  policyChanges,
  type Config,
  type ConditionResult,
  type MailRules,
  type Policy,
  type PolicyLayer,
  type Rules,
} from '@ecluse/core'
import type { ExplainedCondition, ExplainedOverlay } from './explanation.ts'
import type { Places } from './places.ts'

/** What overlays are explained with. */
export interface OverlayContext {
  readonly config: Pick<Config, 'policies'>
  readonly rules: Pick<Rules, 'policies'>
  readonly mail: Pick<MailRules, 'facts' | 'overlaysFor' | 'conditionsFor'>
  readonly places: Places
  /** Whether overlays of which no condition holds are told too. */
  readonly all: boolean
}

/** The overlays that one recipient is told about, in their order, and how many there are beside them. */
export function overlaysOf(
  recipient: string,
  context: OverlayContext,
): { readonly overlays: readonly ExplainedOverlay[]; readonly leftOut: number } {
  const { rules, mail, all } = context
  const layers = new Map(
    rules.policies.layersOf(mail.overlaysFor(recipient)).map((layer) => [layer.number, layer]),
  )
  const overlays: ExplainedOverlay[] = []
  const conditionsOf = mail.conditionsFor(recipient)
  let below = rules.policies.base
  for (const number of rules.policies.rules.keys()) {
    const results = conditionsOf(number)
    const layer = layers.get(number)
    if (!layer && !all && !results.some(({ holds }) => holds)) continue
    overlays.push(overlayOf(number, { results, layer, below }, context))
    below = layer?.policy ?? below
  }
  return { overlays, leftOut: rules.policies.rules.length - overlays.length }
}

interface Outcome {
  readonly results: readonly ConditionResult[]
  /** Absent: it does not apply. */
  readonly layer: PolicyLayer | undefined
  readonly below: Policy
}

function overlayOf(
  number: number,
  { results, layer, below }: Outcome,
  { rules, mail, config, places }: OverlayContext,
): ExplainedOverlay {
  const rule = rules.policies.rules[number]
  const path = `policies[${number}]`
  const condition = ({ condition: name, holds, match }: ConditionResult): ExplainedCondition => {
    const listener = config.policies[number]?.when.listeners?.indexOf(mail.facts.listener) ?? -1
    const index = name === 'listeners' && listener !== -1 ? `[${listener}]` : ''
    return {
      condition: name,
      holds,
      ...(name === 'originating' && { wanted: rule?.when.originating === true }),
      ...(match && { match: places.entry(match) }),
      place: places.of(`${path}.when.${name}${index}`),
    }
  }
  const changes = layer && rule ? policyChanges(below, rule.policy) : []
  return {
    number,
    name: rule?.name ?? '',
    place: places.of(path),
    applies: layer !== undefined,
    conditions: results.map(condition),
    changes: changes.map((change) => ({ ...change, place: places.of(`${path}.policy.${change.key}`) })),
  }
}
