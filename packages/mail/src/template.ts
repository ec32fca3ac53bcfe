import { FilterError } from '@ecluse/core'

/** What a template is filled with: text, or a list of which each entry fills the section once. */
export interface TemplateValues {
  readonly [name: string]: string | readonly TemplateValues[]
}

/** A template that has been read. */
export interface Template {
  /** @param escape makes a value fit for what stands around it */
  render(values: TemplateValues, escape: (value: string) => string): string
}

type Piece =
  | string
  | { readonly name: string }
  | { readonly section: string; readonly pieces: readonly Piece[] }

const TAG = /\{\{(?:([#/]?)([A-Za-z]{1,40})\}\})?/g
const MAX_LENGTH = 65_536

/**
 * Reads a template: `{{name}}` is a value; `{{#name}}…{{/name}}` stands for each entry of a list, or once where the text
 * of that name is not empty. Values are never read as templates.
 *
 * @param place the file, and the line of it in which the text begins, for errors
 * @param names that may be used
 * @throws FilterError E_CONFIG with file and line, for `{{` that begins no tag, for an unknown name, for sections that do
 * not nest, and for one in itself, which would be as long as its list to the power of its depth
 */
export function readTemplate(
  text: string,
  place: { readonly file: string; readonly line: number },
  names: ReadonlySet<string>,
): Template {
  const fail = (index: number, message: string, hint: string): never => {
    const line = place.line + text.slice(0, index).split('\n').length - 1
    throw new FilterError('E_CONFIG', message, { hint, place: { file: place.file, line } })
  }
  if (text.length > MAX_LENGTH) fail(0, `expected at most ${MAX_LENGTH} characters`, 'use a shorter text')
  const root: Piece[] = []
  const open: { readonly name: string; readonly pieces: Piece[]; readonly index: number }[] = []
  let end = 0
  for (const match of text.matchAll(TAG)) {
    const [whole, kind, name] = match
    const { index } = match
    const pieces = open.at(-1)?.pieces ?? root
    pieces.push(text.slice(end, index))
    end = index + whole.length
    if (name === undefined) return fail(index, '{{ begins no tag', 'write {{name}}, without spaces')
    if (!names.has(name)) fail(index, `${whole}: unknown name`, `known: ${[...names].join(', ')}`)
    if (kind === '') pieces.push({ name })
    else if (kind === '#') {
      if (open.some((section) => section.name === name)) fail(index, `${whole} stands in itself`, 'remove it')
      open.push({ name, pieces: [], index })
    } else {
      const section = open.pop()
      if (section?.name !== name) return fail(index, `${whole} ends no section`, `begin it with {{#${name}}}`)
      ;(open.at(-1)?.pieces ?? root).push({ section: name, pieces: section.pieces })
    }
  }
  const [unclosed] = open
  if (unclosed)
    fail(unclosed.index, `{{#${unclosed.name}}} has no end`, `write {{/${unclosed.name}}} behind it`)
  root.push(text.slice(end))
  return { render: (values, escape) => renderPieces(root, [values], escape) }
}

function renderPieces(
  pieces: readonly Piece[],
  scopes: readonly TemplateValues[],
  escape: (value: string) => string,
): string {
  return pieces
    .map((piece) => {
      if (typeof piece === 'string') return piece
      const value = valueOf('name' in piece ? piece.name : piece.section, scopes)
      if ('name' in piece) return typeof value === 'string' ? escape(value) : ''
      if (typeof value === 'string') return value === '' ? '' : renderPieces(piece.pieces, scopes, escape)
      return value.map((entry) => renderPieces(piece.pieces, [entry, ...scopes], escape)).join('')
    })
    .join('')
}

function valueOf(name: string, scopes: readonly TemplateValues[]): TemplateValues[string] {
  return scopes.find((scope) => Object.hasOwn(scope, name))?.[name] ?? ''
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as it may stand in an HTML element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}
