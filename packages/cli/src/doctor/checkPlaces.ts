import { constants } from 'node:fs'
import { access, stat, statfs } from 'node:fs/promises'
import type { Config, QuarantineConfig } from '@ecluse/core'
import { checkPostgres } from './checkPostgres.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** Room for this many messages of the greatest size is little. */
const FEW_MESSAGES = 4

/** Looks at the quarantine, and at the folders of spool and ledger, and changes nothing in them. Never rejects. */
export async function checkPlaces(config: Config): Promise<Diagnosis[]> {
  const { quarantine, spool, ledger, limits } = config
  const least = FEW_MESSAGES * limits.messageSize
  return [
    ...(await checkQuarantine(quarantine, least)),
    ...(await checkFolder('spool', spool.directory, least)),
    ...(await checkFolder('ledger', ledger.directory, least)),
  ]
}

async function checkQuarantine(kept: QuarantineConfig, leastBytes: number): Promise<Diagnosis[]> {
  switch (kept.store) {
    case 'files':
      return await checkFolder('quarantine', kept.directory, leastBytes)
    case 'postgres':
      return await checkPostgres(kept)
    case 'mailbox':
      return [well('quarantine', `mail to ${kept.mailbox ?? ''}`)]
  }
}

async function checkFolder(check: string, directory: string, leastBytes: number): Promise<Diagnosis[]> {
  const key = `${check}.directory`
  try {
    const { uid, mode } = await stat(`${directory}/`)
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    const { bavail, bsize } = await statfs(directory)
    const free = bavail * bsize
    const facts = `${directory}: ${mebibytes(free)} free${asked(uid)}`
    if (free < leastBytes) return [warn(check, `${facts}, less than ${FEW_MESSAGES} messages`, 'make room')]
    if ((mode & 0o002) !== 0) {
      const open = `${facts}, mode ${(mode & 0o777).toString(8)}: every user of this machine can remove what is in it`
      return [warn(check, open, `chmod o-w ${directory}`)]
    }
    return [well(check, facts)]
  } catch (error) {
    const { code = 'failed' } = error as NodeJS.ErrnoException
    const cure = `create it, owned by the user that Écluse runs as, mode 0700: ${key}`
    return [wrong(check, `${directory}: ${code}`, cure)]
  }
}

/** Root may write everywhere: then only the owner says whether the daemon may. */
function asked(uid: number): string {
  return process.getuid?.() === 0 ? `, asked as root, it belongs to uid ${uid}` : ''
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / (1024 * 1024))} MiB`
}
