import { symlink, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from '@jest/globals'
import { DEFAULT_POLICY, FilterError, type ConfiguredScanner, type Verdict } from '@ecluse/core'
import { loadNoticeTemplates } from '@ecluse/mail'
import {
  createFileStore,
  releasePlan,
  selfRelease,
  summarize,
  type QuarantineEntry,
  type QuarantineSummary,
} from '@ecluse/quarantine'
import {
  HAM,
  gate,
  onRelease,
  releaseAll,
  rulesWith,
  scannerOf,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
  type TestDaemonOptions,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const ADMIN = 'postmaster@example.org'
const { destiny, quarantine } = DEFAULT_POLICY
/** Unchecked mail is discarded and kept; for refused@ it is refused and kept. */
const rules = rulesWith({
  policy: {
    ...DEFAULT_POLICY,
    destiny: { ...destiny, unchecked: 'discard' },
    quarantine: [...quarantine, 'unchecked'],
  },
  policies: [
    {
      name: 'refused',
      when: { recipients: ['refused@example.org'] },
      policy: { destiny: { unchecked: 'reject' } },
    },
  ],
})

type Answer = 'broken' | 'clean' | 'virus' | 'encrypted' | Promise<'clean'>

/** An antivirus that is told what to say, and what signatures it has. */
class Engine {
  answer: Answer = 'broken'
  signatures = '1'
  answers = true
  scans = 0
  questions = 0
  readonly configured: ConfiguredScanner

  constructor() {
    const configured = scannerOf(async () => await this.#scan(), {
      concerns: ['virus'],
      onError: 'unchecked',
    })
    const version = async (): Promise<{ engine: string; signatures: string }> => {
      this.questions++
      if (!this.answers) throw new FilterError('E_SCANNER_CONNECT', 'fake: refused')
      return { engine: 'fake', signatures: this.signatures }
    }
    this.configured = { ...configured, scanner: { ...configured.scanner, version } }
  }

  async #scan(): Promise<Verdict> {
    this.scans++
    switch (await this.answer) {
      case 'broken':
        throw new FilterError('E_SCANNER_LIMIT', 'fake: too much')
      case 'virus':
        return { findings: [{ kind: 'virus', name: 'Late-Signature' }] }
      case 'encrypted':
        return { findings: [{ kind: 'unchecked', reason: 'encrypted' }] }
      case 'clean':
        return { findings: [] }
    }
  }

  /** Resolves when it has been asked for its version, and what follows from the answer is begun. */
  async asked(times = 3): Promise<void> {
    const before = this.questions
    await until(() => this.questions >= before + times)
  }
}

async function start(engine: Engine, options: TestDaemonOptions = {}): Promise<TestDaemon> {
  const kit = await startTestDaemon({
    scanners: [engine.configured],
    rules,
    versionIntervalMs: 5,
    rescan: { intervalMs: 5 },
    notices: {
      admin: ADMIN,
      senders: false,
      adminRate: 1000,
      bounceBudget: 1000,
      from: ADMIN,
      templates: await loadNoticeTemplates('en'),
    },
    ...options,
  })
  // That of the start: what comes from here on is none of it.
  await until(() => passes(kit) === 1)
  return kit
}

async function list(folder: string): Promise<QuarantineSummary[]> {
  const found: QuarantineSummary[] = []
  for await (const item of createFileStore(folder).list()) found.push(summarize(item))
  return found
}

const states = async ({ quarantineFolder }: TestDaemon): Promise<string[]> =>
  (await list(quarantineFolder)).flatMap((item) => item.states)
const entryOf = async ({ quarantineFolder }: TestDaemon): Promise<QuarantineEntry> => {
  const [{ id } = { id: '' }] = await list(quarantineFolder)
  return await createFileStore(quarantineFolder).get(id)
}
const send = async (kit: TestDaemon, ...to: string[]): Promise<readonly string[]> =>
  (await sendMail(await kit.greet(), { to })).dot
const told = (kit: TestDaemon, msg: string): number => kit.lines.filter((line) => line['msg'] === msg).length

/** Looks at all of them that have ended. */
const passes = (kit: TestDaemon): number => told(kit, 'quarantine: looked again at unchecked mail')

/** Waits for the look that follows. */
async function lookedAgain(kit: TestDaemon, act: () => void): Promise<void> {
  const before = passes(kit)
  act()
  await until(() => passes(kit) > before)
}

test('delivers what was kept as unchecked once there are other signatures, and says who did', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  expect(await send(kit, 'anna@example.org', 'bob@example.org')).toEqual([
    expect.stringMatching(/^250 /),
    expect.stringMatching(/^250 /),
  ])
  expect(await states(kit)).toEqual(['kept', 'kept'])
  expect(kit.mta.transactions).toEqual([])
  await lookedAgain(kit, () => {
    Object.assign(engine, { answer: 'clean', signatures: '2' })
  })
  const [delivered, ...more] = kit.mta.transactions
  expect(more).toEqual([])
  expect(delivered?.rcpt).toEqual(['RCPT TO:<anna@example.org>', 'RCPT TO:<bob@example.org>'])
  expect(delivered?.mail).toMatch(/^MAIL FROM:<marie@example.com>/)
  expect(delivered?.data.toString('latin1')).toBe(`${HAM}.\r\n`)
  expect(await entryOf(kit)).toMatchObject({
    releases: [{ by: 'rescan', as: 'plain', to: ['anna@example.org', 'bob@example.org'] }],
  })
  engine.signatures = '3'
  await engine.asked()
  expect(kit.mta.transactions).toHaveLength(1)
})

test('looks again after a start, and when the scanner answers again', async () => {
  const engine = new Engine()
  const first = await start(engine)
  await send(first, 'anna@example.org')
  await first.daemon.close()
  engine.answer = 'encrypted'
  const kit = await start(engine, { quarantine: createFileStore(first.quarantineFolder) })
  engine.answers = false
  await engine.asked()
  expect(passes(kit)).toBe(1)
  engine.answer = 'clean'
  engine.answers = true
  await until(() => kit.mta.transactions.some(({ complete }) => complete))
})

test('a virus is told to the administrator, once, and stays', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  await send(kit, 'anna@example.org')
  engine.answer = 'virus'
  for (const signatures of ['2', '3']) {
    await lookedAgain(kit, () => {
      engine.signatures = signatures
    })
  }
  await until(() => kit.mta.transactions.some(({ complete }) => complete))
  expect(kit.mta.transactions.map(({ rcpt }) => rcpt)).toEqual([[`RCPT TO:<${ADMIN}> NOTIFY=NEVER`]])
  expect(kit.mta.transactions[0]?.data.toString()).toContain('Late-Signature')
  const tellings = kit.lines.filter(({ msg }) => msg === 'quarantine: virus in unchecked mail')
  expect(tellings).toMatchObject([{ quarantineId: expect.any(String), viruses: ['Late-Signature'] }])
  expect(await states(kit)).toEqual(['kept'])
  const [kept] = await list(kit.quarantineFolder)
  const entry = await createFileStore(kit.quarantineFolder).get(kept?.id ?? '')
  expect(releasePlan(entry)).toMatchObject({ action: 'refuse', reason: 'INFECTED: Late-Signature' })
  expect(selfRelease(entry, 'anna@example.org', () => true)).toBe('closed')
})

test.each<[string, Answer, string]>([
  ['what is still unchecked', 'encrypted', 'anna@example.org'],
  ['what a scanner fails for', 'broken', 'anna@example.org'],
  ['what was refused: its sender has been told so', 'clean', 'refused@example.org'],
])('leaves %s', async (_, answer, to) => {
  const engine = new Engine()
  const kit = await start(engine)
  await send(kit, to)
  await lookedAgain(kit, () => {
    Object.assign(engine, { answer, signatures: '2' })
  })
  expect(await states(kit)).toEqual(['kept'])
  expect(kit.mta.transactions).toEqual([])
})

test('leaves what a scanner fails for that mail that comes in would pass without', async () => {
  const engine = new Engine()
  const dead = scannerOf(async () => await Promise.reject(new FilterError('E_SCANNER_LIMIT', 'dead')), {
    name: 'dead',
    concerns: ['spam'],
    onError: 'pass',
  })
  const kit = await start(engine, { scanners: [engine.configured, dead] })
  await send(kit, 'anna@example.org')
  await lookedAgain(kit, () => {
    Object.assign(engine, { answer: 'clean', signatures: '2' })
  })
  expect(await states(kit)).toEqual(['kept'])
})

test('tries again with the next signatures what the next hop did not take', async () => {
  let refuse = true
  const engine = new Engine()
  const kit = await start(engine, {
    mta: { act: ({ stage }) => (stage === 'rcpt' && refuse ? '452 4.3.1 full' : undefined) },
  })
  await send(kit, 'anna@example.org')
  engine.answer = 'clean'
  await lookedAgain(kit, () => {
    engine.signatures = '2'
  })
  expect(told(kit, 'quarantine: passes now, and was not delivered')).toBe(1)
  expect(await states(kit)).toEqual(['kept'])
  refuse = false
  await lookedAgain(kit, () => {
    engine.signatures = '3'
  })
  expect(await states(kit)).toEqual(['released'])
})

test('one message that cannot be read does not keep the others', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  for (let count = 0; count < 3; count++) await send(kit, 'anna@example.org')
  const [, middle] = await list(kit.quarantineFolder)
  const id = middle?.id ?? ''
  const path = join(kit.quarantineFolder, id.slice(0, 1), `unchecked-${id}.eml`)
  await unlink(path)
  await symlink('/nonexistent', path)
  await lookedAgain(kit, () => {
    Object.assign(engine, { answer: 'clean', signatures: '2' })
  })
  expect(kit.mta.transactions).toHaveLength(2)
})

test('delivers nothing to whom somebody has released it during the scan', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  await send(kit, 'anna@example.org', 'bob@example.org')
  const { id } = await entryOf(kit)
  const verdict = gate<'clean'>()
  onRelease(() => verdict.open('clean'))
  engine.answer = verdict.promise
  engine.signatures = '2'
  await until(() => engine.scans === 2)
  const byHand = { at: new Date(), by: 'root', to: ['bob@example.org'], as: 'plain' } as const
  await createFileStore(kit.quarantineFolder).markReleased(id, byHand)
  await lookedAgain(kit, () => verdict.open('clean'))
  expect(kit.mta.transactions.map(({ rcpt }) => rcpt)).toEqual([['RCPT TO:<anna@example.org>']])
  expect((await entryOf(kit)).releases.map(({ by }) => by)).toEqual(['root', 'rescan'])
})

test('leaves it to another process that is at it, until that is done', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  await send(kit, 'anna@example.org')
  const lock = join(kit.quarantineFolder, 'tmp/rescan.lock')
  await symlink(`1@${hostname()}`, lock)
  const { scans } = engine
  Object.assign(engine, { answer: 'clean', signatures: '2' })
  await engine.asked()
  expect(engine.scans).toBe(scans)
  await unlink(lock)
  await until(() => kit.mta.transactions.some(({ complete }) => complete))
})

test('waits while mail that comes in needs the room', async () => {
  const engine = new Engine()
  const kit = await start(engine, { limits: { concurrency: 1, deadlineMs: 60_000 } })
  await send(kit, 'anna@example.org')
  const verdict = gate<'clean'>()
  // Whatever fails, nobody hangs.
  onRelease(() => verdict.open('clean'))
  engine.answer = verdict.promise
  const incoming = send(kit, 'live@example.org')
  await until(() => engine.scans === 2)
  engine.signatures = '2'
  await engine.asked()
  expect(engine.scans).toBe(2)
  verdict.open('clean')
  expect(await incoming).toEqual([expect.stringMatching(/^250 /)])
  await until(() => kit.mta.transactions.filter(({ complete }) => complete).length === 2)
  expect(kit.mta.transactions.map(({ rcpt }) => rcpt[0])).toEqual([
    'RCPT TO:<live@example.org>',
    'RCPT TO:<anna@example.org>',
  ])
})

test('ends in the midst of a scan when the daemon ends', async () => {
  const engine = new Engine()
  const kit = await start(engine)
  await send(kit, 'anna@example.org')
  engine.answer = new Promise(() => undefined)
  engine.signatures = '2'
  await until(() => engine.scans === 2)
  await kit.daemon.close()
  expect(await states(kit)).toEqual(['kept'])
})

test('does nothing where it is not wanted', async () => {
  const engine = new Engine()
  const kit = await startTestDaemon({ scanners: [engine.configured], rules, versionIntervalMs: 5 })
  await send(kit, 'anna@example.org')
  Object.assign(engine, { answer: 'clean', signatures: '2' })
  await engine.asked()
  expect(engine.scans).toBe(1)
})
