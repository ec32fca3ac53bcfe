/**
 * The two filters that are compared, each a private instance on 127.0.0.1 in processes of its own: Écluse as
 * `ecluse serve` runs it, and Debian's amavisd-new with the same scanners. Both hand mail on to a port by SMTP.
 */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import {
  BenchError,
  findProgram,
  freePort,
  hasEnded,
  lastLine,
  start,
  stop,
  waitForGreeting,
} from './processes.js'
import { writeRuleSet } from './ruleSets.js'

const root = join(import.meta.dirname, '../..')

function yamlList(items) {
  return items.length === 0 ? ' []' : items.map((item) => `\n  - ${JSON.stringify(item)}`).join('')
}

/** JSON is YAML: no quoting of our own. */
function ecluseScanners({ clamd, spamd, spamdKeys }) {
  const timeouts = { timeout: '60s', onError: 'tempfail' }
  return [
    ...(clamd ? [{ name: 'clamav', kind: 'clamd', address: `unix:${clamd.socketPath}`, ...timeouts }] : []),
    ...(spamd
      ? [{ name: 'spam', kind: 'spamd', address: `127.0.0.1:${spamd.port}`, ...timeouts, ...spamdKeys }]
      : []),
  ]
}

const usualLimits = { concurrency: 50, connections: 200 }

/** Nothing is remembered unless `remembers`; it may be the keys of `cache`. */
function cacheLines(remembers) {
  if (remembers === true) return ''
  return `cache: ${JSON.stringify(remembers === false ? { maxEntries: 0 } : remembers)}\n`
}

/** Only verdicts are in Redis: what it costs to remember what was done is another question. */
function redisLines(redis) {
  if (redis === undefined) return ''
  return `redis: ${JSON.stringify({ url: redis.url, secret: 'bench bench bench' })}\n`
}

/**
 * A configuration of Écluse with all it writes below `directory`. Nothing is remembered unless `remembers`: a row about
 * scanners measures scans, whatever it sends. `redis`: where verdicts are remembered too.
 */
export function ecluseConfig(
  directory,
  { port, httpPort = 0, nextPort, scanners, connections, limits = usualLimits, remembers = false, redis },
) {
  return `hostname: bench.example.org
listen:
  - { protocol: lmtp, address: "127.0.0.1:${port}" }
reinject: { protocol: smtp, address: "127.0.0.1:${nextPort}", connections: ${connections} }
scanners:${yamlList(scanners)}
localDomains: [example.org]
spool: { directory: ${JSON.stringify(join(directory, 'spool'))} }
quarantine: { directory: ${JSON.stringify(join(directory, 'quarantine'))} }
ledger: { directory: ${JSON.stringify(join(directory, 'ledger'))}, shared: false }
http: { address: "127.0.0.1:${httpPort}" }
limits: ${JSON.stringify(limits)}
${cacheLines(remembers)}${redisLines(redis)}`
}

/**
 * `ecluse serve`, its log going to a file. `nodeOptions` go to Node, before the program; `ruleSet`: see ruleSets.js.
 *
 * @throws BenchError when it does not come up
 */
export async function startEcluse({
  directory,
  name,
  nextPort,
  scanners = {},
  connections = 20,
  limits,
  remembers,
  redis,
  nodeOptions = [],
  ruleSet = 'none',
}) {
  const own = join(directory, `ecluse-${name}`)
  for (const folder of ['spool', 'quarantine']) await mkdir(join(own, folder), { recursive: true })
  const port = await freePort()
  const configFile = join(own, 'ecluse.yaml')
  // Another instance on this machine may have the usual one.
  const httpPort = await freePort()
  const ports = { port, httpPort, nextPort }
  const engines = ecluseScanners(scanners)
  const text = ecluseConfig(own, { ...ports, scanners: engines, connections, limits, remembers, redis })
  await writeFile(configFile, text + writeRuleSet(own, ruleSet))
  const logFile = join(own, 'ecluse.log')
  const command = [...nodeOptions, join(root, 'packages/cli/bin/ecluse.js'), 'serve', '--config', configFile]
  const child = start(process.execPath, command, { logFile })
  try {
    await waitForGreeting(child, port, { name: 'ecluse serve', logFile })
  } catch (error) {
    await stop(child)
    throw error
  }
  return filter({ name: 'Écluse', child, port, logFile })
}

function filter({ name, child, port, logFile }) {
  return {
    name,
    port,
    pid: child.pid,
    logFile,
    /** @throws BenchError when it died under the load */
    check() {
      if (hasEnded(child)) throw new BenchError(`${name} ended: ${lastLine(logFile)}`)
    },
    close: async () => await stop(child),
  }
}

const amavisdPrograms = ['amavisd', 'amavisd-new']

/** Why amavisd-new cannot be measured here; undefined where it can. */
export function amavisdMissing() {
  if (!amavisdPrograms.some((name) => findProgram(name))) {
    return 'amavisd-new is not installed (Debian: apt-get install --no-install-recommends amavisd-new)'
  }
  // It drops to a user of its own and makes its folders for it.
  return process.getuid?.() === 0 ? undefined : 'a private amavisd-new is started as root only'
}

const bypass = (what) => `@bypass_${what}_checks_maps = (1);`

function amavisdConfig(own, { port, nextPort, children, clamd, spamd }) {
  // What is not compared is off: banned names, header checks, and unpacking where no scanner looks.
  const bypassed = ['banned', 'header', ...(clamd ? [] : ['virus']), ...(spamd ? [] : ['spam'])]
  const socket = clamd?.socketPath ?? '/nonexistent'
  return `use strict;
$mydomain = 'example.org'; $myhostname = 'bench.example.org';
$daemon_user = 'amavis'; $daemon_group = 'amavis';
$MYHOME = '${own}'; $TEMPBASE = '${own}/tmp'; $QUARANTINEDIR = '${own}/quarantine';
$db_home = '${own}/db'; $helpers_home = '${own}/home';
$lock_file = '${own}/home/amavisd.lock'; $pid_file = '${own}/home/amavisd.pid';
$enable_db = 0; $enable_zmq = 0; $nanny_details_level = 0;
$do_syslog = 0; $LOGFILE = '${own}/home/amavisd.log'; $log_level = 0;
$max_servers = ${children}; $max_requests = 1000;
$inet_socket_bind = '127.0.0.1'; $inet_socket_port = ${port}; @inet_acl = qw(127.0.0.1);
$forward_method = 'smtp:[127.0.0.1]:${nextPort}'; $notify_method = $forward_method;
@local_domains_maps = (['.example.org']); @mynetworks = qw(127.0.0.0/8);
$enable_dkim_verification = 0; $enable_dkim_signing = 0;
${bypassed.map(bypass).join(' ')}
${clamd ? '' : '$bypass_decode_parts = 1;'}
@av_scanners = (['ClamAV-clamd', \\&ask_daemon, ["CONTSCAN {}\\n", '${socket}'],
  qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m]);
@av_scanners_backup = ();
$sa_siteconfigpath = '${own}/site'; $sa_local_tests_only = 1; $sa_tag_level_deflt = -999;
$sa_tag2_level_deflt = 6.2; $sa_kill_level_deflt = 15; $sa_mail_body_size_limit = 2*1024*1024;
$final_virus_destiny = D_DISCARD; $final_spam_destiny = D_DISCARD; $final_bad_header_destiny = D_PASS;
1;
`
}

/** The very rules that spamd has, where there is one: stock rules, nothing over the network, no Bayes. */
async function writeSpamAssassinSite(folder, spamd) {
  if (spamd !== undefined) {
    await cp(join(spamd.directory, 'site'), folder, { recursive: true })
    return
  }
  await mkdir(folder)
  for (const name of await readdir('/etc/spamassassin')) {
    if (name.endsWith('.pre')) await cp(join('/etc/spamassassin', name), join(folder, name))
  }
  await writeFile(
    join(folder, 'local.cf'),
    'use_bayes 0\ndns_available no\nskip_rbl_checks 1\nrequired_score 5.0\n',
  )
}

/**
 * amavisd-new with `children` workers. `scanners.spamd` switches SpamAssassin on, which amavisd-new runs in its own
 * processes.
 *
 * @throws BenchError when it does not come up
 */
async function startAmavisd({ directory, name, nextPort, scanners = {}, children }) {
  const own = join(directory, `amavisd-${name}`)
  const folders = ['tmp', 'quarantine', 'db', 'home'].map((folder) => join(own, folder))
  for (const folder of folders) await mkdir(folder, { recursive: true })
  // Only these: it refuses a configuration in a folder that its own user could change.
  execFileSync('chown', ['amavis:amavis', ...folders])
  await writeSpamAssassinSite(join(own, 'site'), scanners.spamd)
  const port = await freePort()
  const configFile = join(own, 'amavisd.conf')
  await writeFile(configFile, amavisdConfig(own, { port, nextPort, children, ...scanners }))
  const command = amavisdPrograms.map(findProgram).find((path) => path !== undefined)
  const logFile = join(own, 'output.log')
  const child = start(command, ['-c', configFile, 'foreground'], { logFile, cwd: own })
  try {
    await waitForGreeting(child, port, { name: 'amavisd-new', logFile })
  } catch (error) {
    await stop(child)
    throw error
  }
  return filter({ name: 'amavisd-new', child, port, logFile })
}

/** As startAmavisd; when it does not come up, a filter whose `check` says so: Écluse is measured all the same. */
export async function startAmavisdOrNot(options) {
  try {
    return await startAmavisd(options)
  } catch (error) {
    const check = () => {
      throw error
    }
    return { name: 'amavisd-new', failure: error.message, check, close: async () => {} }
  }
}
