/** The result for people, as Markdown. */

function table(head, lines) {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Also for what is expected: `0–1`. */
function range([least, most]) {
  return least === most ? `${least}` : `${least}–${most}`
}

function outcome({ wrong }) {
  return wrong.length === 0 ? 'as expected' : `**${wrong.join('; ')}**`
}

function matrixLine(kit, result) {
  const { point, fate, failed } = result
  const start = [point.name, point.what, kindName(result), fate]
  const expected = range(kit.expectedAfter(result))
  const atFirst = range(kit.expectedBefore(result))
  if (failed) return [...start, '–', atFirst, '–', expected, '–', '–', '–', outcome(result)]
  const { runs, before, after, lost, doubled } = result
  return [...start, runs, atFirst, range(before), expected, range(after), lost, doubled, outcome(result)]
}

function kindName({ point, kind }) {
  if (kind !== 'throw') return kind
  if (point.byClient) return 'connection lost'
  return point.uncaught ? 'exception, not caught' : 'exception'
}

function matrixTable(kit, matrix) {
  const head = ['point', 'where', 'fault', 'mail', 'runs', 'first try: expected', 'found']
  head.push('in the end: expected', 'found', 'lost', 'runs with two copies', 'result')
  return table(
    head,
    matrix.map((result) => matrixLine(kit, result)),
  )
}

function lostTable(lost) {
  const head = [
    'replies lost',
    'runs',
    'tries',
    'answered from the ledger',
    'copies for each, all runs',
    'result',
  ]
  return table(
    head,
    lost.map((row) => {
      const { what, runs, tries, replayed, copies } = row
      return [what, runs ?? '–', tries ?? '–', replayed ?? '–', copies.join(', '), outcome(row)]
    }),
  )
}

function soakText(soak) {
  const { messages, kills, seconds, copies, lost, wrongBodies, bounces } = soak
  const { extraCopies, doubledByKill, unexplained } = soak
  if (soak.failed) return outcome(soak)
  const lines = [
    ['messages, three recipients each', messages],
    ['SIGKILLs', kills],
    ['seconds', Math.round(seconds)],
    ['copies at the sink', copies],
    ['lost', lost],
    ['bodies that nobody sent', wrongBodies],
    ['bounces', bounces],
    ['copies beyond the first', extraCopies],
    ['messages with such copies whose first try was killed before it could be told', doubledByKill],
    ['messages with such copies and no kill to explain them', unexplained.length],
    ['result', outcome(soak)],
  ]
  return table(['soak', `a kill every ${soak.killEveryMs} ms, ${soak.concurrency} clients`], lines)
}

/** `found`: machine, minutes, and the results of matrix, lost replies (perhaps none), and soak (perhaps absent). */
export function markdown(kit, { machine, minutes, matrix, lost, soak }) {
  const { machine: hardware, system, programs, commit } = machine
  const about = Object.entries({ machine: hardware, system, programs, commit, 'took, minutes': minutes })
  const faults = matrix.reduce((sum, { runs = 0 }) => sum + runs, 0)
  const off = matrix.filter(({ wrong }) => wrong.length > 0).length
  return [
    '# Faults',
    'Written by `npm run faults`. A client that plays Postfix brings each message until every recipient is answered.',
    about.map(([what, value]) => `- ${what}: ${value}`).join('\n'),
    '## Kill matrix',
    `${faults} faults in ${matrix.length} cells, ${off} of them not as expected. Copies are those for one recipient ` +
      'at the sink; of a mail that is kept, whole files of it in quarantine. A second copy is what the gap between the ' +
      'answer of 10025 and the ledger costs; the file in quarantine has its id reserved before, so it has none.',
    matrixTable(kit, matrix),
    kit.MISSING_POINTS.map(({ name, what }) => `- ${name} does not exist yet: ${what}`).join('\n'),
    ...(lost.length === 0
      ? []
      : ['## Lost replies', 'Nothing of ours fails: the client goes away.', lostTable(lost)]),
    ...(soak === undefined ? [] : ['## Soak', soakText(soak)]),
    '',
  ].join('\n\n')
}
