import type { Concern, Config, ConfiguredScanner, Finding, ScanResult, ScannerVersion } from '@ecluse/core'
import { EICAR, GTUBE, message, withAttachment } from '@ecluse/fixtures/samples'
import { createSpool } from '@ecluse/mail'
import { scanAll } from '@ecluse/scanners'
import { failureOf, warn, well, wrong, type Diagnosis } from './report.ts'

/** Signatures older than this are told: engines publish them daily. */
const STALE_DAYS = 7
const DAY_SECONDS = 86_400
const VERSION_MS = 10_000

/** A message that an engine must recognise. */
interface Proof {
  readonly name: string
  readonly concern: Concern
  readonly bytes: () => Buffer
  readonly isFound: (finding: Finding, tag2Level: number) => boolean
  readonly cure: string
}

const PROOFS: readonly Proof[] = [
  {
    name: 'EICAR',
    concern: 'virus',
    bytes: () => withAttachment('Ecluse doctor: test virus', 'eicar.com', Buffer.from(EICAR)),
    isFound: ({ kind }) => kind === 'virus',
    cure: 'see whether its signatures are there, and whether it looks into mail',
  },
  {
    name: 'GTUBE',
    concern: 'spam',
    bytes: () => message('Ecluse doctor: test spam', `This is the test of spam filters:\r\n\r\n${GTUBE}\r\n`),
    isFound: (finding, tag2Level) =>
      finding.kind === 'score' && finding.points >= (finding.required ?? tag2Level),
    cure: 'see whether its rules are there, and whether GTUBE is switched off in its settings',
  },
]

/**
 * Asks each scanner who it is, how old its signatures are, and whether it finds what it must find. In the order of
 * the configuration; at least one line. Never rejects.
 *
 * @param now milliseconds since 1970
 */
export async function checkScanners(
  scanners: readonly ConfiguredScanner[],
  config: Config,
  now: number,
): Promise<Diagnosis[]> {
  if (scanners.length === 0) {
    return [warn('scanners', 'none: nothing looks at the mail', 'see ecluse scanners')]
  }
  const asked = await Promise.all(scanners.map((scanner) => checkScanner(scanner, config, now)))
  return asked.flat()
}

async function checkScanner(
  configured: ConfiguredScanner,
  config: Config,
  now: number,
): Promise<Diagnosis[]> {
  const check = `scanner ${configured.name}`
  const started = performance.now()
  try {
    const version = await configured.scanner.version(
      AbortSignal.timeout(Math.min(VERSION_MS, configured.timeoutMs)),
    )
    const elapsedMs = performance.now() - started
    const proofs = PROOFS.filter(({ concern }) => configured.concerns.includes(concern))
    const found = await Promise.all(proofs.map((proof) => prove(proof, configured, config)))
    return [
      well(check, `${version.engine}, answers in ${milliseconds(elapsedMs)}`),
      ...ageOf(check, version, now),
      ...found,
    ]
  } catch (error) {
    return [wrong(check, failureOf(error), `start it, or correct where it is: scanners, ${configured.name}`)]
  } finally {
    await configured.scanner.close?.()
  }
}

/** No line where the engine tells of no signatures. */
function ageOf(
  scanner: string,
  { signatures, signatureTimestamp }: ScannerVersion,
  now: number,
): Diagnosis[] {
  const check = `${scanner} signatures`
  if (signatures === undefined && signatureTimestamp === undefined) return []
  const version = signatures ?? 'no version'
  if (signatureTimestamp === undefined) return [well(check, `${version}, the engine tells no date`)]
  const days = (now / 1000 - signatureTimestamp) / DAY_SECONDS
  const detail = `${version} of ${new Date(signatureTimestamp * 1000).toISOString().slice(0, 10)}`
  if (days <= STALE_DAYS) return [well(check, detail)]
  return [
    warn(
      check,
      `${detail}: ${Math.floor(days)} days old`,
      'see why they are not updated (freshclam and its log)',
    ),
  ]
}

async function prove(proof: Proof, configured: ConfiguredScanner, config: Config): Promise<Diagnosis> {
  const check = `scanner ${configured.name} ${proof.name}`
  const bytes = proof.bytes()
  // In memory whatever its size: nothing is written.
  const writer = createSpool({ directory: config.spool.directory, memoryBytes: Infinity }).create()
  await writer.write(bytes)
  const spooled = await writer.finish()
  const [result] = await scanAll(
    [configured],
    requestFor(spooled, config),
    AbortSignal.timeout(configured.timeoutMs * 2),
  )
  if (result === undefined) throw new TypeError('one result for each scanner')
  return judge(check, result, { proof, tag2Level: config.policy.tag2Level })
}

function requestFor(
  spooled: Parameters<typeof scanAll>[1]['message'],
  { hostname }: Config,
): Parameters<typeof scanAll>[1] {
  return {
    message: spooled,
    hostname,
    envelope: {
      protocol: 'lmtp',
      mailFrom: '',
      recipients: [{ address: `postmaster@${hostname}` }],
      smtpUtf8: false,
      client: { address: '127.0.0.1', name: 'localhost', helo: hostname },
      peer: { helo: hostname },
      listener: 'doctor',
    },
  }
}

function judge(
  check: string,
  result: ScanResult,
  { proof, tag2Level }: { readonly proof: Proof; readonly tag2Level: number },
): Diagnosis {
  switch (result.outcome) {
    case 'failed':
      return wrong(check, failureOf(result.error), 'see its own log')
    case 'skipped':
      return wrong(check, `not looked at: ${result.reason}`, 'raise its maxSize')
    case 'done': {
      const { findings } = result.verdict
      const found = findings.find((finding) => proof.isFound(finding, tag2Level))
      const said = findings.map(describeFinding).join(', ') || 'clean'
      const detail = `${said}, in ${milliseconds(result.elapsedMs)}`
      return found ? well(check, detail) : wrong(check, `not recognised: ${detail}`, proof.cure)
    }
  }
}

function describeFinding(finding: Finding): string {
  switch (finding.kind) {
    case 'virus':
      return finding.name
    case 'unchecked':
      return `unchecked (${finding.reason})`
    case 'score':
      return `${finding.points} points`
    case 'authenticated':
      return `${finding.method} pass`
  }
}

function milliseconds(elapsed: number): string {
  return `${elapsed < 10 ? elapsed.toFixed(1) : elapsed.toFixed(0)} ms`
}
