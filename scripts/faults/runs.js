/** Runs the parts of the fault kit. A cell that could not be run counts as one that is off. */

/** All cells of these points, in the order of the points. */
export async function runMatrix(kit, { points, runs }, say) {
  const cells = points.flatMap((point) =>
    kit.FAULT_KINDS.flatMap((kind) => point.fates.map((fate) => ({ point, kind, fate }))),
  )
  const results = []
  for (const cell of cells) {
    const result = await attempt(cell, async () => await kit.runCell(cell, runs))
    tell(say, `${cell.point.name} ${cell.kind} ${cell.fate}`, result)
    results.push(result)
  }
  return results
}

/** All rows of lost replies. */
export async function runLostReplies(kit, { runs }, say) {
  const results = []
  for (const row of kit.LOST_REPLIES) {
    const result = await attempt(row, async () => await kit.runLostReply(row, runs))
    tell(say, row.what, result)
    results.push(result)
  }
  return results
}

/** The soak, with what is wrong about it. */
export async function runSoak(kit, { soak: messages, every: killEveryMs }, say) {
  const onProgress = (sent, kills) => say(`soak: ${sent} of ${messages} sent, ${kills} kills`)
  const plan = { messages, concurrency: 10, killEveryMs, onProgress }
  const result = await attempt(plan, async () => {
    const found = await kit.soak(plan)
    const { lost, wrongBodies, bounces, unexplained } = found
    const wrong = Object.entries({ lost, wrongBodies, bounces, unexplained: unexplained.length })
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${what}: ${count}`)
    return { ...plan, ...found, wrong }
  })
  tell(say, 'soak', result)
  return result
}

async function attempt(plan, work) {
  try {
    return await work()
  } catch (error) {
    return { ...plan, wrong: [`not run: ${error.message.split('\n', 1)[0]}`], failed: true }
  }
}

function tell(say, what, { wrong }) {
  say(`${what}: ${wrong.length === 0 ? 'as expected' : wrong.join('; ')}`)
}
