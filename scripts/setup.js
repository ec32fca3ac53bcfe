/**
 * Makes a fresh clone ready: installs what the lockfile says, builds, and with --services provides the daemons
 * that the tests need. Node's own modules only: it runs before anything is installed.
 *
 *   node scripts/setup.js [--no-build] [--services]
 *
 * Quick where nothing changed. An error is one line, `setup: WHAT (HINT)`, after the output of the failed command.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..')
const stampFile = join(root, 'node_modules/.ecluse-setup')

/** Program → Debian package. The same programs are looked for by fixtures/src/services/missing.ts. */
const services = {
  postfix: 'postfix',
  clamd: 'clamav-daemon',
  spamd: 'spamd',
  rspamd: 'rspamd',
  'redis-server': 'redis-server',
  haproxy: 'haproxy',
  // Its strict parser reads the notices.
  python3: 'python3',
  postgres: 'postgresql',
}

class SetupError extends Error {
  constructor(what, hint) {
    super(hint === undefined ? what : `${what} (${hint})`)
  }
}

function say(text) {
  process.stdout.write(`setup: ${text}\n`)
}

/** Runs a program with no stdin; its output is shown only when it fails, the last 40 lines. */
function run(command, args, { hint, env = {} } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (result.status === 0) return
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n').slice(-40).join('\n')
  if (output !== '') process.stderr.write(`${output}\n`)
  const how = result.error?.code ?? result.signal ?? `exit code ${result.status}`
  throw new SetupError(`${[command, ...args].join(' ')}: ${how}`, hint)
}

/** Every file that decides what is in node_modules; their names count too. */
function installInputs() {
  const manifests = ['packages', 'patches'].flatMap((folder) => {
    if (!existsSync(join(root, folder))) return []
    return readdirSync(join(root, folder))
      .sort()
      .map((name) => (folder === 'packages' ? `packages/${name}/package.json` : `patches/${name}`))
  })
  return ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', 'fixtures/package.json', ...manifests]
}

function installStamp() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`)
  for (const path of installInputs()) {
    if (existsSync(join(root, path))) hash.update(`${path}\0`).update(readFileSync(join(root, path)))
  }
  return hash.digest('hex')
}

function install() {
  const stamp = installStamp()
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  if (!/^pnpm@\d+\.\d+\.\d+$/.test(packageManager ?? '')) {
    throw new SetupError('package.json names no pnpm version', '"packageManager": "pnpm@X.Y.Z"')
  }
  const started = performance.now()
  // An interrupted install must not look finished.
  rmSync(stampFile, { force: true })
  run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--reporter=append-only'], {
    hint: 'needs npm and its registry, or a filled pnpm store',
    // CI: pnpm asks no question. loglevel: `npm --silent` must not swallow what pnpm says about a failure.
    env: { CI: 'true', npm_config_loglevel: 'notice' },
  })
  writeFileSync(stampFile, stamp)
  say(`installed with ${packageManager} in ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

/** Debian keeps the programs of each PostgreSQL apart from PATH. */
function postgresFolders() {
  const versions = '/usr/lib/postgresql'
  return existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, 'bin')) : []
}

function find(program) {
  const system = ['/usr/sbin', '/usr/local/sbin', '/sbin', ...postgresFolders()]
  const folders = [...(process.env.PATH ?? '').split(':'), ...system]
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return folder !== ''
    } catch {
      // Not there, or not ours to run: the same for us.
      return false
    }
  })
}

function missingServices() {
  return Object.keys(services).filter((program) => !find(program))
}

/** Debian's packages start their daemon after the installation, unless this script says no (Debian policy 9.3.3.1). */
function withNothingStarting(work) {
  const policy = '/usr/sbin/policy-rc.d'
  const ours = !existsSync(policy)
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    work()
  } finally {
    if (ours) rmSync(policy, { force: true })
  }
}

function aptInstall(programs) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const wait = ['-o', 'DPkg::Lock::Timeout=120']
  withNothingStarting(() => {
    if (programs.includes('postfix')) {
      const answers =
        'postfix postfix/main_mailer_type select Local only\npostfix postfix/mailname string localhost\n'
      const preseed = spawnSync('debconf-set-selections', {
        input: answers,
        stdio: ['pipe', 'ignore', 'inherit'],
      })
      if (preseed.status !== 0) throw new SetupError('debconf-set-selections failed')
    }
    const hint = 'needs a repository of Debian packages that answers'
    run('apt-get', [...wait, '-q', 'update'], { hint, env })
    const options = ['-q', '-y', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold']
    run('apt-get', [...wait, ...options, 'install', ...programs.map((program) => services[program])], {
      hint,
      env,
    })
  })
}

function provideServices() {
  const missing = missingServices()
  if (missing.length === 0) return
  const able = process.getuid?.() === 0 && existsSync('/etc/debian_version') && find('apt-get')
  let reason = 'they are installed for you only as root on Debian'
  if (able) {
    try {
      aptInstall(missing)
      say(`installed ${missing.join(', ')}`)
    } catch (error) {
      if (!(error instanceof SetupError)) throw error
      reason = error.message
    }
  }
  const left = missingServices()
  if (left.length === 0) return
  const hint = `Debian: apt-get install ${left.map((program) => services[program]).join(' ')}; ${reason}`
  if (process.env.CI === 'true') throw new SetupError(`no ${left.join(', ')}`, hint)
  say(`no ${left.join(', ')}: the tests that need them will skip (${hint})`)
}

function main() {
  const { values } = parseArgs({
    options: { 'no-build': { type: 'boolean' }, services: { type: 'boolean' } },
  })
  const major = Number(process.versions.node.split('.')[0])
  if (major < 20)
    throw new SetupError(`Node ${process.versions.node} is too old`, 'Écluse needs Node 20 or newer')
  install()
  if (!values['no-build'])
    run(join('node_modules', '.bin', 'tsc'), ['-b'], { hint: 'a type error: npm run check' })
  if (values.services) provideServices()
}

try {
  main()
} catch (error) {
  if (!(error instanceof SetupError) && error.code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw error
  process.stderr.write(`setup: ${error.message.replace(/^setup: /, '')}\n`)
  process.exitCode = 1
}
