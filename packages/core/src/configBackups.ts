import type { z } from 'zod'
import type { Config } from './config.ts'
import type { ScannerKind } from './scanner.ts'
import { formatDuration } from './schema.ts'

type Found = { readonly message: string; readonly hint: string }

/** A backup that can never be asked, or does not look for the same, would let mail through unseen. */
export function knownBackups(kinds: readonly ScannerKind[]) {
  const concernsOf = (kind: string): readonly string[] =>
    kinds.find((candidate) => candidate.kind === kind)?.concerns ?? []

  const findFault = (
    { scanners }: Config,
    backup: Config['scanners'][number],
    name: string,
  ): Found | undefined => {
    const primary = scanners.find((candidate) => candidate.name === name)
    if (!primary) {
      const primaries = scanners.filter((of) => of !== backup && of.backupFor === undefined)
      const known = primaries.map((of) => of.name).join(', ')
      const hint = known === '' ? 'there are no others' : `there are: ${known}`
      return { message: `no scanner has the name ${name.slice(0, 60)}`, hint }
    }
    if (primary === backup) return { message: 'is the scanner itself', hint: 'name the one that may fail' }
    if (primary.backupFor) {
      const hint = `name what ${name} stands in for: both are then asked at the same time`
      return { message: `${name} is a backup itself`, hint }
    }
    const offered = concernsOf(backup.kind)
    const missing = concernsOf(primary.kind).filter((concern) => !offered.includes(concern))
    if (missing.length === 0) return undefined
    const hint = 'a backup must look for the same'
    return { message: `${name} looks for ${missing.join(', ')}, this scanner does not`, hint }
  }

  return (config: Config, context: z.core.$RefinementCtx): void => {
    config.scanners.forEach((backup, index) => {
      backup.backupFor?.forEach((name, place, all) => {
        const fault = findFault(config, backup, name)
        // One name may be written without a list.
        const path = ['scanners', index, 'backupFor', ...(all.length > 1 ? [place] : [])]
        if (fault)
          context.addIssue({ code: 'custom', path, message: fault.message, params: { hint: fault.hint } })
      })
      nestBackup(config, index, context)
    })
  }
}

/** It begins when the others have failed, and both must fit into the time of the message. */
function nestBackup({ scanners, limits }: Config, index: number, context: z.core.$RefinementCtx): void {
  const { backupFor, timeout = 0 } = scanners[index] ?? {}
  const { deadline } = limits
  // What is above the deadline by itself has been told.
  const [slowest] = scanners
    .filter((of) => backupFor?.includes(of.name) && of.timeout <= deadline)
    .sort((one, other) => other.timeout - one.timeout)
  if (!slowest || timeout > deadline || slowest.timeout + timeout <= deadline) return
  const [whole, before] = [deadline, slowest.timeout].map(formatDuration)
  context.addIssue({
    code: 'custom',
    path: ['scanners', index, 'timeout'],
    message: `expected at most what ${slowest.name} (${before}) leaves of limits.deadline (${whole})`,
    params: { actual: formatDuration(timeout) },
  })
}
