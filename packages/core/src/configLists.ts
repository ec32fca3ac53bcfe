import { z } from 'zod'
import { overlaySection, refuseBounces } from './configPolicy.ts'
import { formatAddress } from './address.ts'
import { readAddressText } from './addressEntry.ts'
import { FilterError } from './errors.ts'
import { readNetworkText } from './networkIndex.ts'
import { patternPool } from './pattern.ts'
import { LIST_ACTIONS } from './senderLists.ts'
import { address, choice, flag, list, points, section } from './schema.ts'

/** What an entry of a list begins with when it names a file of entries. */
export const FILE_PREFIX = 'file:'

/** Names of policies stand in the output of `explain`. */
const POLICY_NAME = 'expected 1–60 letters, digits, dots, hyphens or underscores'

/** `policies`. */
export function policyList() {
  const entry = section('An overlay of the policy.', {
    name: z
      .string({ error: POLICY_NAME })
      .regex(/^[A-Za-z0-9._-]{1,60}$/, { error: POLICY_NAME })
      .meta({ description: 'Its name, unlike the others.', notation: 'name' }),
    when: section('For what: every condition that is given must hold, of a list any entry.', {
      originating: flag('Whether mail is from our own clients.').exactOptional(),
      listeners: list('Addresses of `listen` where it came in.', listenerAddress(), {
        min: 1,
      }).exactOptional(),
      clients: list('Clients that gave it to Postfix: networks, or file:PATH.', networkEntry(), {
        min: 1,
      }).exactOptional(),
      senders: list('Senders of the envelope: see recipients; <> is the null sender.', addressEntry(), {
        min: 1,
        max: MAX_ENTRIES,
      }).exactOptional(),
      recipients: list(
        'user@example.org, user@, example.org, .example.org with all below, /regex/, !exception or file:PATH.',
        addressEntry(),
        { min: 1, max: MAX_ENTRIES },
      ).exactOptional(),
    }),
    policy: overlaySection(),
  }).superRefine(({ when, policy }, context) => {
    // Whoever is meant by the other conditions: senders are forged, and recipients are written to by everybody.
    const ours = when.originating === true
    refuseBounces(policy.destiny, { context, path: ['policy', 'destiny'], ours })
  })
  return list('Overlays of the policy, in order: a later one wins, key by key.', entry, { max: MAX_RULES })
}

/** `senders`. */
export function senderList() {
  const entry = section('Senders that are let through, blocked, or scored.', {
    action: choice('allow: never spam; block: always spam.', LIST_ACTIONS).exactOptional(),
    score: points('Points to add, in place of an action.').exactOptional(),
    senders: list('Senders, of the envelope or in From: see `recipients` of policies.', addressEntry(), {
      min: 1,
      max: MAX_ENTRIES,
    }),
    recipients: list('For whom; absent: for all.', addressEntry(), {
      min: 1,
      max: MAX_ENTRIES,
    }).exactOptional(),
    unauthenticated: flag(
      'Whether to allow also who is not proved to be the sender by DKIM, SPF or DMARC.',
    ).prefault(false),
  }).superRefine(({ action, score, unauthenticated }, context) => {
    const issue = (path: string[], message: string, hint: string): void =>
      context.addIssue({ code: 'custom', path, message, params: { hint } })
    if (action === undefined && score === undefined) {
      issue([], 'needs action or score', 'write action: allow, action: block, or score: -5')
    }
    if (action !== undefined && score !== undefined) {
      issue(['score'], 'not beside action', 'an allowed or blocked sender has its points')
    }
    if (unauthenticated && action !== 'allow') {
      issue(['unauthenticated'], 'only for action: allow', 'remove it')
    }
  })
  return list('Lists of senders, in order: the last one that allows or blocks decides.', entry, {
    max: MAX_RULES,
  })
}

const MAX_RULES = 100_000
const MAX_ENTRIES = 100_000

function listenerAddress() {
  return address('Address.').transform(formatAddress).meta({ description: 'Address.', notation: 'address' })
}

function addressEntry() {
  return entryOf('Entry.', 'address list entry', (text) => readAddressText(text, patternPool()))
}

function networkEntry() {
  return entryOf('Network.', 'network', readNetworkText)
}

/** Text that a parser, or the name of a file, has to accept; it stays text. */
function entryOf(description: string, notation: string, parse: (text: string) => unknown) {
  return z
    .string({ error: 'expected text; put what begins with * or ! or @ in quotes' })
    .superRefine((text, context) => {
      try {
        if (text.startsWith(FILE_PREFIX)) {
          // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
          if (/^file:[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$/.test(text)) return
          throw new FilterError('E_CONFIG', 'expected file: and a path', {
            hint: 'write file:/etc/ecluse/NAME',
          })
        }
        parse(text)
      } catch (cause) {
        if (!(cause instanceof FilterError)) throw cause
        context.addIssue({
          code: 'custom',
          message: cause.message,
          ...(cause.hint !== undefined && { params: { hint: cause.hint } }),
        })
      }
    })
    .meta({ description, notation })
}
