import { hash } from 'node:crypto'
import {
  addressedBy,
  authenticatedAs,
  foreignTrace,
  relayPath,
  type ScanRequest,
  type VerdictInput,
  type VerdictMemory,
} from '@ecluse/core'

/** Whose verdicts they are. */
export interface VerdictSource {
  /** Its name in the configuration: of letters, digits, `-` and `_`. */
  readonly scanner: string
  /** What its engine is and has loaded; any text. */
  readonly version: string
  readonly memory: VerdictMemory
}

/** Where the verdict on one message is remembered. */
export interface VerdictPlace {
  /** `ecluse:v1:SCANNER:VERSION:OPTIONS:DIGEST`, of letters, digits, `:`, `-` and `_`, at most 220 characters. */
  readonly key: string
  /** Digest of the trace fields that were not written by our own Postfix. */
  trace(): string
}

const PREFIX = 'ecluse:v1'

/**
 * Everything that the answer depends on is in the key, so that whatever changes leads to another place, and nothing has
 * to be removed. DIGEST is that of `Message.content`; for a scanner that is told more, a digest of that follows.
 *
 * @returns absent: the message has no digest of its content
 */
export function verdictPlace(source: VerdictSource, request: ScanRequest): VerdictPlace | undefined {
  const content = request.message.content?.()
  if (!content) return undefined
  const { scanner, version, memory } = source
  const told = memory.inputs.flatMap((input) => (input === 'content' ? [] : TOLD[input](request)))
  const place = `${PREFIX}:${scanner}:${shortDigest(version)}:${shortDigest(memory.settings)}:${content.digest}`
  return {
    key: told.length === 0 ? place : `${place}-${digest(JSON.stringify([memory.inputs, told]))}`,
    trace: () => digest(foreignTrace(content.trace)),
  }
}

/** What a scanner may be told, each in a form that cannot be mistaken for another one. */
const TOLD: Readonly<Record<Exclude<VerdictInput, 'content'>, (request: ScanRequest) => readonly unknown[]>> =
  {
    client({ envelope: { client }, message }) {
      const trace = message.content?.().trace ?? []
      const { address = null, name = null, helo = null, protocol = null } = client
      // Of a client that XFORWARD does not tell of, the Received fields do.
      const way = address === null ? relayPath(trace) : null
      return [address, name, helo, protocol, authenticatedAs(trace), addressedBy(trace), way]
    },
    sender: ({ envelope }) => [envelope.mailFrom],
    recipients: ({ envelope }) => [envelope.recipients.map(({ address }) => address)],
    hostname: ({ hostname }) => [hostname],
  }

function digest(text: string): string {
  return hash('sha256', text, 'hex')
}

/** Of what is not chosen by who sends mail. Kept: each message asks for the same few. */
function shortDigest(text: string): string {
  let known = shortDigests.get(text)
  if (known === undefined) {
    known = digest(text).slice(0, 24)
    if (shortDigests.size >= MAX_SHORT_DIGESTS) shortDigests.clear()
    shortDigests.set(text, known)
  }
  return known
}

const MAX_SHORT_DIGESTS = 1000
const shortDigests = new Map<string, string>()
