/** Milliseconds that each stage took; absent: the message did not come to it. */
export interface StageTimes {
  scan?: number
  decide?: number
  quarantine?: number
  reinject?: number
}

/** Each call gives the milliseconds since the one before. */
export function stopwatch(): () => number {
  let last = performance.now()
  return () => {
    const before = last
    last = performance.now()
    return last - before
  }
}
