import { describe, expect, test } from '@jest/globals'
import { CLEAN, FilterError, type ConfiguredScanner, type ErrorCode } from '@ecluse/core'
import { Breakers, type Admission, type CircuitChange } from './breaker.ts'

const RETRY_AFTER_MS = 30_000
const error = (code: ErrorCode): FilterError => new FilterError(code, 'it failed')

function configured(changes: Partial<ConfiguredScanner> = {}): ConfiguredScanner {
  return {
    name: 'clamav',
    kind: 'fake',
    concerns: ['virus'],
    timeoutMs: 1000,
    onError: 'tempfail',
    breaker: { failures: 3, retryAfterMs: RETRY_AFTER_MS },
    scanner: { scan: async () => CLEAN, version: async () => ({ engine: 'fake' }) },
    ...changes,
  }
}

/** Breakers with a clock that only the test moves. */
function start(scanner = configured()) {
  let time = 5
  const changes: CircuitChange[] = []
  const breakers = new Breakers({ now: () => time, onChange: (change) => void changes.push(change) })
  const admit = (): Admission => {
    const admission = breakers.admit(scanner)
    if (!admission) throw new Error('not let through')
    return admission
  }
  const fail = (code: ErrorCode = 'E_SCANNER_TIMEOUT'): boolean => admit().settle(error(code))
  return {
    breakers,
    scanner,
    changes,
    admit,
    fail,
    open: (code?: ErrorCode): void => {
      for (let i = 0; i < 3; i++) fail(code)
    },
    pass: (ms: number): void => {
      time += ms
    },
  }
}

describe('closed', () => {
  test('opens after so many failures in a row, and says so once', () => {
    const { fail, changes, breakers, scanner } = start()
    expect([fail(), fail()]).toEqual([false, false])
    expect(changes).toEqual([])
    expect(breakers.isOpen(scanner)).toBe(false)
    expect(fail('E_SCANNER_LOST')).toBe(true)
    expect(changes).toEqual([
      {
        scanner: 'clamav',
        open: true,
        failures: 3,
        error: expect.objectContaining({ code: 'E_SCANNER_LOST' }),
      },
    ])
    expect(breakers.isOpen(scanner)).toBe(true)
  })

  test('an answer begins the count anew', () => {
    const { fail, admit, changes } = start()
    fail()
    fail()
    admit().settle('answered')
    fail()
    fail()
    expect(changes).toEqual([])
  })

  test.each(['E_SCANNER_CONNECT', 'E_SCANNER_LOST', 'E_SCANNER_TIMEOUT', 'E_SCANNER_PROTOCOL'] as const)(
    '%s counts',
    (code) => {
      const { open, changes } = start()
      open(code)
      expect(changes).toHaveLength(1)
    },
  )

  test.each(['E_SCANNER_LIMIT', 'E_ABORTED'] as const)('%s neither counts nor begins anew', (code) => {
    const { fail, changes } = start()
    fail()
    fail()
    fail(code)
    fail(code)
    expect(changes).toEqual([])
    fail()
    expect(changes).toHaveLength(1)
  })
})

describe('open', () => {
  test('nobody is let through until the time is over, then one at a time', () => {
    const { open, pass, breakers, scanner, admit } = start()
    open()
    expect(breakers.admit(scanner)).toBeUndefined()
    pass(RETRY_AFTER_MS - 1)
    expect(breakers.admit(scanner)).toBeUndefined()
    pass(1)
    expect(admit().isTrial).toBe(true)
    expect(breakers.admit(scanner)).toBeUndefined()
    pass(10 * RETRY_AFTER_MS)
    expect(breakers.admit(scanner)).toBeUndefined()
  })

  test('refuses as long as the next message would not try', () => {
    const { open, pass, breakers, scanner, admit } = start()
    const seen = [breakers.refuses(scanner)]
    open()
    seen.push(breakers.refuses(scanner))
    pass(RETRY_AFTER_MS)
    seen.push(breakers.refuses(scanner))
    const trial = admit()
    seen.push(breakers.refuses(scanner))
    trial.settle('answered')
    seen.push(breakers.refuses(scanner))
    expect(seen).toEqual([false, true, false, true, false])
  })

  test('an answer to the one that tries closes it, and says so once', () => {
    const { open, pass, admit, changes, breakers, scanner } = start()
    open()
    pass(RETRY_AFTER_MS)
    admit().settle('answered')
    admit().settle('answered')
    expect(changes.slice(1)).toEqual([{ scanner: 'clamav', open: false, failures: 0 }])
    expect(breakers.isOpen(scanner)).toBe(false)
    expect(admit().isTrial).toBe(false)
  })

  test('its failure starts the wait anew, without a word', () => {
    const { open, pass, fail, changes, breakers, scanner } = start()
    open()
    pass(RETRY_AFTER_MS)
    expect(fail()).toBe(false)
    expect(changes).toHaveLength(1)
    pass(RETRY_AFTER_MS - 1)
    expect(breakers.admit(scanner)).toBeUndefined()
    pass(1)
    expect(breakers.admit(scanner)?.isTrial).toBe(true)
  })

  test.each(['E_ABORTED', 'E_SCANNER_LIMIT'] as const)('%s of it lets the next one try at once', (code) => {
    const { open, pass, fail, admit, changes } = start()
    open()
    pass(RETRY_AFTER_MS)
    fail(code)
    expect(admit().isTrial).toBe(true)
    expect(changes).toHaveLength(1)
  })

  test('what began before and fails now does not lengthen the wait', () => {
    const { open, pass, admit, breakers, scanner } = start()
    const [early, late] = [admit(), admit()]
    open()
    pass(RETRY_AFTER_MS - 1)
    early.settle(error('E_SCANNER_TIMEOUT'))
    pass(1)
    expect(admit().isTrial).toBe(true)
    // Nor does it end the trial of another.
    late.settle(error('E_SCANNER_TIMEOUT'))
    expect(breakers.admit(scanner)).toBeUndefined()
  })

  test('what began before and is answered now closes it', () => {
    const { open, admit, changes } = start()
    const early = admit()
    open()
    early.settle('answered')
    expect(changes.map((change) => change.open)).toEqual([true, false])
  })
})

describe('an answer to another question', () => {
  test('closes what is open since nobody could connect', () => {
    const { open, breakers, scanner, changes } = start()
    open('E_SCANNER_CONNECT')
    breakers.answered(scanner)
    expect(breakers.isOpen(scanner)).toBe(false)
    expect(changes.map((change) => change.open)).toEqual([true, false])
  })

  test.each(['E_SCANNER_TIMEOUT', 'E_SCANNER_LOST', 'E_SCANNER_PROTOCOL'] as const)(
    'says nothing where scans end in %s',
    (code) => {
      const { open, breakers, scanner } = start()
      open(code)
      breakers.answered(scanner)
      expect(breakers.isOpen(scanner)).toBe(true)
    },
  )

  test('of an engine that never failed changes nothing', () => {
    const { breakers, scanner, changes } = start()
    breakers.answered(scanner)
    expect(changes).toEqual([])
  })
})

describe('to whom the state belongs', () => {
  test('to the engine: other names, timeouts and rules find it as it is', () => {
    const { open, breakers, scanner } = start()
    open()
    expect(breakers.admit({ ...scanner, onError: 'pass', timeoutMs: 1 })).toBeUndefined()
  })

  test('not to another engine of the same name', () => {
    const { open, breakers } = start()
    open()
    expect(breakers.admit(configured())).toBeDefined()
  })

  const { breaker: _, ...unguarded } = configured()
  test.each([
    ['with 0 failures', configured({ breaker: { failures: 0, retryAfterMs: 1 } })],
    ['that is absent', unguarded],
  ])('a breaker %s never opens', (_name, scanner) => {
    const { open, breakers, changes } = start(scanner)
    open()
    expect(breakers.admit(scanner)).toBeDefined()
    expect([breakers.isOpen(scanner), breakers.refuses(scanner), changes]).toEqual([false, false, []])
  })

  test('new settings count from the next message on', () => {
    const { open, breakers, scanner, pass } = start()
    open()
    pass(1000)
    expect(breakers.admit({ ...scanner, breaker: { failures: 3, retryAfterMs: 1000 } })?.isTrial).toBe(true)
    expect(breakers.admit({ ...scanner, breaker: { failures: 0, retryAfterMs: 1000 } })?.isTrial).toBe(false)
  })
})
