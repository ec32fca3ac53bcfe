/** What the figures depend on and a reader must know. */
import { execFileSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { findProgram } from './processes.js'

const fileSystems = new Map([
  [0x01021994, 'tmpfs'],
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'],
])

/** The first line that a program prints; undefined when it is not there or fails. */
function says(program, args) {
  const path = findProgram(program)
  if (path === undefined) return undefined
  try {
    const output = execFileSync(path, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    return output.trim().split('\n')[0]
  } catch {
    return undefined
  }
}

function debianName() {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

function versions() {
  const debian = ['postfix', 'clamav-daemon', 'spamassassin', 'amavisd-new']
  const found = debian.map((name) => {
    const version = says('dpkg-query', ['-W', '-f=${Version}', name])
    return version === undefined || version === '' ? undefined : `${name} ${version}`
  })
  return found.filter((each) => each !== undefined).join(', ')
}

/** `directory`: where spools, queues and quarantines of the run are. */
export function describeMachine(directory) {
  const { type } = statfsSync(directory)
  const commit = says('git', ['-C', import.meta.dirname, 'log', '-1', '--format=%h %cs'])
  const [one] = loadavg()
  return {
    machine: `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${debianName() ?? 'unknown'}, Linux ${release()}, Node ${process.versions.node}`,
    programs: versions(),
    ...(commit !== undefined && { commit }),
    files: `${fileSystems.get(type) ?? `file system 0x${type.toString(16)}`} (TMPDIR chooses another)`,
    'load before': `${one.toFixed(2)}${one > 0.5 ? ': the machine was busy with other things, the figures are rough' : ''}`,
  }
}
