import { open, stat } from 'node:fs/promises'

/** What Postfix logged of one recipient of a queue id. */
export interface LoggedDelivery {
  /** `127.0.0.1[127.0.0.1]:10024`, `local`. */
  readonly relay: string
  /** `sent`, `deferred`, `bounced`. */
  readonly status: string
  /** The reply in brackets. */
  readonly reply: string
}

/** A log file, from where it ended when it was found. */
export interface LogTail {
  readonly path: string
  readonly start: number
}

/** Where Debian and Red Hat write it when maillog_file is not set. */
const USUAL = ['/var/log/mail.log', '/var/log/maillog']
/** More than a busy Postfix writes in half a minute. */
const MAX_BYTES = 32 * 1024 * 1024

/** The first log that can be read, at its end. Absent: none can. */
export async function findLog(maillogFile: string | undefined): Promise<LogTail | undefined> {
  // /dev/stdout, in containers, is nobody's file.
  const paths = maillogFile?.startsWith('/') && !maillogFile.startsWith('/dev/') ? [maillogFile] : USUAL
  for (const path of paths) {
    try {
      const file = await open(path)
      try {
        const { size } = await file.stat()
        return { path, start: size }
      } finally {
        await file.close()
      }
    } catch {
      // Not there, or not for us to read: the next one.
    }
  }
  return undefined
}

/** What was written since; '' where it cannot be read any more. Bounded: of more, the end is missing. */
export async function readTail({ path, start }: LogTail): Promise<string> {
  try {
    const { size } = await stat(path)
    // It was rotated: what is in it is new.
    const from = size < start ? 0 : start
    const bytes = Buffer.alloc(Math.min(size - from, MAX_BYTES))
    const file = await open(path)
    try {
      const { bytesRead } = await file.read(bytes, 0, bytes.length, from)
      return bytes.toString('latin1', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch {
    return ''
  }
}

/** What Postfix writes stands in front of the reply: what a server says cannot be taken for a status. */
const DELIVERY =
  /^: to=<[^>]*>, (?:orig_to=<[^>]*>, )?relay=([^,]+), (?:conn_use=\d+, )?delay=[\d.]+, delays=[\d./]+, dsn=[\d.]+, status=(\w+) \((.*)\)$/
/** Postfix cuts off at 2,000. */
const MAX_LINE = 8000

/** The first delivery of a queue id in a piece of log; absent: none yet. */
export function deliveryOf(log: string, queueId: string): LoggedDelivery | undefined {
  for (const line of log.split('\n')) {
    const at = line.indexOf(` ${queueId}: to=<`)
    if (at === -1 || line.length > MAX_LINE) continue
    const [, relay, status, reply = ''] = DELIVERY.exec(line.slice(at + 1 + queueId.length).trimEnd()) ?? []
    if (relay !== undefined && status !== undefined) return { relay, status, reply }
  }
  return undefined
}
