import { createReadStream } from 'node:fs'
import { FilterError, type ErrorPlace, type KeyPath, type Steps } from '@ecluse/core'
import { inTurns } from '@ecluse/daemon/turns'
import {
  Composer,
  type CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type Document,
  type Node,
  type Pair,
  visit,
} from 'yaml'

/** Enough for 10,000 policies beside 100,000 senders, which are 5 MiB: reading them takes 300 MB and 2 s. */
const MAX_FILE_BYTES = 16 * 1024 * 1024
/** Words and signs: twice what these 5 MiB have. Small values by the million would take gigabytes. */
const MAX_LEXEMES = 2_500_000
/** Less than a millisecond. */
const LEXEMES_OF_STEP = 200
/** A configuration needs about five levels. */
const MAX_DEPTH = 100
/** How many nodes aliases may add: enough for a few shared lists, too few for a bomb. */
const MAX_ALIASES_OF_ANCHOR = 100
/** Those of all anchors together. */
const MAX_ALIASES_OF_FILE = 10_000

/** A YAML file, read, with the places of its values. */
export interface YamlFile {
  /** Plain data: mappings are objects. */
  readonly value: unknown
  /** Where the value at a path stands; for a value that is not there, what it would stand in. */
  valuePlace(path: KeyPath): ErrorPlace
  /** Where the key of that path stands. */
  keyPlace(path: KeyPath): ErrorPlace
}

/**
 * Reads a YAML file of one document.
 *
 * @returns the errors of its text, at least one, in the order of the file, if it is not well formed
 * @throws FilterError E_CONFIG when the file cannot be read.
 */
export async function readYamlFile(
  file: string,
): Promise<YamlFile | { readonly errors: readonly FilterError[] }> {
  const source = decode(await readBounded(file), file)
  const lines = new LineCounter()
  const place = (offset: number): ErrorPlace => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const tokens = await inTurns(readTokens(source, { file, lines }))
  try {
    // Keys that stand twice are looked for below: the library compares each key with all others of its mapping.
    const composer = new Composer({ prettyErrors: false, version: '1.2', uniqueKeys: false })
    const [document, second] = composer.compose(tokens, true, source.length)
    if (!document) throw new TypeError('a document was asked for, and none composed')
    const errors = syntaxErrors(document, { source, place, ...(second && { second }) })
    if (errors.length > 0) return { errors }
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES_OF_ANCHOR })
    return { value: value ?? undefined, ...places(document, place) }
  } catch (cause) {
    if (cause instanceof ReferenceError) {
      throw new FilterError('E_CONFIG', 'too many aliases', {
        place: { file },
        cause,
        hint: 'write the values out',
      })
    }
    throw cause
  }
}

const READ_ERRORS: Readonly<Record<string, readonly [string, string?]>> = {
  ENOENT: ['no such file', 'give the path of the configuration with --config FILE'],
  ENOTDIR: ['no such file', 'a part of the path is a file'],
  EISDIR: ['is a folder, not a file', 'name the file in it'],
  EACCES: ['not readable', 'the file must be readable for the user that runs ecluse'],
  ELOOP: ['too many symbolic links'],
}

async function readBounded(file: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of createReadStream(file, { end: MAX_FILE_BYTES })) chunks.push(chunk as Buffer)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    const [message, hint] = READ_ERRORS[code] ?? [`cannot be read: ${code}`]
    throw new FilterError('E_CONFIG', message, {
      place: { file },
      cause,
      ...(hint !== undefined && { hint }),
    })
  }
  const bytes = Buffer.concat(chunks)
  if (bytes.length <= MAX_FILE_BYTES) return bytes
  throw new FilterError('E_CONFIG', 'larger than 16MiB', { place: { file }, hint: 'is this the right file?' })
}

function decode(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FilterError('E_CONFIG', 'not UTF-8 text', {
      place: { file, ...placeOfBadByte(bytes) },
      cause,
      hint: 'save it as UTF-8',
    })
  }
}

function placeOfBadByte(bytes: Buffer): ErrorPlace {
  const before = bytes.toString('utf8').split('\ufffd', 1)[0]?.split('\n') ?? []
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
}

/**
 * Reads the tokens, which is done without recursion, and refuses those that are nested too deeply: building the
 * document recurses, and with no stack left, V8 ends the process when yaml needs a new regular expression.
 */
function* readTokens(
  source: string,
  { file, lines }: { file: string; lines: LineCounter },
): Steps<CST.Token[]> {
  const tokens: CST.Token[] = []
  const parser = new Parser(lines.addNewLine)
  // What its `parse` does, which hides the depth.
  lines.addNewLine(0)
  let lexemes = 0
  for (const lexeme of new Lexer().lex(source)) {
    for (const token of parser.next(lexeme)) tokens.push(token)
    if (parser.stack.length > MAX_DEPTH) {
      throw new FilterError('E_CONFIG', 'nested too deeply', { place: { file } })
    }
    if (++lexemes > MAX_LEXEMES) {
      throw new FilterError('E_CONFIG', 'too many values', {
        place: { file, line: lines.lineStarts.length },
        hint: 'put long lists into list files: file:PATH',
      })
    }
    if (lexemes % LEXEMES_OF_STEP === 0) yield
  }
  for (const token of parser.end()) tokens.push(token)
  return tokens
}

interface Complaint {
  readonly code: string
  readonly message: string
  readonly pos: readonly [number, number]
}

/** What a document was read from. */
interface SyntaxSource {
  readonly source: string
  readonly place: (offset: number) => ErrorPlace
  /** What begins behind it; absent: nothing. */
  readonly second?: Document.Parsed
}

/** Doubled keys are all told; of other errors only the first, since the next ones follow from it. */
function syntaxErrors(document: Document.Parsed, { source, place, second }: SyntaxSource): FilterError[] {
  const { errors, warnings } = document
  const found: Complaint[] = [...errors, ...warnings, ...treeComplaints(document)]
  // Once for all of them: it looks through the whole document.
  const quote = found.some(isMissing) ? openQuote(document, source) : undefined
  const all = found.map((complaint) => (isMissing(complaint) ? (quote ?? complaint) : complaint))
  if (second) all.push({ code: 'MULTIPLE_DOCS', message: '', pos: [second.range[0], second.range[1]] })
  const doubled = all.filter(({ code }) => code === 'DUPLICATE_KEY')
  const other = all.filter(({ code }) => code !== 'DUPLICATE_KEY').toSorted((a, b) => a.pos[0] - b.pos[0])
  return [...other.slice(0, 1), ...doubled]
    .toSorted((a, b) => a.pos[0] - b.pos[0])
    .map((error) => {
      const { message, hint } = explain(error, source)
      return new FilterError('E_CONFIG', message, {
        place: place(error.pos[0]),
        ...(hint !== undefined && { hint }),
      })
    })
}

const isMissing = ({ code }: Complaint): boolean => code === 'MISSING_CHAR'

/** A quote that is missed at the end of the file, or of a section, is missed by the text that it begins. */
function openQuote(document: Document, source: string): Complaint | undefined {
  let start: number | undefined
  visit(document, {
    Scalar: (_, { range, type }) => {
      const quote = type === 'QUOTE_DOUBLE' ? '"' : type === 'QUOTE_SINGLE' ? "'" : undefined
      if (!range || quote === undefined) return undefined
      if (range[1] - range[0] > 1 && source.charAt(range[1] - 1) === quote) return undefined
      start = range[0]
      return visit.BREAK
    },
  })
  return start === undefined ? undefined : { code: 'OPEN_QUOTE', message: '', pos: [start, start] }
}

/**
 * What is well formed, and means nothing: an alias without its anchor, a key that stands twice.
 *
 * @throws ReferenceError for too many aliases: the library looks for each among all of them
 */
function treeComplaints(document: Document): Complaint[] {
  const found: Complaint[] = []
  const anchors = new Set<string>()
  let aliases = 0
  const complain = (code: string, node: Node): void => {
    const start = node.range?.[0] ?? 0
    found.push({ code, message: '', pos: [start, start] })
  }
  visit(document, {
    Node: (_, { anchor }: Node & { anchor?: string }) => {
      if (anchor !== undefined) anchors.add(anchor)
    },
    Alias: (_, node) => {
      if (++aliases > MAX_ALIASES_OF_FILE) throw new ReferenceError('too many aliases')
      if (!anchors.has(node.source)) complain('DANGLING_ALIAS', node)
    },
    Map: (_, { items, anchor }) => {
      if (anchor !== undefined) anchors.add(anchor)
      const seen = new Set<unknown>()
      for (const { key } of items) {
        if (!isScalar(key)) continue
        if (seen.has(key.value)) complain('DUPLICATE_KEY', key)
        else seen.add(key.value)
      }
    },
  })
  return found
}

function explain({ code, message, pos }: Complaint, source: string): { message: string; hint?: string } {
  if (code === 'DUPLICATE_KEY') {
    const key = /^[^\s:]{1,60}/.exec(source.slice(pos[0], pos[0] + 60))?.[0] ?? 'this key'
    return { message: `${key} stands here a second time`, hint: 'keep one of them' }
  }
  if (code === 'BAD_INDENT' && message.startsWith('Flow')) {
    return { message: 'a [ or { above is not closed', hint: 'close it with ] or }' }
  }
  if (code === 'BAD_SCALAR_START') {
    const start = JSON.stringify(source.charAt(pos[0]))
    return { message: `text without quotes cannot begin with ${start}`, hint: 'put it in quotes' }
  }
  if (code === 'BLOCK_AS_IMPLICIT_KEY' && message.startsWith('A block sequence')) {
    return { message: 'an entry of a list stands among keys', hint: 'give all lines of the list their -' }
  }
  return EXPLAINED[code] ?? { message: `not YAML: ${firstLine(message)}` }
}

const EXPLAINED: Readonly<Record<string, { readonly message: string; readonly hint?: string }>> = {
  TAB_AS_INDENT: { message: 'a tab cannot indent', hint: 'use blanks' },
  MULTIPLE_DOCS: { message: 'a second document begins here', hint: 'remove the line ---' },
  TAG_RESOLVE_FAILED: {
    message: 'tags such as !text are not understood',
    hint: 'put text that begins with ! in quotes',
  },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a second key stands on this line',
    hint: 'put text that has a colon and a blank in quotes',
  },
  BAD_DQ_ESCAPE: {
    message: 'in double quotes, a backslash and what follows it stand for another character',
    hint: 'use single quotes',
  },
  OPEN_QUOTE: {
    message: 'a quote that is not closed begins here',
    hint: 'close it at the end of the text',
  },
  BAD_INDENT: {
    message: 'not indented like the lines around it',
    hint: 'keys of one section begin in the same column',
  },
  DANGLING_ALIAS: {
    message: 'no &anchor of this name stands above',
    hint: 'put text that begins with * in quotes',
  },
}

function firstLine(message: string): string {
  const line = message.split('\n', 1)[0] ?? ''
  return line.charAt(0).toLowerCase() + line.slice(1)
}

function places(document: Document, place: (offset: number) => ErrorPlace): Omit<YamlFile, 'value'> {
  const root = place(0)
  const startOf = (node: unknown): ErrorPlace | undefined => {
    const range = (node as Node | null | undefined)?.range
    return range ? place(range[0]) : undefined
  }
  const find = (path: KeyPath): { key?: ErrorPlace; value?: ErrorPlace; found: boolean } => {
    let node: unknown = document.contents
    let key: ErrorPlace | undefined
    for (const [depth, step] of path.entries()) {
      const below: { key?: unknown; value?: unknown } | undefined = stepInto(node, step, document)
      if (!below) return { ...(depth > 0 && key && { key }), found: false }
      node = below.value
      key = startOf(below.key) ?? startOf(node) ?? key
    }
    const empty = isScalar(node) && node.range?.[0] === node.range?.[1]
    const value = empty ? key : startOf(node)
    return { ...(key && { key }), ...(value && { value }), found: true }
  }
  return {
    valuePlace: (path) => {
      const { key, value } = find(path)
      return value ?? key ?? root
    },
    keyPlace: (path) => find(path).key ?? root,
  }
}

function stepInto(
  node: unknown,
  step: string | number,
  document: Document,
): Pair | { value: unknown } | undefined {
  const resolved = isAlias(node) ? node.resolve(document) : node
  if (isSeq(resolved)) return { value: resolved.items[Number(step)] }
  if (!isMap(resolved)) return undefined
  return resolved.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
}
