/** What all sections have in common: rows that are as expected or not, and how they are told. */

export function table(head, lines) {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Also for what is expected: `0–1`. */
export function range([least, most]) {
  return least === most ? `${least}` : `${least}–${most}`
}

export function outcome({ wrong }) {
  return wrong.length === 0 ? 'as expected' : `**${wrong.join('; ')}**`
}

/** How many rows are off, in words. */
export function offText(rows) {
  const off = rows.filter(({ wrong }) => wrong.length > 0).length
  return `${rows.length} rows, ${off} of them not as expected.`
}

/** The row that `work` gives; one that could not be run counts as one that is off. */
export async function attempt(plan, work) {
  try {
    return await work()
  } catch (error) {
    return { ...plan, wrong: [`not run: ${error.message.split('\n', 1)[0]}`], failed: true }
  }
}

export function tell(say, what, { wrong }) {
  say(`${what}: ${wrong.length === 0 ? 'as expected' : wrong.join('; ')}`)
}

/** What is above 0 and must not be. */
export function aboveZero(counts) {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${what}: ${count}`)
}

/** What `work` gives for each item, so many at the same time, in the order of the items. */
export async function inLanes(items, lanes, work) {
  const results = []
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      const index = next++
      results[index] = await work(items[index])
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return results
}
