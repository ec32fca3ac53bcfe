/** The candidate that was probably meant by a mistyped word. Absent: none is near enough. */
export function mostSimilar(word: string, candidates: readonly string[]): string | undefined {
  const wanted = plain(word)
  // A word of three letters is near everything.
  const most = wanted.length <= 3 ? 1 : 2
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate), most)
    if (distance <= most && distance < (best?.distance ?? Infinity)) best = { candidate, distance }
  }
  if (best !== undefined) return best.candidate
  const synonym = SYNONYMS[wanted]
  if (synonym !== undefined && candidates.includes(synonym)) return synonym
  return candidates.find((candidate) => isStem(plain(candidate), wanted)) ?? onlyLonger(wanted, candidates)
}

/** `kill` for `killLevel`, where nothing else begins like it. */
function onlyLonger(wanted: string, candidates: readonly string[]): string | undefined {
  const longer = candidates.filter((candidate) => wanted.length >= 4 && plain(candidate).startsWith(wanted))
  return longer.length === 1 ? longer[0] : undefined
}

/** Words of other mail software. */
const SYNONYMS: Readonly<Record<string, string>> = {
  accept: 'pass',
  banned: 'block',
  blacklist: 'block',
  critical: 'error',
  defer: 'tempfail',
  delete: 'discard',
  deny: 'block',
  drop: 'discard',
  fail: 'tempfail',
  haproxy: 'proxies',
  haproxytrustednetworks: 'proxies',
  header: 'bad-header',
  infected: 'virus',
  max: 'highest',
  permit: 'allow',
  postscreenupstreamproxyprotocol: 'proxies',
  proxy: 'proxies',
  proxyprotocol: 'proxies',
  smtpdupstreamproxyprotocol: 'proxies',
  welcomelist: 'allow',
  whitelist: 'allow',
}

/** Whether two words differ only as `kill_level`, `kill-level` and `killLevel` do. */
export function isSameWord(one: string, other: string): boolean {
  return plain(one) === plain(other)
}

/** `warning` for `warn`, `quarantineDir` for `quarantine`. */
function isStem(stem: string, word: string): boolean {
  return stem.length >= 3 && word.startsWith(stem)
}

/** `kill_level`, `kill-level` and `KillLevel` are one word to whoever wrote them. */
function plain(word: string): string {
  return word.slice(0, 100).toLowerCase().replace(/[_-]/g, '')
}

/** Letters to insert, delete, replace or swap with the next one; anything above `most` may be given as more. */
function editDistance(from: string, to: string, most: number): number {
  if (Math.abs(from.length - to.length) > most) return most + 1
  let before: number[] = []
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1]
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      next.push(
        Math.min(
          at(row, j) + 1,
          at(next, j - 1) + 1,
          at(row, j - 1) + (same ? 0 : 1),
          swapped ? at(before, j - 2) + 1 : Infinity,
        ),
      )
    }
    before = row
    row = next
  }
  return at(row, to.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity
}
