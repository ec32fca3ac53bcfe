import { settingOf, wordsOf } from './postfixConfig.ts'
import { allInNetworks, type Membership } from './postfixNetworks.ts'
import type { PostfixConfig, PostfixService } from './postfixConfig.ts'

/** What smtpd(8) asks of each mail, in this order. */
const LISTS = ['client', 'helo', 'sender', 'relay', 'recipient', 'data', 'end_of_data'].map(
  (stage) => `smtpd_${stage}_restrictions`,
)

/** What a list of restrictions does with a client that we know the address of. */
type Ruling =
  | { readonly outcome: 'passes' }
  /** By which word. */
  | { readonly outcome: 'refused'; readonly word: string }
  /** A table, a policy server or a class decides. */
  | { readonly outcome: 'open'; readonly word: string }

/** The same, with the list; the first that refuses, else the first that is open, else passes. */
export type ServiceRuling = Ruling & { readonly list?: string }

/** What all lists of an smtpd service come to for mail from these addresses (postconf(5)), whoever it is for. */
export function judgeClient(
  postfix: PostfixConfig,
  service: PostfixService,
  addresses: readonly string[],
): ServiceRuling {
  const own = allInNetworks(settingOf(postfix, 'mynetworks', service), addresses)
  const rulings = LISTS.map((list) => ({ list, ...judgeList(settingOf(postfix, list, service), own) }))
  return (
    rulings.find(({ outcome }) => outcome === 'refused') ??
    rulings.find(({ outcome }) => outcome === 'open') ?? { outcome: 'passes' }
  )
}

/** Whether one list refuses everybody who is not in these networks. */
export function refusesOthers(postfix: PostfixConfig, service: PostfixService, other: string): boolean {
  const own = allInNetworks(settingOf(postfix, 'mynetworks', service), [other])
  return LISTS.some((list) => {
    const ruling = judgeList(settingOf(postfix, list, service), own)
    // What is refused for the sake of a recipient or a name is not everything.
    return ruling.outcome === 'refused' && (ruling.word === 'reject' || ruling.word === 'defer')
  })
}

/** Reads a list up to the first word that decides. */
function judgeList(list: string | undefined, own: Membership): Ruling {
  const words = wordsOf(list)
  let open: string | undefined
  for (let at = 0; at < words.length; at++) {
    const word = words[at]?.toLowerCase() ?? ''
    const effect = effectOf(word, own)
    if (effect === 'permits') break
    if (effect === 'refuses') return { outcome: 'refused', word }
    if (effect === 'open') open ??= word
    // Its table, or what it only warns of, follows.
    if (/^(?:check_|warn_if_reject$|sleep$)/.test(word)) at++
  }
  return open === undefined ? { outcome: 'passes' } : { outcome: 'open', word: open }
}

const PERMIT = new Set(['permit', 'permit_inet_interfaces'])
// Of refusals: we wait for the reply to EHLO before we pipeline.
const WITHOUT_EFFECT = new Set(['warn_if_reject', 'sleep', 'reject_unauth_pipelining'])

function effectOf(word: string, own: Membership): 'permits' | 'refuses' | 'open' | 'none' {
  if (PERMIT.has(word) || (word === 'permit_mynetworks' && own !== 'out')) return 'permits'
  if (WITHOUT_EFFECT.has(word) || word.startsWith('permit_')) return 'none'
  return /^(?:reject|defer)(?:_|$)/.test(word) ? 'refuses' : 'open'
}
