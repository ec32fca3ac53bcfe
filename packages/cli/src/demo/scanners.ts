import { stat } from 'node:fs/promises'
import type { ConfiguredScanner, ScannerVersion } from '@ecluse/core'
import { SCANNER_KINDS } from '@ecluse/scanners'

/** A real scanner that answers on this machine. */
export interface FoundScanner {
  readonly configured: ConfiguredScanner
  readonly version: ScannerVersion
  readonly where: string
}

/** Where Debian's packages listen, and where the scanners' own defaults are. */
const PLACES = [
  { kind: 'clamd', where: 'unix:/run/clamav/clamd.ctl', options: { address: 'unix:/run/clamav/clamd.ctl' } },
  { kind: 'clamd', where: '127.0.0.1:3310', options: { address: '127.0.0.1:3310' } },
  { kind: 'spamd', where: '127.0.0.1:783', options: { address: '127.0.0.1:783' } },
  { kind: 'rspamd', where: 'http://127.0.0.1:11333', options: { url: 'http://127.0.0.1:11333' } },
]
const ANSWER_MS = 1000

/** Asks at the usual places; one scanner of each kind at most. */
export async function findScanners(): Promise<FoundScanner[]> {
  const found = await Promise.all(PLACES.map(tryPlace))
  const kinds = new Set<string>()
  return found.filter((scanner) => {
    if (!scanner || kinds.has(scanner.configured.kind)) return false
    kinds.add(scanner.configured.kind)
    return true
  }) as FoundScanner[]
}

async function tryPlace({
  kind,
  where,
  options,
}: (typeof PLACES)[number]): Promise<FoundScanner | undefined> {
  try {
    if (where.startsWith('unix:')) await stat(where.slice('unix:'.length))
    const configured = demoScanner(kind, options)
    return { configured, where, version: await configured.scanner.version(AbortSignal.timeout(ANSWER_MS)) }
  } catch {
    // Nothing answers there: the demonstration does without.
    return undefined
  }
}

/** A scanner with the defaults of its kind, whose failure never stops the demonstration. */
export function demoScanner(kindName: string, options: unknown): ConfiguredScanner {
  const kind = SCANNER_KINDS.find((candidate) => candidate.kind === kindName)
  if (!kind) throw new TypeError(`${kindName}: no such kind`)
  return {
    name: kindName,
    kind: kindName,
    concerns: kind.concerns,
    timeoutMs: 60_000,
    onError: 'pass',
    scanner: kind.create(kindName, kind.options.parse(options)),
  }
}
