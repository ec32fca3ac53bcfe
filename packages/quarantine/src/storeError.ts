import { FilterError, systemErrorName } from '@ecluse/core'

const FULL = 'the disk is full: make room, or delete old mail with `ecluse quarantine expire`'
const RIGHTS = 'the folder and all in it must belong to the user that ecluse runs as, mode 0700'
const OPEN_FILES = 'too many open files: raise the limit (LimitNOFILE)'

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EACCES: RIGHTS,
  EPERM: RIGHTS,
  EROFS: 'the file system is mounted read-only: mount it read-write, or set quarantine.directory',
  ENOENT: 'the folder does not exist: create it, or set quarantine.directory',
  ENOTDIR: 'quarantine.directory is not a folder',
  ELOOP: 'a symbolic link stands where the quarantine has a folder or a file of its own: remove it',
  EMFILE: OPEN_FILES,
  ENFILE: OPEN_FILES,
  EIO: 'the disk fails: see the kernel log',
}

/** The failure of a file operation as E_QUARANTINE, with the cure where there is one. A FilterError stays as it is. */
export function storeError(cause: unknown, what: string): FilterError {
  if (cause instanceof FilterError) return cause
  const code = codeOf(cause)
  const hint = code === undefined ? undefined : HINTS[code]
  return new FilterError('E_QUARANTINE', code === undefined ? what : `${what}: ${code}`, {
    cause,
    ...(hint !== undefined && { hint }),
  })
}

/** The errno of a failure; absent: it is none of a system call. */
export const codeOf = systemErrorName

/** A message of which a part is missing. */
export function notWhole(id: string): FilterError {
  return new FilterError('E_QUARANTINE', `${id}: the message is not whole`)
}

/** E_QUARANTINE of a store that works, and has none of that id: who asks may be told so, and nothing is wrong. */
export class UnknownIdError extends FilterError {}

/** There is none of that id. */
export function unknownId(id: string): UnknownIdError {
  return new UnknownIdError('E_QUARANTINE', `${id}: is not in quarantine`, {
    hint: 'see `ecluse quarantine list`',
  })
}

const ID = /^[A-Za-z0-9_-]{12}$/

/** @throws FilterError E_QUARANTINE for what is not an id: it names files. */
export function checkId(id: string): void {
  if (ID.test(id)) return
  throw new FilterError('E_QUARANTINE', `${JSON.stringify(id.slice(0, 64))}: is not an id`, {
    hint: '12 characters, as `ecluse quarantine list` shows them',
  })
}

/** Does it; what it fails with is E_QUARANTINE, with `what` where the system call only says how. */
export async function within<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (err) {
    throw storeError(err, what)
  }
}
