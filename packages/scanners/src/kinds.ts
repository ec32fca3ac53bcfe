import type { ScannerKind } from '@ecluse/core'
import { clamd } from './clamd.ts'
import { rspamd } from './rspamd.ts'
import { spamd } from './spamd.ts'
import { testScanner } from './testScanner.ts'

/** Every kind of scanner that the configuration may name, in the order of the documentation. A new one adds its line. */
export const SCANNER_KINDS: readonly ScannerKind[] = [clamd, spamd, rspamd, testScanner]
