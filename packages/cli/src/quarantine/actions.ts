import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { FilterError, type DeliveryResult, type Envelope, type Recipient } from '@ecluse/core'
import { describeMessage, DISPLAY_LIMITS, type OutgoingMessage } from '@ecluse/mail'
import {
  createFileStore,
  releasePlan,
  resentFields,
  summarize,
  withFields,
  type QuarantineStore,
} from '@ecluse/quarantine'
import { escapeControls, visibleJson } from '../terminal.ts'
import { listHead, listRow, resultText, showJson, showText } from './text.ts'

/** What hands a released message to Postfix; the reinjector of the mail package is one. */
export interface ReleaseGate {
  /** One result for each recipient, in order. */
  deliver(
    request: {
      readonly id: string
      readonly envelope: Envelope
      readonly recipients: readonly Recipient[]
      readonly message: OutgoingMessage
      readonly allOrNothing: boolean
    },
    signal: AbortSignal,
  ): Promise<DeliveryResult[]>
  close(): Promise<void>
}

/** What the command needs of the configuration. */
export interface QuarantineSetup {
  readonly directory: string
  readonly hostname: string
  /** `quarantine.keep`; absent: for ever. */
  readonly keepMs?: number
  openGate(): ReleaseGate
}

/** The arguments after the name of the command, as node:util parseArgs reads them with the command's options. */
export interface QuarantineArguments {
  readonly options: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
  readonly positionals: readonly string[]
}

/** What the command needs of the process. */
export interface QuarantineContext {
  /** @throws FilterError E_USAGE without a file, E_CONFIG for a wrong one. */
  configure(file: string | undefined): Promise<QuarantineSetup>
  readonly stdout: Writable
  readonly stderr: Writable
  readonly signal: AbortSignal
  readonly now: Date
}

interface Task {
  readonly store: QuarantineStore
  readonly setup: QuarantineSetup
  readonly context: QuarantineContext
  readonly options: Options
  readonly id: string
}

interface Options {
  readonly config?: string
  readonly json: boolean
  readonly raw: boolean
  readonly force: boolean
  readonly to: readonly string[]
}

interface Action {
  /** The options that it knows, beside `--config`. */
  readonly options: readonly string[]
  /** How many: an id or nothing. */
  readonly arguments: 0 | 1
  /** Exit code. */
  run(task: Task): Promise<number>
}

const ACTIONS: Readonly<Record<string, Action>> = {
  list: { options: ['json'], arguments: 0, run: list },
  show: { options: ['json', 'raw'], arguments: 1, run: show },
  release: { options: ['to', 'force'], arguments: 1, run: release },
  delete: { options: [], arguments: 1, run: remove },
  expire: { options: [], arguments: 0, run: expire },
}

/** The options of all actions. */
export const QUARANTINE_OPTIONS = {
  config: { type: 'string', doc: 'The configuration file.' },
  json: { type: 'boolean', doc: 'list, show: for scripts.' },
  raw: { type: 'boolean', doc: 'show: the original bytes.' },
  to: {
    type: 'string',
    multiple: true,
    doc: 'release: to this address, and not to the blocked recipients; may be repeated.',
  },
  force: { type: 'boolean', doc: 'release: even a virus.' },
} as const

const HEADER_BYTES = 64 * 1024

/**
 * Does what the arguments say. Answers with the exit code: 0, or 1 when a recipient of a release did not get the
 * message.
 *
 * @throws FilterError E_USAGE, E_CONFIG, E_QUARANTINE, E_ABORTED.
 */
export async function runQuarantine(args: QuarantineArguments, context: QuarantineContext): Promise<number> {
  const { action, options, id } = read(args)
  const setup = await context.configure(options.config)
  const store = createFileStore(setup.directory)
  return await action.run({ store, setup, context, options, id })
}

function read({ positionals, options }: QuarantineArguments): {
  action: Action
  options: Options
  id: string
} {
  const [name = '', id = '', ...rest] = positionals
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
  if (action === undefined) {
    throw usage(name === '' ? 'quarantine: say what to do' : `quarantine ${escapeControls(name)}: unknown`)
  }
  const count = rest.length + (id === '' ? 0 : 1)
  if (count < action.arguments) throw usage(`quarantine ${name}: of which message?`)
  if (count > action.arguments) throw usage(`quarantine ${name}: too many arguments`)
  return { action, id, options: readOptions(name, action, options) }
}

function readOptions(name: string, action: Action, given: QuarantineArguments['options']): Options {
  // Options of every command, such as --debug, are not ours to judge.
  const own = Object.keys(given).filter((key) => key !== 'config' && Object.hasOwn(QUARANTINE_OPTIONS, key))
  const unknown = own.find((key) => !action.options.includes(key))
  if (unknown !== undefined) throw usage(`quarantine ${name}: does not know --${unknown}`)
  const { config, json, raw, force, to }: Partial<Record<keyof typeof QUARANTINE_OPTIONS, unknown>> = given
  if (json === true && raw === true) throw usage('quarantine show: either --json or --raw')
  return {
    json: json === true,
    raw: raw === true,
    force: force === true,
    to: [to].flat().filter((address) => typeof address === 'string'),
    ...(typeof config === 'string' && { config }),
  }
}

function usage(message: string): FilterError {
  return new FilterError('E_USAGE', message, { hint: 'see ecluse quarantine --help' })
}

async function list({ store, context, options }: Task): Promise<number> {
  const { stdout, stderr } = context
  let started = false
  const lines = async (line: string): Promise<void> => {
    const before = options.json ? (started ? ',\n' : '[\n') : started ? '' : `${listHead()}\n`
    started = true
    await print(stdout, `${before}${line}${options.json ? '' : '\n'}`)
  }
  const onDamaged = (error: unknown): void => {
    stderr.write(`ecluse: ${escapeControls(error instanceof FilterError ? error.message : String(error))}\n`)
  }
  for await (const entry of store.list({ onDamaged })) {
    await lines(options.json ? visibleJson(summarize(entry)) : listRow(entry))
  }
  if (options.json) await print(stdout, started ? '\n]\n' : '[]\n')
  return 0
}

async function show({ store, context, options, id }: Task): Promise<number> {
  const { stdout, signal } = context
  const message = await store.open(id)
  if (options.raw) {
    await pipeline(message.open(), stdout, { end: false })
    return 0
  }
  const header = await readHeader(message.open())
  const displayed = await describeMessage(message.open(), DISPLAY_LIMITS, signal)
  const shown = { entry: message.entry, header, displayed }
  await print(stdout, options.json ? showJson(shown) : showText(shown))
  return 0
}

async function release({ store, setup, context, options, id }: Task): Promise<number> {
  const { stdout, signal, now } = context
  const { entry, ...original } = await store.open(id)
  const plan = releasePlan(entry, { to: options.to, force: options.force })
  if (plan.action === 'refuse') {
    throw new FilterError('E_QUARANTINE', `${id}: ${plan.reason}`, { hint: plan.hint })
  }
  const { envelope, resent } = plan
  const { recipients } = envelope
  const fields = resent ? resentFields(recipients, { id, hostname: setup.hostname, date: now }) : ''
  const gate = setup.openGate()
  try {
    const message = withFields(original, fields)
    const results = await gate.deliver({ id, envelope, recipients, message, allOrNothing: false }, signal)
    for (const result of results) await print(stdout, `${resultText(result)}\n`)
    return results.every(({ outcome }) => outcome === 'relayed') ? 0 : 1
  } finally {
    await gate.close()
  }
}

async function remove({ store, context, id }: Task): Promise<number> {
  await store.delete(id)
  await print(context.stdout, `${id}: deleted\n`)
  return 0
}

async function expire({ store, setup, context }: Task): Promise<number> {
  const { stdout, signal, now } = context
  const { keepMs } = setup
  if (keepMs === undefined) {
    throw new FilterError('E_CONFIG', 'quarantine.keep: is not set', { hint: 'for example keep: 30d' })
  }
  let deleted = 0
  for await (const { id } of store.list({ storedBefore: new Date(now.getTime() - keepMs) })) {
    if (signal.aborted) throw new FilterError('E_ABORTED', `${deleted} deleted`)
    await store.delete(id)
    deleted++
  }
  await print(stdout, `${deleted} deleted\n`)
  return 0
}

/** As latin1 or, where it is, UTF-8 (RFC 6532). */
async function readHeader(source: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of source as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= HEADER_BYTES) break
  }
  const bytes = Buffer.concat(chunks).subarray(0, HEADER_BYTES)
  const end = bytes.indexOf('\r\n\r\n')
  const header = end === -1 ? bytes : bytes.subarray(0, bytes.indexOf('\r\n') === 0 ? 0 : end + 2)
  const text = header.toString('utf8')
  return text.includes('\ufffd') ? header.toString('latin1') : text
}

async function print(stream: Writable, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain')
}
