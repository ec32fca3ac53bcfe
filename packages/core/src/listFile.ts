import { FilterError } from './errors.ts'
import type { ListEntry } from './listEntry.ts'
import { finish, type Steps } from './steps.ts'

/** Lines of one list file. */
export const LIST_LINES = 1_000_000
/** Characters of one line, its comment included. */
export const LIST_LINE_LENGTH = 1024
const LINES_OF_STEP = 500

// oxlint-disable-next-line no-control-regex -- refusing them is the purpose
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/

/**
 * Reads a list file: one entry a line, in their order; none is fine. `#` begins a comment at the beginning of a line or
 * behind a blank – in a regular expression or a quoted local part `[#]` and `"\#"` do not. Blanks around an entry,
 * empty lines, CRLF and a byte order mark are passed over. The entries themselves are read by the list.
 *
 * @param file its name for messages
 * @throws FilterError E_CONFIG with the line, at the first that is too long, has control characters, or names a file.
 */
export function parseListFile(text: string, file: string): ListEntry[] {
  return finish(listFileInSteps(text, file))
}

/** As {@link parseListFile}. */
export function* listFileInSteps(text: string, file: string): Steps<ListEntry[]> {
  const entries: ListEntry[] = []
  let start = text.startsWith('\ufeff') ? 1 : 0
  for (let line = 1; start < text.length; line++) {
    const place = { file, line }
    if (line > LIST_LINES) {
      throw new FilterError('E_CONFIG', `expected at most ${LIST_LINES} lines`, {
        place,
        hint: 'split the file',
      })
    }
    if (line % LINES_OF_STEP === 0) yield
    const newline = text.indexOf('\n', start)
    const end = newline === -1 ? text.length : newline
    const entry = readLine(text.slice(start, end), place)
    if (entry !== '') entries.push({ text: entry, place })
    start = end + 1
  }
  return entries
}

/** '': there is no entry. */
function readLine(raw: string, place: { readonly file: string; readonly line: number }): string {
  const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
  if (line.length > LIST_LINE_LENGTH) {
    throw new FilterError('E_CONFIG', `expected a line of at most ${LIST_LINE_LENGTH} characters`, {
      place,
      hint: 'write one entry on each line',
    })
  }
  if (CONTROL.test(line)) {
    throw new FilterError('E_CONFIG', 'expected text without control characters', {
      place,
      hint: line.includes('\r') ? 'end each line with LF or CRLF' : 'is this a text file?',
    })
  }
  const entry = withoutComment(line)
  if (entry.startsWith('file:')) {
    throw new FilterError('E_CONFIG', 'expected an entry, got the name of a file', {
      place,
      hint: 'list files do not name others: name each in the configuration',
    })
  }
  return entry
}

function withoutComment(line: string): string {
  const comment = /(?:^|[ \t])#/.exec(line)
  const entry = comment === null ? line : line.slice(0, comment.index)
  return entry.replace(/^[ \t]+|[ \t]+$/g, '')
}
