import type { Address, LoadedSignatures } from '@ecluse/core'
import { clamdFiles, type ClamdFiles } from './clamdDatabase.ts'
import type { ClamdSessions } from './clamdSession.ts'
import { exchange } from './exchange.ts'
import { protocolError } from './failure.ts'

/** Whose files are calm: its version says the rest. */
export const BRIEF_QUESTION = Buffer.from('zVERSION\0')
/** In one connection and one write: what clamd is, and how much memory its signatures take. */
const FULL_QUESTION = Buffer.from('zIDSESSION\0zVERSION\0zSTATS\0zEND\0')
const MAX_REPLY_BYTES = 256 * 1024
/** After a change, clamd has loaded it: its own SelfCheck looks every 10 minutes, and loading takes some. */
const SETTLED_MS = 15 * 60_000
/** Of the time at which a process started: what changed within it may have been loaded, or not. */
const START_MARGIN_MS = 1000

/** What clamd says of itself. */
export interface ClamdWords {
  /** `ClamAV 1.4.3/27500/…`, the signatures that it works with; without official ones, `ClamAV 1.4.3`. */
  readonly version: string
  /** Memory that its signatures take, to 1 KiB; absent: not asked, or not told. */
  readonly memory?: string
}

/**
 * Asks clamd what it has loaded. VERSION tells which official signatures work; others show in their files, where those can
 * be seen, and mostly in the memory that clamd has for signatures. A changed file is not loaded yet: until clamd says
 * another version or amount, was started later, or 15 minutes are over, its answers are those of before or of after.
 *
 * @param sessions where the brief question is asked, when clamd knows them
 * @param directory of its signatures; absent: they are looked for on this host
 */
export function clamdLoaded(
  address: Address,
  sessions: ClamdSessions,
  directory?: string,
): (signal: AbortSignal) => Promise<LoadedSignatures> {
  const look = clamdFiles(address, directory)
  const howSettled = settling(Date.now)
  let calm: string | undefined
  return async (signal) => {
    const ask = async (head: Buffer): Promise<ClamdWords> => {
      const brief = head === BRIEF_QUESTION && sessions.known
      const reply = brief ? await sessions.ask([head], signal) : undefined
      return readWords(
        reply ??
          (await exchange({ address, head, maxReplyBytes: MAX_REPLY_BYTES }, signal)).toString('latin1'),
      )
    }
    // At the same time: both are about what was there before the question.
    const [files, first] = await Promise.all([
      look(),
      ask(calm === undefined ? FULL_QUESTION : BRIEF_QUESTION),
    ])
    const isCalm = files !== undefined && files.state === calm
    const words = isCalm || calm === undefined ? first : await ask(FULL_QUESTION)
    if (!files) {
      // Of signatures that nobody knows the version of, it cannot be told when they change.
      return { state: JSON.stringify([words.version, words.memory]), isCertain: isVersioned(words) }
    }
    const settled = isCalm ? 'for good' : howSettled(files, words)
    calm = settled === 'for good' ? files.state : undefined
    const state = [words.version, files.state, settled, ...(settled === 'so far' ? [words.memory] : [])]
    return { state: JSON.stringify(state), isCertain: settled !== 'not' }
  }
}

/** @throws FilterError E_SCANNER_PROTOCOL: no version */
export function readWords(reply: string): ClamdWords {
  const version = /^(?:1: )?(ClamAV [^\0]{1,200})\0/.exec(reply)?.[1]
  if (version === undefined) throw protocolError('clamd: no version')
  const memory = /\bpools_used (\S{1,40} pools_total \S{1,40})/.exec(reply)?.[1]
  return { version, ...(memory !== undefined && { memory }) }
}

function isVersioned({ version }: ClamdWords): boolean {
  return /\/\d+\//.test(version)
}

/** `so far`: it has loaded what was there when it began to, and may load something again. */
export type Settled = 'not' | 'so far' | 'for good'

/**
 * Whether clamd works with the files that are there; asked as long as it is not known for good.
 *
 * @param now Unix milliseconds
 */
export function settling(now: () => number): (files: ClamdFiles, words: ClamdWords) => Settled {
  let before: string | undefined
  let loadedFor: string | undefined
  return ({ state, changedAt, startedAt }, { version, memory }) => {
    const engine = JSON.stringify([version, memory])
    // Negative: it was started before they changed.
    const startedAfterMs = startedAt === undefined ? -Infinity : startedAt - changedAt
    if ((before !== undefined && engine !== before) || startedAfterMs >= -START_MARGIN_MS) loadedFor = state
    const isOver = startedAfterMs >= START_MARGIN_MS || now() - changedAt >= SETTLED_MS
    if (isOver || loadedFor === state) before = engine
    before ??= engine
    if (isOver) return 'for good'
    return loadedFor === state ? 'so far' : 'not'
  }
}
