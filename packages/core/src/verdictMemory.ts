import type { ScannerKind, VerdictMemory } from './scanner.ts'
import { rewriteInput } from './schemaWalk.ts'

/**
 * How answers of a scanner of this kind may be remembered; absent: they may not.
 *
 * @param options as they were read for `create`. Secrets are left out: they open a door, and change no answer.
 */
export function verdictMemory(
  { kind, options: section, verdictInputs: inputs }: ScannerKind,
  options: unknown,
): VerdictMemory | undefined {
  if (!inputs) return undefined
  return { inputs, settings: JSON.stringify([kind, rewriteInput(section, options, { secret: () => '' })]) }
}
