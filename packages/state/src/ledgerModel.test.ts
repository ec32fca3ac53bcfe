import { appendFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { keyOf, LedgerKit, NEVER, relayed, TTL_MS } from '../test/sample.ts'
import type { Attempt, Ledger, LedgerResult } from './ledger.ts'
import { formatRecord } from './ledgerRecord.ts'

const KEYS = [0, 1, 2, 3]
const RECIPIENTS = ['1 a@x', '1 b@x', '2 a@x']
const kit = new LedgerKit()

afterEach(async () => {
  await kit.tearDown()
})

type Step =
  | { readonly kind: 'record'; readonly key: number; readonly recipients: readonly string[] }
  | { readonly kind: 'reserve'; readonly key: number; readonly recipients: readonly string[] }
  | { readonly kind: 'burst'; readonly keys: readonly number[] }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'restart' }
  /** The process ends while a record is written, and this much of it is there. */
  | { readonly kind: 'crash'; readonly part: number }

const key = fc.nat({ max: 3 })
const recipients = fc.subarray(RECIPIENTS)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('record'), key, recipients }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reserve'), key, recipients }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('burst'), keys: fc.array(key, { maxLength: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.nat({ max: TTL_MS / 2 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart') }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('crash'), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
)

interface Known {
  result?: LedgerResult
  resultAt?: number
  id?: string
  idAt?: number
}

/** What a ledger is: a map with a time to live. */
class Model {
  readonly #known = new Map<string, Known>()
  #count = 0

  /** Something that no other step has. */
  next(): string {
    return `N${++this.#count}`
  }

  at(number: number, recipient: string): Known {
    const name = `${number} ${recipient}`
    const known = this.#known.get(name) ?? {}
    this.#known.set(name, known)
    return known
  }

  done(number: number): Map<string, LedgerResult> {
    const done = new Map<string, LedgerResult>()
    for (const recipient of RECIPIENTS) {
      const { result, resultAt = 0 } = this.at(number, recipient)
      if (result !== undefined && resultAt + TTL_MS > kit.now) done.set(recipient, result)
    }
    return done
  }

  id(number: number, recipient: string): string | undefined {
    const { id, idAt = 0 } = this.at(number, recipient)
    return idAt + TTL_MS > kit.now ? id : undefined
  }
}

async function attempt(
  ledger: Ledger,
  number: number,
  action: (attempt: Attempt) => Promise<void>,
): Promise<void> {
  const begun = await ledger.begin(keyOf(number), RECIPIENTS, new AbortController().signal)
  try {
    await action(begun)
  } finally {
    begun.end()
  }
}

async function record(
  { ledger, model }: { readonly ledger: Ledger; readonly model: Model },
  number: number,
  wanted: readonly string[],
): Promise<void> {
  await attempt(ledger, number, async (begun) => {
    const results = new Map(wanted.map((recipient) => [recipient, relayed(model.next())]))
    await begun.record(results)
    for (const [recipient, result] of results) {
      Object.assign(model.at(number, recipient), { result, resultAt: kit.now })
    }
  })
}

async function reserve(ledger: Ledger, model: Model, on: Step & { readonly kind: 'reserve' }): Promise<void> {
  await attempt(ledger, on.key, async (begun) => {
    const id = model.next()
    await begun.reserve(id, on.recipients)
    for (const recipient of on.recipients) {
      Object.assign(model.at(on.key, recipient), { id, idAt: kit.now })
    }
  })
}

async function crash(part: number): Promise<Ledger> {
  await kit.closeAll()
  const last = (await readdir(kit.directory))
    .filter((name) => name.endsWith('.log'))
    .sort()
    .at(-1)
  const items = [{ recipient: '1 a@x', result: relayed('torn') }]
  const torn = Buffer.concat(formatRecord({ key: keyOf(0), at: kit.now, items }))
  await appendFile(join(kit.directory, last ?? ''), torn.subarray(0, Math.floor(part * (torn.length - 1))))
  return await kit.start()
}

async function apply(ledger: Ledger, model: Model, on: Step): Promise<Ledger> {
  switch (on.kind) {
    case 'record':
      await record({ ledger, model }, on.key, on.recipients)
      return ledger
    case 'reserve':
      await reserve(ledger, model, on)
      return ledger
    case 'burst':
      await Promise.all(on.keys.map((number) => record({ ledger, model }, number, RECIPIENTS)))
      return ledger
    case 'wait':
      kit.now += on.ms
      return ledger
    case 'restart':
      return await kit.restart()
    case 'crash':
      return await crash(on.part)
  }
}

/** All that can be asked of a ledger. */
async function stateOf(ledger: Ledger): Promise<unknown> {
  const state: unknown[] = []
  for (const number of KEYS) {
    const begun = await ledger.begin(keyOf(number), RECIPIENTS, NEVER)
    begun.end()
    state.push([begun.done, RECIPIENTS.map((recipient) => begun.reservedId([recipient]))])
  }
  return state
}

function stateOfModel(model: Model): unknown {
  return KEYS.map((number) => [
    model.done(number),
    RECIPIENTS.map((recipient) => model.id(number, recipient)),
  ])
}

test('is a map with a time to live, whatever is recorded, waited for, restarted and torn', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await kit.setUp()
      try {
        let ledger = await kit.start()
        const model = new Model()
        for (const on of steps) {
          ledger = await apply(ledger, model, on)
          expect(await stateOf(ledger)).toEqual(stateOfModel(model))
        }
      } finally {
        await kit.tearDown()
      }
    }),
    { numRuns: 60 },
  )
})
