import {
  overlayPolicy,
  type Category,
  type Config,
  type KeyPath,
  type Policy,
  type PolicyOverlay,
} from '@ecluse/core'
import { firstOf, type Warning } from './warning.ts'

/** What the policy, and its overlays, do that nobody may want. */
export function policyWarnings(config: Config): Warning[] {
  const { policy, policies } = config
  return [
    ...deliveredViruses(policy, ['policy']),
    ...destinyWarnings(policy),
    ...limitWarnings(config),
    ...withoutExtensions(config, policy, ['policy']),
    ...firstOf(
      policies.flatMap(({ when, policy: overlay }, index) => {
        const path = ['policies', index, 'policy']
        return [
          ...(Object.keys(when).length === 0 ? deliveredViruses(overlay, path) : []),
          ...levelWarnings(policy, overlay, path),
          ...withoutExtensions(config, overlay, path),
        ]
      }),
    ),
  ]
}

/** For all recipients: that a few, such as those who collect samples, want them is what the keys are for. */
function deliveredViruses({ destiny, bypass, deliverAnyway }: PolicyOverlay, path: KeyPath): Warning[] {
  const warnings: Warning[] = []
  const except = 'use policies for those who want them'
  if (destiny?.virus === 'pass') {
    warnings.push({ path: [...path, 'destiny', 'virus'], message: 'viruses are delivered', hint: except })
  }
  if (bypass?.includes('virus')) {
    const message = 'no mail is looked at for viruses: they are delivered'
    warnings.push({ path: [...path, 'bypass'], message, hint: except })
  }
  if (deliverAnyway?.includes('virus')) {
    warnings.push({ path: [...path, 'deliverAnyway'], message: 'viruses are delivered', hint: except })
  }
  return warnings
}

function destinyWarnings(policy: Policy): Warning[] {
  return Object.entries(policy.destiny).flatMap(([category, destiny]): Warning[] => {
    const path = ['policy', 'destiny', category]
    if (destiny === 'discard' && category !== 'virus' && !policy.quarantine.includes(category as Category)) {
      const hint = `add ${category} to policy.quarantine`
      return [{ path, message: `${category} mail is discarded and no copy kept`, hint }]
    }
    if (destiny !== 'tempfail') return []
    const hint = 'Postfix tries for days, then sends it back to its sender'
    return [{ path, message: `${category} mail stays in the queue of Postfix`, hint }]
  })
}

function limitWarnings({ policy, policies, limits, quarantine, softBounce }: Config): Warning[] {
  const all = [policy, ...policies.map((overlay) => overlay.policy)]
  const kept = new Set(all.flatMap((each) => each.quarantine ?? []))
  const warnings = [...growthWarnings(kept, quarantine), ...rescanWarnings(all, quarantine)]
  if (softBounce) {
    warnings.push({
      path: ['softBounce'],
      message: 'mail that would be refused or discarded stays in the queue of Postfix',
      hint: 'take it out before maximal_queue_lifetime, 5 days, is over: then Postfix sends it back',
    })
  }
  if (policy.messageSize !== undefined && policy.messageSize > limits.messageSize) {
    warnings.push({
      path: ['policy', 'messageSize'],
      message: 'can never be reached: limits.messageSize is smaller',
      hint: 'remove it, or raise limits.messageSize',
    })
  }
  return warnings
}

/** Where nothing bounds what is kept. */
function growthWarnings(
  kept: ReadonlySet<Category>,
  { store, keep, maxSize }: Config['quarantine'],
): Warning[] {
  if (kept.size === 0 || maxSize !== undefined || store === 'mailbox') return []
  const path = ['quarantine', 'keep']
  if (keep === undefined) {
    return [
      { path, message: 'not set: the quarantine grows for ever', hint: 'write keep: 30d, or maxSize: 20GiB' },
    ]
  }
  const [endless] = [...kept].filter((category) => keep[category] === undefined)
  if (endless === undefined) return []
  const message = `does not name ${endless}: what is kept of it stays for ever`
  return [{ path, message, hint: `add ${endless}: 30d, or set quarantine.maxSize` }]
}

/** Where nothing is ever looked at again. */
function rescanWarnings(all: readonly PolicyOverlay[], { rescan }: Config['quarantine']): Warning[] {
  if (rescan !== 'unchecked') return []
  const path = ['quarantine', 'rescan']
  if (!all.some(({ quarantine }) => quarantine?.includes('unchecked'))) {
    return [
      {
        path,
        message: 'no effect: no copy is kept of unchecked mail',
        hint: 'add unchecked to policy.quarantine',
      },
    ]
  }
  if (all.some(({ destiny }) => destiny?.unchecked === 'discard')) return []
  const hint = 'set policy.destiny.unchecked: discard'
  return [{ path, message: 'no effect: unchecked mail is delivered, or its sender told', hint }]
}

const LEVELS = ['tagLevel', 'tag2Level', 'killLevel'] as const

/** The levels of the overlay, alone upon the policy, out of order. */
function levelWarnings(policy: Policy, overlay: PolicyOverlay, path: KeyPath): Warning[] {
  const merged = overlayPolicy(policy, overlay)
  return LEVELS.flatMap((level, index): Warning[] => {
    const below = LEVELS[index - 1]
    if (below === undefined || merged[level] >= merged[below]) return []
    const changed = overlay[level] === undefined ? below : level
    if (overlay[changed] === undefined) return []
    const [other, relation] = changed === level ? [below, 'below'] : [level, 'above']
    const message = `${merged[changed]} is ${relation} ${other}, ${merged[other]}`
    return [{ path: [...path, changed], message, hint: `set ${other} here too` }]
  })
}

function withoutExtensions({ recipientDelimiter }: Config, overlay: PolicyOverlay, path: KeyPath): Warning[] {
  const { addressExtension } = overlay
  if (recipientDelimiter !== '' || !addressExtension || Object.keys(addressExtension).length === 0) return []
  const hint = 'set recipientDelimiter as Postfix has it'
  return [{ path: [...path, 'addressExtension'], message: 'no effect: recipientDelimiter is ""', hint }]
}
