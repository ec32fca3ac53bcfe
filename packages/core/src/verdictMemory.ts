import type { ScannerKind, VerdictMemory } from './scanner.ts'
import { rewriteInput } from './schemaWalk.ts'

/**
 * How answers of a scanner of this kind may be remembered; absent: they may not.
 *
 * @param options as they were read for `create`. Secrets are left out: they open a door, and change no answer.
 */
export function verdictMemory(
  { kind, options: section, verdictInputs, untold }: ScannerKind,
  options: unknown,
): VerdictMemory | undefined {
  if (!verdictInputs) return undefined
  const left = untold?.(options) ?? []
  const inputs = verdictInputs.filter((input) => !left.includes(input))
  return { inputs, settings: JSON.stringify([kind, rewriteInput(section, options, { secret: () => '' })]) }
}
