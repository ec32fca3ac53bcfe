/*
 * What clamd's VERSION does not tell: its signatures beside the official `daily` ones, such as those of other makers or
 * of the site. Where clamd runs on this host, its files are looked at: what clamd is to load shows there first.
 */
import { readdirSync, statSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '@ecluse/core'

/** A clamd on this host. */
interface LocalClamd {
  readonly directory: string
  /** Unix milliseconds, within a second; absent: unknown. */
  readonly startedAt?: number
}

/** The signature files of clamd. */
export interface ClamdFiles {
  /** Other text once one of them has changed. */
  readonly state: string
  /** When the last of them changed, Unix milliseconds. */
  readonly changedAt: number
  /** When the last clamd that loads them started; absent: unknown. */
  readonly startedAt?: number
}

/** Looks at the signature files; absent: they cannot be seen from here. Never rejects. */
export type LookAtFiles = () => Promise<ClamdFiles | undefined>

const DEFAULT_DIRECTORY = '/var/lib/clamav'
const DEFAULT_CONFIG = '/etc/clamav/clamd.conf'
/** A clamd that starts, or moves, is found so soon. */
const SEARCH_INTERVAL_MS = 10_000
/** Some 2 µs each; real ones are a dozen. */
const MAX_FILES = 500

/**
 * @param address clamd's; only one of this host has files here
 * @param directory where they are; absent: they are looked for
 */
export function clamdFiles(address: Address, directory?: string): LookAtFiles {
  if (directory === undefined && !isLocal(address)) return async () => undefined
  let found: readonly LocalClamd[] = []
  let searchedAt = -Infinity
  let lastState: string | undefined
  const search = async (): Promise<void> => {
    searchedAt = performance.now()
    const running = await runningClamds(address)
    const there = running.filter((clamd) => directory === undefined || clamd.directory === directory)
    found = there.length === 0 && directory !== undefined ? [{ directory }] : there
  }
  return async () => {
    try {
      if (performance.now() - searchedAt > SEARCH_INTERVAL_MS) await search()
      if (found.length === 0) return undefined
      let files = look(found)
      if (files.state !== lastState) {
        // Who loads them may have been started since.
        await search()
        files = look(found)
        lastState = files.state
      }
      return files
    } catch {
      // A folder that is gone, or may not be read: clamd's own words are all there is.
      searchedAt = -Infinity
      return undefined
    }
  }
}

function isLocal(address: Address): boolean {
  return 'path' in address || /^(?:127\.|::1$|localhost$)/.test(address.host)
}

function look(clamds: readonly LocalClamd[]): ClamdFiles {
  const directories = [...new Set(clamds.map((clamd) => clamd.directory))].toSorted()
  const files = directories.flatMap(filesOf)
  const starts = clamds.map(({ startedAt }) => startedAt)
  const known = starts.filter((at) => at !== undefined)
  return {
    state: files.map(({ text }) => text).join('\n'),
    changedAt: Math.max(0, ...files.map((file) => file.changedAt)),
    ...(known.length === starts.length && { startedAt: Math.min(...known) }),
  }
}

interface FileState {
  readonly text: string
  readonly changedAt: number
}

/** At once: in the background each file would cost ten times as much, for each message. */
function filesOf(directory: string): FileState[] {
  return readdirSync(directory)
    .toSorted()
    .slice(0, MAX_FILES)
    .flatMap((name) => fileState(directory, name))
}

function fileState(directory: string, name: string): FileState[] {
  const file = statSync(join(directory, name), { throwIfNoEntry: false })
  // Gone since the folder was read; or a folder, as freshclam works in.
  if (!file?.isFile()) return []
  const { size, ino, mtimeMs, ctimeMs } = file
  return [{ text: `${directory}/${name} ${size} ${ino} ${mtimeMs} ${ctimeMs}`, changedAt: ctimeMs }]
}

/**
 * Those that listen at this address; where none does, as behind a proxy, all of this host. Where processes of others
 * are hidden from us (ProtectProc= of systemd), the one of the distribution's configuration.
 */
async function runningClamds(address: Address): Promise<LocalClamd[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const clamds = (await Promise.all(pids.map(readClamd))).flat()
  if (clamds.length === 0) clamds.push(...(await configuredClamd(address)))
  const listening = clamds.filter(({ config }) => listensAt(config, address))
  return (listening.length > 0 ? listening : clamds).map(({ config, startedAt }) => ({
    directory: valueOf(config, 'DatabaseDirectory') ?? DEFAULT_DIRECTORY,
    ...(startedAt !== undefined && { startedAt }),
  }))
}

async function configuredClamd(address: Address): Promise<RunningClamd[]> {
  try {
    const config = await readFile(DEFAULT_CONFIG, 'latin1')
    return listensAt(config, address) ? [{ config }] : []
  } catch {
    // There is none.
    return []
  }
}

interface RunningClamd {
  /** Text of its clamd.conf. */
  readonly config: string
  readonly startedAt?: number
}

async function readClamd(pid: string): Promise<RunningClamd[]> {
  try {
    if ((await readFile(`/proc/${pid}/comm`, 'latin1')) !== 'clamd\n') return []
    const words = (await readFile(`/proc/${pid}/cmdline`, 'latin1')).split('\0')
    const startedAt = await startOf(pid)
    const config = await readFile(configFile(words), 'latin1')
    return [{ config, ...(startedAt !== undefined && { startedAt }) }]
  } catch {
    // It has ended, or is none of our business.
    return []
  }
}

/** A relative path cannot be followed from here. */
function configFile(words: readonly string[]): string {
  const index = words.findIndex((word) => word === '-c' || word.startsWith('--config-file'))
  const [, value] = words[index]?.split('=', 2) ?? []
  return index === -1 ? DEFAULT_CONFIG : (value ?? words[index + 1] ?? DEFAULT_CONFIG)
}

function valueOf(config: string, key: string): string | undefined {
  const line = config.split('\n').findLast((of) => of.startsWith(key) && /\s/.test(of.charAt(key.length)))
  return line?.slice(key.length).trim()
}

function listensAt(config: string, address: Address): boolean {
  if ('path' in address) return valueOf(config, 'LocalSocket') === address.path
  return valueOf(config, 'TCPSocket') === String(address.port)
}

/** USER_HZ of Linux, on every platform that Node.js runs on. */
const TICKS_PER_SECOND = 100

/** proc(5): field 22 of stat, behind the name in parentheses; in ticks after the start of the machine. */
async function startOf(pid: string): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1')
  const ticks = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19])
  const uptime = Number((await readFile('/proc/uptime', 'latin1')).split(' ', 1)[0])
  const startedAt = Date.now() - (uptime - ticks / TICKS_PER_SECOND) * 1000
  return Number.isFinite(startedAt) ? startedAt : undefined
}
