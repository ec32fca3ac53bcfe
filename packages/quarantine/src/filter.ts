import type { QuarantineItem } from './record.ts'
import type { QuarantineFilter } from './store.ts'

/** What is known of a message before anything of it is read: enough to leave most of them out. */
export interface Facets {
  readonly category: QuarantineItem['category']
  readonly storedAtMs: number
  readonly score?: number
}

/** The part of a filter that needs no text of the message. */
export function fitsFacets({ category, storedAtMs, score }: Facets, filter: QuarantineFilter): boolean {
  const { categories, storedBefore, storedSince, minScore, maxScore } = filter
  if (categories !== undefined && !categories.includes(category)) return false
  if (storedBefore !== undefined && storedAtMs >= storedBefore.getTime()) return false
  if (storedSince !== undefined && storedAtMs < storedSince.getTime()) return false
  if (minScore !== undefined && (score === undefined || score < minScore)) return false
  return maxScore === undefined || (score !== undefined && score <= maxScore)
}

/** Whether a filter asks for more than {@link fitsFacets} looks at. */
export function wantsText({ recipient, sender, subject, states }: QuarantineFilter): boolean {
  return [recipient, sender, subject, states].some((each) => each !== undefined)
}

/** The rest of a filter. */
export function fitsText(item: QuarantineItem, filter: QuarantineFilter): boolean {
  const { recipient, sender, subject, states } = filter
  if (sender !== undefined && !fitsAddress(item.mailFrom, sender)) return false
  if (subject !== undefined && !(item.subject ?? '').toLowerCase().includes(subject.toLowerCase()))
    return false
  if (recipient === undefined && states === undefined) return true
  return item.recipients.some(
    ({ address, state }) =>
      (recipient === undefined || fitsAddress(address, recipient)) &&
      (states === undefined || (state !== undefined && states.includes(state))),
  )
}

function fitsAddress(address: string, wanted: string): boolean {
  const [have, want] = [address.toLowerCase(), wanted.toLowerCase()]
  if (want === '' || want === '<>') return have === ''
  const at = want.lastIndexOf('@')
  if (at > 0) return have === want
  const domain = have.slice(have.lastIndexOf('@') + 1)
  const name = want.slice(at + 1)
  return name.startsWith('.') ? domain === name.slice(1) || domain.endsWith(name) : domain === name
}
