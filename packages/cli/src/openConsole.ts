import { openConsole, releaseLink, type Console } from '@ecluse/console'
import { formatAddress, type Config } from '@ecluse/core'
import type { Daemon, DaemonOptions, Log } from '@ecluse/daemon'

/** People come again; mail that waits to be answered does not wait for them. */
const LEAVE_MS = 5000

/** A console, as `serve` tells of it. */
export interface OpenedConsole extends Pick<Console, 'close'> {
  /** `console 127.0.0.1:9726`. */
  readonly address: string
}

/**
 * The console that the configuration asks for, at the side of a daemon and gone before it; absent: none.
 *
 * @throws FilterError E_LISTEN
 */
export async function openConfiguredConsole(
  config: Config,
  { daemon, quarantine: store, log }: { daemon: Daemon; log: Log } & Pick<DaemonOptions, 'quarantine'>,
): Promise<OpenedConsole | undefined> {
  const { console: page, hostname, notices, limits } = config
  const { secret } = config.quarantine
  if (!page || secret === undefined) return undefined
  const opened = await openConsole({
    ...page,
    secret,
    hostname,
    language: notices.language,
    contact: contactOf(config),
    leaveMs: Math.min(LEAVE_MS, limits.drain),
    store,
    gate: daemon.gate,
    isLocal: () => daemon.rules().isLocal,
    log,
  })
  return { address: `console ${formatAddress(opened.address)}`, close: () => opened.close() }
}

/** What makes the link in a list; absent: there are none. */
export function linkMaker({
  console: page,
  quarantine: { secret },
}: Config): ((id: string, recipient: string) => string | undefined) | undefined {
  if (!page || secret === undefined) return undefined
  return (id, recipient) => releaseLink({ url: page.url, secret }, { id, recipient })
}

/** Whom people ask. */
export function contactOf({ notices, hostname }: Config): string {
  return notices.from ?? `postmaster@${hostname}`
}
