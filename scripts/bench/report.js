/** The result for people, as Markdown. */
import { median } from './turns.js'

function number(value, digits) {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

function figure(value, unit) {
  if (value === undefined) return '–'
  return unit === 'ratio'
    ? number(value, 2)
    : `${number(value, unit === 'ms' || unit === 'µs' ? 2 : 0)} ${unit}`
}

/** `met`, or `short by …`; a target is a ratio to reach or an amount not to exceed. */
export function judge({ atLeast, atMost, unit }, value) {
  const missing = atLeast === undefined ? value - atMost : atLeast - value
  return missing <= 0 ? 'met' : `short by ${figure(missing, unit)}`
}

function targetText({ atLeast, atMost, unit }) {
  return atLeast === undefined ? `≤ ${figure(atMost, unit)}` : `≥ ${figure(atLeast, unit)}`
}

function table(head, lines) {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function verdict({ row, result, error }) {
  if (error !== undefined) return `not measured: ${error}`
  const failure = result.sides.find(({ name }) => name === 'Écluse')?.failure
  if (failure !== undefined) return `not measured: ${failure}`
  return result.ecluse === undefined ? 'not measured' : judge(row.target, result.ecluse)
}

function amavisdText({ row, result }, amavisdReason) {
  if (amavisdReason !== undefined || result === undefined) return '–'
  const failure = result.sides.find(({ name }) => name === 'amavisd-new')?.failure
  return failure === undefined ? figure(result.amavisd, row.target.unit) : `not measured: ${failure}`
}

function comparison(outcomes, amavisdReason) {
  const lines = outcomes.map((outcome) => {
    const { row, result } = outcome
    const what = row.against === '' ? row.title : `${row.title}, against ${row.against}`
    const ecluse = figure(result?.ecluse, row.target.unit)
    return [
      row.name,
      what,
      targetText(row.target),
      ecluse,
      verdict(outcome),
      amavisdText(outcome, amavisdReason),
    ]
  })
  return table(['row', 'what', 'target', 'Écluse', 'result', 'amavisd-new'], lines)
}

function medianOf(rounds, key, digits) {
  const values = rounds.map((round) => round[key]).filter((value) => value !== undefined)
  return values.length === 0 ? '–' : number(median(values), digits)
}

function rawLine(row, { name, rounds, memoryMB, idleMB, failure }) {
  if (failure !== undefined) return [row.name, name, '–', '–', '–', '–', `not measured: ${failure}`]
  if (rounds === undefined) {
    const idle = idleMB === undefined ? '' : `, ${figure(idleMB, 'MB')} idle`
    return [row.name, name, '–', '–', '–', '–', `${figure(memoryMB, 'MB')}${idle}`]
  }
  const rates = rounds.map(({ perSecond }) => perSecond)
  const digits = median(rates) < 100 ? 1 : 0
  const spread = `${number(Math.min(...rates), digits)} – ${number(Math.max(...rates), digits)}`
  const cells = [medianOf(rounds, 'perSecond', digits), spread, medianOf(rounds, 'p50Ms', 2)]
  return [row.name, name, ...cells, medianOf(rounds, 'cpuMs', 2), figure(memoryMB, 'MB')]
}

function raw(outcomes) {
  const head = ['row', 'side', 'messages/s', 'lowest – highest', 'p50 ms', 'filter CPU ms/message', 'memory']
  const lines = outcomes.flatMap(({ row, result }) => (result?.sides ?? []).map((side) => rawLine(row, side)))
  return table(head, lines)
}

/** `machine`: pairs of what and value. `outcomes`: `{ row, result }` or `{ row, error }`, in the order of the rows. */
export function markdown({ machine, plan, outcomes, amavisdReason }) {
  const about = Object.entries(machine).map(([what, value]) => `- ${what}: ${value}`)
  return [
    '# Benchmark',
    about.join('\n'),
    `Sides are measured in turn, ${plan.rounds} rounds of about ${plan.seconds} s each; the figure is the median of the ` +
      'ratios of the rounds. All filters are spoken to by LMTP and hand on by SMTP; every message is counted at the sink.',
    comparison(outcomes, amavisdReason),
    ...(amavisdReason === undefined ? [] : [`amavisd-new: ${amavisdReason}`]),
    '## Raw figures',
    'Medians of the rounds; memory of amavisd-new is the sum over its processes, shared pages counted once.',
    raw(outcomes),
    '',
  ].join('\n\n')
}
