import { FilterError, isIpAddress } from '@ecluse/core'
import { readPath } from '@ecluse/mail'
import { CONFIG_OPTION, configFile, type Arguments } from '../command.ts'

/** What `explain` was asked. Addresses as in an envelope. */
export interface ExplainRequest {
  readonly config: string
  /** Path of the message; `-` is standard input. */
  readonly file: string
  /** '' is the null sender; absent: not said. */
  readonly sender?: string
  /** In their order; empty: not said. */
  readonly recipients: readonly string[]
  /** IP address; absent: not said. */
  readonly client?: string
  readonly helo?: string
  /** As written; absent: not said. */
  readonly listener?: string
  readonly smtpUtf8: boolean
  /** `live`: those of the configuration are asked. */
  readonly scanners: 'live' | 'none'
  readonly json: boolean
  /** Whether overlays of which no condition holds are shown too. */
  readonly all: boolean
}

/** The options of the command. */
export const EXPLAIN_OPTIONS = {
  config: CONFIG_OPTION,
  sender: { type: 'string', doc: 'The envelope sender; "<>" is the null sender.' },
  rcpt: { type: 'string', multiple: true, doc: 'A recipient; may be repeated.' },
  client: {
    type: 'string',
    doc: 'IP address of the client that gave it to Postfix; without it: made on this host.',
  },
  helo: { type: 'string', doc: 'What that client said in HELO or EHLO.' },
  listener: { type: 'string', doc: 'The address of "listen" that it comes in at; default: the first.' },
  smtputf8: { type: 'boolean', doc: 'As if Postfix had asked for SMTPUTF8.' },
  scanners: { type: 'string', doc: 'live (default): ask them; none: as if there were none.' },
  json: { type: 'boolean', doc: 'For scripts.' },
  all: { type: 'boolean', doc: 'Show also the policies of which no condition holds.' },
} as const

/** RFC 1035 section 2.3.4. */
const HELO_LENGTH = 255
// oxlint-disable-next-line no-control-regex -- refusing them is the purpose
const CONTROL = /[\x00-\x1f\x7f]/

/** @throws FilterError E_USAGE */
export function readRequest(args: Arguments): ExplainRequest {
  const { options, positionals } = args
  const config = configFile(args)
  const [file = ''] = positionals
  if (file === '') {
    throw new FilterError('E_USAGE', 'explain: of which message?', {
      hint: 'name its file, or - for standard input',
    })
  }
  const text = (name: keyof typeof EXPLAIN_OPTIONS): string | undefined => {
    const value = options[name]
    return typeof value === 'string' ? value : undefined
  }
  const [sender, client, helo, listener] = [text('sender'), text('client'), text('helo'), text('listener')]
  if (client !== undefined && !isIpAddress(client)) throw wrong('client', client, 'expected an IP address')
  if (helo !== undefined && (helo.length > HELO_LENGTH || CONTROL.test(helo))) {
    throw wrong('helo', helo, `expected at most ${HELO_LENGTH} characters, no control characters`)
  }
  return {
    config,
    file,
    ...(sender !== undefined && { sender: address('sender', sender) }),
    recipients: recipientsOf(options['rcpt']),
    ...(client !== undefined && { client }),
    ...(helo !== undefined && { helo }),
    ...(listener !== undefined && { listener }),
    smtpUtf8: options['smtputf8'] === true,
    scanners: scannerChoice(text('scanners') ?? 'live'),
    json: options['json'] === true,
    all: options['all'] === true,
  }
}

function scannerChoice(choice: string): 'live' | 'none' {
  if (choice === 'live' || choice === 'none') return choice
  throw wrong('scanners', choice, 'expected live or none')
}

function recipientsOf(given: Arguments['options'][string]): string[] {
  return [given].flat().flatMap((text) => {
    if (typeof text !== 'string') return []
    const recipient = address('rcpt', text)
    if (recipient === '') throw wrong('rcpt', text, 'expected an address')
    return [recipient]
  })
}

function address(option: string, text: string): string {
  const found = readPath(text)
  if (found === undefined) throw wrong(option, text, 'expected an address')
  return found
}

function wrong(option: string, text: string, what: string): FilterError {
  return new FilterError(
    'E_USAGE',
    `explain: --${option}: ${what}, got ${JSON.stringify(text.slice(0, 80))}`,
    {
      hint: 'see ecluse explain --help',
    },
  )
}
