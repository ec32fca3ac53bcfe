import { aboveZero, attempt, outcome, table, tell } from './table.js'

const concurrency = 20
const sampleEveryMs = 10_000
/** Rows of the table of samples. */
const shownSamples = 12
/** What comes before belongs to the start. */
const warmUpShare = 0.2
const limits = { lagMs: 100, mebibytesPer100k: 64, openFiles: 8 }

/** Mixed mail for a long time. */
export const mixed = {
  name: 'mixed',
  title: 'Mixed soak',
  async run(kit, { mixed: messages }, say) {
    const onSample = (sample) =>
      say(
        `mixed: ${sample.messages} of ${messages}, ${sample.residentMiB} MiB, lag ${whole(sample.lagMs)} ms`,
      )
    const plan = { messages, concurrency, sampleEveryMs, onSample }
    const row = await attempt(plan, async () => judge(kit, { ...plan, ...(await kit.mixedSoak(plan)) }))
    tell(say, 'mixed', row)
    return [row]
  },
  text(kit, [row]) {
    if (row.failed) return outcome(row)
    return [
      'Sizes from 1 kB to 2 MB, most of them small; 1 to 20 recipients; clamd and spamd that fail for a tenth of the ' +
        'time, each time in another way; clients that go away midway or after the dot. Every message comes again ' +
        'until every recipient is answered. Ham and malformed mail must come to the sink once and end with the bytes ' +
        'that were sent, spam and viruses must be kept.',
      table(['mixed', `${row.concurrency} clients`], figures(row)),
      'The process meanwhile; the lag is `nodejs_eventloop_lag_p99_seconds`, of the time since the row before or a ' +
        'sample between them, the worst.',
      samplesTable(row.samples),
    ].join('\n\n')
  },
}

function judge(kit, row) {
  const { lost, extraCopies, wrongDigest, refused, internalErrors, temporaryFilesAfter } = row
  const warm = row.samples.filter(({ messages }) => messages >= row.messages * warmUpShare)
  const per100k = kit.slope(warm.map((sample) => [sample.messages / 1e5, sample.residentMiB]))
  const lags = row.samples.map(({ lagMs }) => lagMs).toSorted((a, b) => a - b)
  const lag = { median: lags[lags.length >> 1], worst: lags.at(-1) }
  const wrong = aboveZero({ lost, extraCopies, wrongDigest, refused, internalErrors, temporaryFilesAfter })
  // A short run has no slope.
  if (warm.length > 10 && per100k > limits.mebibytesPer100k) wrong.push(`memory: +${whole(per100k)} MiB`)
  if (row.openAfter > row.openBefore + limits.openFiles) wrong.push(`descriptors: ${row.openAfter}`)
  if (lag.median >= limits.lagMs) wrong.push(`lag: ${whole(lag.median)} ms`)
  return { ...row, per100k, lag, wrong }
}

function figures(row) {
  const kinds = Object.entries(row.kinds).map(([kind, count]) => `${count} ${kind}`)
  return [
    ['messages', `${row.messages}: ${kinds.join(', ')}`],
    ['recipients', row.recipients],
    ['seconds', Math.round(row.seconds)],
    ['megabytes', Math.round(row.megabytes)],
    ['times that a scanner failed', row.scannerFaults],
    ['clients that went away', row.gone],
    ['tries beyond the first', row.retries],
    ['lost', row.lost],
    ['wrong digest', row.wrongDigest],
    ['copies beyond the first', row.extraCopies],
    ['refused for good', row.refused],
    ['files in quarantine', row.kept],
    [
      'resident memory after the warm-up, MiB for 100,000 messages',
      `${row.per100k > 0 ? '+' : ''}${whole(row.per100k)}`,
    ],
    ['descriptors before and after', `${row.openBefore}, ${row.openAfter}`],
    ['temporary files after', row.temporaryFilesAfter],
    [
      'lag of the event loop, p99 of 10 s: median, worst (ms)',
      `${whole(row.lag.median)}, ${whole(row.lag.worst)}`,
    ],
    ['errors that nobody foresaw', row.internalErrors],
    ['result', outcome(row)],
  ]
}

function samplesTable(samples) {
  const step = Math.max(1, Math.ceil(samples.length / shownSamples))
  const head = [
    'messages',
    'resident, MiB',
    'heap, MiB',
    'descriptors',
    'temporary files',
    'ledger: files',
    'KiB',
  ]
  const lines = []
  for (let end = samples.length; end > 0; end -= step) {
    const group = samples.slice(Math.max(0, end - step), end)
    const last = group.at(-1)
    const worst = Math.max(...group.map(({ lagMs }) => lagMs))
    const files = [last.openFiles, last.temporaryFiles, last.ledgerFiles, last.ledgerKiB]
    lines.unshift([last.messages, last.residentMiB, last.heapMiB, ...files, whole(worst)])
  }
  return table([...head, 'lag p99, ms'], lines)
}

const whole = (value) => Math.round(value)
