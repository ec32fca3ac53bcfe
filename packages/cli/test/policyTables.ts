/*
 * The tables below fixtures/policy are documentation for administrators and tests at once: under each heading a piece
 * of configuration, then rows of mail and what becomes of it. Here they are read, and each row goes the way of a
 * message: schema, rules, scanners, policy, marks, reply.
 */
import {
  FilterError,
  blockedReply,
  compileRules,
  configSchema,
  size,
  type Config,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type Envelope,
  type Finding,
  type HeaderEdit,
  type Message,
  type Rules,
  type UncheckedReason,
} from '@ecluse/core'
import { judge, type Judgement } from '@ecluse/daemon'
import { Readable } from 'node:stream'
import { parse } from 'yaml'
import { SAMPLE_KINDS } from './sampleKinds.ts'

/** One row: the cells by the names of their columns. */
export type Row = Readonly<Record<string, string>>

/** One heading of a file with its table. */
export interface Section {
  readonly title: string
  /** The piece of configuration, as YAML; '' for all defaults. */
  readonly yaml: string
  readonly rows: readonly Row[]
}

/** Columns that say what comes in; every other one says what is expected. */
const INPUTS = ['sender', 'from', 'recipient', 'client', 'listener', 'size', 'found'] as const

/** Reads the sections of a Markdown file that have a table. */
export function readTables(markdown: string): Section[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .map((text): Section => {
      const title = text.slice(0, text.indexOf('\n'))
      const yaml = /^```yaml\n(.*?)^```$/ms.exec(text)?.[1] ?? ''
      const [head = [], , ...body] = text
        .split('\n')
        .filter((line) => line.startsWith('|'))
        .map(cellsOf)
      return { title, yaml, rows: body.map((cells) => rowOf(title, head, cells)) }
    })
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, line.lastIndexOf('|'))
    .split('|')
    .map((cell) =>
      cell
        .trim()
        .replaceAll('\\*', '*')
        .replace(/^`(.*)`$/, '$1'),
    )
}

function rowOf(title: string, head: readonly string[], cells: readonly string[]): Row {
  if (head.length !== cells.length)
    throw new TypeError(`${title}: ${cells.join(' | ')}: not ${head.length} cells`)
  const known: readonly string[] = [...INPUTS, ...Object.keys(OUTPUTS)]
  const unknown = head.find((name) => !known.includes(name) && !name.startsWith('X-'))
  if (unknown !== undefined) throw new TypeError(`${title}: ${unknown}: no such column`)
  return Object.fromEntries(head.map((name, index) => [name, cells[index] ?? '']))
}

/** A configuration, ready for messages. */
export interface Site {
  readonly config: Config
  readonly rules: Rules
}

/** As `serve` reads it: for example.org, with clamd, spamd and rspamd, where the text does not say otherwise. */
export function siteOf(yaml: string): Site {
  const input = parse(yaml) as Record<string, unknown> | null
  const config = configSchema(SAMPLE_KINDS, 'mail.example.org').parse({
    localDomains: ['example.org'],
    networks: ['192.0.2.0/24'],
    scanners: [{ kind: 'clamd' }, { kind: 'spamd' }, { kind: 'rspamd' }],
    ...input,
  })
  return { config, rules: compileRules(config, new Map()) }
}

/** What the expected columns of a row hold, found out. */
export async function outcomeOf(site: Site, row: Row): Promise<Row> {
  const { config, rules } = site
  const { hostname, alertHeader } = config
  const scanners = scannersOf(config, row['found'] ?? 'nothing')
  const judged = await judge(
    { hostname, alertHeader, scanners, rules },
    { envelope: envelopeOf(row), message: messageOf(row), receivedAt: new Date(0) },
    new AbortController().signal,
  )
  const expected = Object.keys(row).filter((name) => !(INPUTS as readonly string[]).includes(name))
  return Object.fromEntries(expected.map((name) => [name, shown(judged, name)]))
}

const ID = 'ID'

function envelopeOf(row: Row): Envelope {
  const { sender = 'sender@example.net', client = '198.51.100.7', listener = '127.0.0.1:10024' } = row
  return {
    protocol: 'lmtp',
    mailFrom: sender === '<>' ? '' : sender,
    recipients: [{ address: row['recipient'] ?? 'marie@example.org' }],
    smtpUtf8: false,
    client: client === 'unknown' ? {} : { address: client },
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener,
  }
}

/** Only its header and its size are asked for: no scanner here reads it. */
function messageOf({ from, size: text }: Row): Message {
  const bytes = Buffer.from(`${from === undefined || from === '' ? '' : `From: ${from}\r\n`}\r\n`)
  return {
    id: ID,
    sizeBytes: text === undefined ? bytes.length : size('Size.').parse(text),
    digest: '',
    bytes,
    header: bytes,
    open: () => Readable.from([bytes]),
  }
}

/** Scanners that find what the row says: `clamd Eicar, spamd 7, rspamd spf`. */
function scannersOf({ scanners }: Config, found: string): ConfiguredScanner[] {
  const told = found === 'nothing' ? [] : found.split(', ').map((item) => item.split(' '))
  const stranger = told.find(([name]) => !scanners.some((scanner) => scanner.name === name))
  if (stranger) throw new TypeError(`${stranger.join(' ')}: no such scanner`)
  return scanners.map(({ name, kind, timeout, maxSize, onError }) => ({
    name,
    kind,
    concerns: SAMPLE_KINDS.find((candidate) => candidate.kind === kind)?.concerns ?? [],
    timeoutMs: timeout,
    ...(maxSize !== undefined && { maxSizeBytes: maxSize }),
    onError,
    scanner: {
      scan: async () => ({
        findings: told.flatMap(([scanner, ...what]) => (scanner === name ? [findingOf(what.join(' '))] : [])),
      }),
      version: async () => ({ engine: 'a table' }),
    },
  }))
}

const UNCHECKED: readonly string[] = ['encrypted', 'limits exceeded'] satisfies UncheckedReason[]

function findingOf(what: string): Finding {
  if (what === 'failed') throw new FilterError('E_SCANNER_CONNECT', 'no answer')
  if (UNCHECKED.includes(what)) return { kind: 'unchecked', reason: what as UncheckedReason }
  if (what === 'spf') return { kind: 'authenticated', method: 'spf', identity: 'mail-from' }
  if (what === 'dmarc') return { kind: 'authenticated', method: 'dmarc', identity: 'from' }
  const [, domain] = /^dkim=(.+)$/.exec(what) ?? []
  if (domain !== undefined) return { kind: 'authenticated', method: 'dkim', identity: { domain } }
  if (!/^-?\d+(?:\.\d+)?$/.test(what)) return { kind: 'virus', name: what }
  return { kind: 'score', points: Number(what), symbols: [{ name: 'RULE', score: Number(what) }] }
}

/** What stands in the table where there is nothing. */
const NOTHING = '-'

function shown({ decisions, plan }: Judgement, column: string): string {
  const [decision] = decisions
  const [copy] = plan
  if (!decision) throw new TypeError('no decision')
  const known = OUTPUTS[column]
  return known ? known(decision, copy) : valueOf(copy, (edit) => fieldOf(edit, column))
}

/** Columns that say what is expected, beside those that have the name of a header field. */
const OUTPUTS: Readonly<Record<string, (decision: Decision, copy: Delivery | undefined) => string>> = {
  category: ({ category }) => category,
  destiny: ({ destiny }) => destiny,
  kept: ({ quarantined }) => (quarantined ? 'yes' : 'no'),
  score: ({ score }) => (score === undefined ? NOTHING : String(score)),
  reply: (decision) => {
    if (decision.destiny === 'pass') return 'relayed'
    const { code, enhanced, text } = blockedReply(decision, ID)
    return `${code} ${enhanced} ${text}`
  },
  'goes to': (_decision, copy) => copy?.targets[0]?.address ?? NOTHING,
  'subject tag': (_decision, copy) =>
    valueOf(copy, (edit) => (edit.op === 'tag-subject' ? edit.tag.trim() : undefined)),
  removed: (_decision, copy) =>
    valueOf(copy, (edit) => (edit.op === 'remove' && !FORGEABLE.test(edit.name) ? edit.name : undefined)),
}

/** Fields that never pass. */
const FORGEABLE = /^X-(?:Quarantine-ID|(?:Ecluse|Amavis|Virus|Spam)-)/

function fieldOf(edit: HeaderEdit, name: string): string | undefined {
  return edit.op === 'prepend' && edit.name === name ? edit.value : undefined
}

function valueOf(copy: Delivery | undefined, read: (edit: HeaderEdit) => string | undefined): string {
  const values = (copy?.edits ?? []).flatMap((edit) => read(edit) ?? [])
  return values.length === 0 ? NOTHING : values.join(', ')
}
