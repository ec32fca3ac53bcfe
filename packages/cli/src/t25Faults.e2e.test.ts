import { describe, expect, test } from '@jest/globals'
import { KILL_POINTS, LOST_REPLIES, runCell, runLostReply } from '@ecluse/fixtures'

const cells = KILL_POINTS.flatMap((point) => point.fates.map((fate) => ({ name: point.name, point, fate })))

describe('killed once', () => {
  test.each(cells)('at $name: what is to be $fate is there once it was retried', async ({ point, fate }) => {
    const { wrong } = await runCell({ point, kind: 'SIGKILL', fate }, 1)
    expect(wrong).toEqual([])
  })
})

describe('a lost reply', () => {
  test.each(LOST_REPLIES)('$what: nothing is done twice', async (row) => {
    const { wrong, replayed } = await runLostReply(row, 2)
    expect(wrong).toEqual([])
    expect(replayed).toBeGreaterThan(0)
  })
})
