import { FAILPOINTS, FilterError, hookFailpoints, type Failpoint } from '@ecluse/core'
import type { Surroundings } from './command.ts'

/** What a test of faults can have done at a failpoint. */
const ACTIONS = ['SIGKILL', 'SIGTERM', 'throw'] as const
type Action = (typeof ACTIONS)[number]

/** What `ECLUSE_FAILPOINT` says. */
export interface FailpointPlan {
  readonly point: Failpoint
  readonly action: Action
  /** At which time that the point is come to, counted from 1; 0: at none before SIGUSR2. */
  readonly nth: number
}

/** What a process does for it; tests give their own. */
export interface FailingProcess {
  readonly pid: number
  kill(pid: number, signal: string): unknown
  on(event: 'SIGUSR2', listener: () => void): unknown
}

/**
 * Reads `POINT:ACTION[:NTH]`, such as `K13:SIGKILL` or `K2:throw:2`; the point by its short name.
 *
 * @throws FilterError E_USAGE
 */
export function readFailpoint(text: string): FailpointPlan {
  const [name, word, nth = '1', ...more] = text.split(':')
  const point = FAILPOINTS.find((candidate) => candidate.split('-', 1)[0] === name)
  const action = ACTIONS.find((candidate) => candidate === word)
  if (point && action && /^\d{1,6}$/.test(nth) && more.length === 0) {
    return { point, action, nth: Number(nth) }
  }
  const points = FAILPOINTS.map((candidate) => candidate.split('-', 1)[0]).join(', ')
  throw new FilterError('E_USAGE', `ECLUSE_FAILPOINT: ${JSON.stringify(text.slice(0, 60))} is no failpoint`, {
    hint: `POINT:${ACTIONS.join('|')}[:NTH], POINT one of ${points}`,
  })
}

/**
 * Arms the failpoint that the environment names, for a test: it does its action once. SIGUSR2 arms it anew, for the next
 * time that it is come to, which is told on stderr. Without `ECLUSE_FAILPOINT` nothing happens.
 *
 * @throws FilterError E_USAGE: cannot be read; or `ECLUSE_TEST` is not 1, so that no service is ended by a leftover
 */
export function armFailpoint(
  { env, complain }: Pick<Surroundings, 'env' | 'complain'>,
  around: FailingProcess = process,
): void {
  const text = env['ECLUSE_FAILPOINT']
  if (text === undefined) return
  const { point, action, nth } = readFailpoint(text)
  if (env['ECLUSE_TEST'] !== '1') {
    throw new FilterError('E_USAGE', 'ECLUSE_FAILPOINT: is for tests and would break this service', {
      hint: 'unset it; a test sets ECLUSE_TEST=1 as well',
    })
  }
  let left = nth
  hookFailpoints((at) => {
    if (at !== point || left === 0) return
    left -= 1
    if (left > 0) return
    complain(`failpoint ${point}: ${action}`)
    if (action === 'throw') throw new Error(`failpoint ${point}`)
    around.kill(around.pid, action)
  })
  around.on('SIGUSR2', () => {
    left = 1
    complain(`failpoint ${point}: armed`)
  })
}
