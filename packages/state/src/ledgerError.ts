import { FilterError, systemErrorName } from '@ecluse/core'

const FULL = 'the disk is full: make room'
const RIGHTS = 'the folder and all in it must belong to the user that ecluse runs as, mode 0700'
const OPEN_FILES = 'too many open files: raise the limit (LimitNOFILE)'

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EFBIG: 'the process may not write a file of this size: raise the limit (LimitFSIZE)',
  EACCES: RIGHTS,
  EPERM: RIGHTS,
  EROFS: 'the file system is mounted read-only: mount it read-write',
  ENOENT: 'the folder does not exist, and cannot be made',
  ENOTDIR: 'there is a file where the folder should be',
  EEXIST: 'there is a file where the folder should be',
  ELOOP: 'a symbolic link stands where the ledger has a file of its own: remove it',
  EMFILE: OPEN_FILES,
  ENFILE: OPEN_FILES,
  EIO: 'the disk fails: see the kernel log',
  EOPNOTSUPP: 'the file system knows no Unix sockets: put the folder on a local disk',
}

/** The failure of a file operation as E_LEDGER, with the cure where there is one. A FilterError stays as it is. */
export function ledgerError(cause: unknown, what: string): FilterError {
  if (cause instanceof FilterError) return cause
  const code = codeOf(cause)
  const hint = code === undefined ? undefined : HINTS[code]
  return new FilterError('E_LEDGER', code === undefined ? what : `${what}: ${code}`, {
    cause,
    ...(hint !== undefined && { hint }),
  })
}

/** The errno of a failure; absent: it is none of a system call. */
export const codeOf = systemErrorName
