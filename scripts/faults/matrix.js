import { attempt, inLanes, outcome, range, table, tell } from './table.js'

/** The kill matrix: all cells of the points that are asked for, in the order of the points. */
export const matrix = {
  name: 'matrix',
  title: 'Kill matrix',
  isUsual: true,
  async run(kit, { points, runs, jobs }, say) {
    const chosen = kit.KILL_POINTS.filter(({ name }) => points?.includes(name) ?? true)
    const cells = chosen.flatMap((point) =>
      kit.FAULT_KINDS.flatMap((kind) => point.fates.map((fate) => ({ point, kind, fate }))),
    )
    return await inLanes(cells, jobs, async (cell) => {
      const row = await attempt(cell, async () => await kit.runCell(cell, runs))
      tell(say, `${cell.point.name} ${cell.kind} ${cell.fate}`, row)
      return row
    })
  },
  text(kit, rows) {
    const faults = rows.reduce((sum, { runs = 0 }) => sum + runs, 0)
    const off = rows.filter(({ wrong }) => wrong.length > 0).length
    const head = ['point', 'where', 'fault', 'mail', 'runs', 'first try: expected', 'found']
    head.push('in the end: expected', 'found', 'lost', 'runs with two copies', 'result')
    return [
      'A client that plays Postfix brings each message until every recipient is answered.',
      `${faults} faults in ${rows.length} cells, ${off} of them not as expected. Copies are those for one recipient ` +
        'at the sink; of a mail that is kept, whole files of it in quarantine. A second copy is what the gap between ' +
        'the answer of 10025 and the ledger costs; the file in quarantine has its id reserved before, so it has none.',
      table(
        head,
        rows.map((row) => line(kit, row)),
      ),
      kit.MISSING_POINTS.map(({ name, what }) => `- ${name} does not exist yet: ${what}`).join('\n'),
    ].join('\n\n')
  },
}

function line(kit, row) {
  const { point, fate, failed } = row
  const start = [point.name, point.what, kindName(row), fate]
  const expected = range(kit.expectedAfter(row))
  const atFirst = range(kit.expectedBefore(row))
  if (failed) return [...start, '–', atFirst, '–', expected, '–', '–', '–', outcome(row)]
  const { runs, before, after, lost, doubled } = row
  return [...start, runs, atFirst, range(before), expected, range(after), lost, doubled, outcome(row)]
}

function kindName({ point, kind }) {
  if (kind !== 'throw') return kind
  if (point.byClient) return 'connection lost'
  return point.uncaught ? 'exception, not caught' : 'exception'
}
