import {
  idleAddresses,
  idleNetworks,
  listsOf,
  type Config,
  type IdleEntry,
  type KeyPath,
  type ListEntry,
  type ListFiles,
} from '@ecluse/core'
import { describeFirst, type Warning } from './warning.ts'

/** Warnings that one list gives of one kind: a file may be wrong all over. */
const OF_ONE_LIST = 3

/** Entries of lists that never match, or change nothing. */
export function listWarnings(config: Config, files: ListFiles): Warning[] {
  const seen = new Set<string>()
  return [...listsOf(config)].flatMap(({ texts, path, clients }) => {
    // Sharing one list by an alias, or by a file, is no second mistake.
    const key = JSON.stringify([clients, texts])
    if (seen.has(key)) return []
    seen.add(key)
    const entries = entriesOf(texts, path, files)
    if (entries.length === 0) return []
    if (entries.every(({ entry }) => entry.text.startsWith('!'))) return [onlyExceptions(path)]
    const list = entries.map(({ entry }) => entry)
    const idle = clients ? idleNetworks(list) : idleAddresses(list, config.recipientDelimiter)
    const strange = clients ? [] : list.filter(({ text }) => readsOtherwise(text) !== undefined)
    const pathOf = (entry: ListEntry): KeyPath => entries.find((one) => one.entry === entry)?.path ?? path
    return [
      ...describeFirst(idle, (one) => ({ path: pathOf(one.entry), ...idleWarning(one) }), OF_ONE_LIST),
      ...describeFirst(strange, (entry) => ({ path: pathOf(entry), ...misread(entry) }), OF_ONE_LIST),
    ]
  })
}

interface PlacedEntry {
  readonly entry: ListEntry
  readonly path: KeyPath
}

/** With those of files in the place of their names; of a file that is named twice, once. */
function entriesOf(texts: readonly string[], path: KeyPath, files: ListFiles): PlacedEntry[] {
  const named = new Set<string>()
  return texts.flatMap((text, index): PlacedEntry[] => {
    const entries = files.get(text)
    if (!entries) return [{ entry: { text, place: { path: '' } }, path: [...path, index] }]
    if (named.has(text)) return []
    named.add(text)
    return entries.map((entry) => ({ entry, path: [...path, index] }))
  })
}

function onlyExceptions(path: KeyPath): Warning {
  const hint = 'add what they are exceptions of, such as .'
  return { path, message: 'all entries begin with !: nobody is in this list', hint }
}

function idleWarning({ entry, by, opposed }: IdleEntry): Omit<Warning, 'path'> {
  const at = lineOf(entry)
  const text = shorten(entry.text)
  if (!by) {
    const message = `${text} changes nothing: no entry here lets in what it takes out`
    return { ...at, message, hint: 'remove it, or add the broader entry' }
  }
  const other = `${shorten(by.text)}${'line' in by.place ? ` of line ${by.place.line}` : ''}`
  if (opposed) {
    return { ...at, message: `${text} never counts: ${other} says the opposite`, hint: 'keep one of them' }
  }
  return { ...at, message: `${text} changes nothing beside ${other}`, hint: 'remove it' }
}

function misread(entry: ListEntry): Omit<Warning, 'path'> {
  const { message = '', hint = '' } = readsOtherwise(entry.text) ?? {}
  return { ...lineOf(entry), message: `${shorten(entry.text)} ${message}`, hint }
}

/** What is read in another way than it looks; absent: it is not. */
function readsOtherwise(whole: string): { readonly message: string; readonly hint: string } | undefined {
  const text = whole.replace(/^!/, '')
  if (text.startsWith('/')) return undefined
  if (/^[^"*]*\*[^"]*@/.test(text)) {
    const message = 'is one address with a star in it: there are no wildcards'
    return { message, hint: 'write a regular expression' }
  }
  if (/^@?\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) {
    const message = 'is a domain of that name: no mail has it'
    return { message, hint: `write [${text.replace('@', '')}], or use clients` }
  }
  return undefined
}

function lineOf({ place }: ListEntry): Pick<Warning, 'place'> {
  return 'line' in place ? { place } : {}
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
