import { createLog, startDaemon, stderrTarget, type Daemon, type Log } from '@ecluse/daemon'
import { armFailpoint } from '../failpoint.ts'
import { CONFIG_OPTION, configFile, type Command, type Surroundings } from '../command.ts'
import { tuneHeap } from '../heap.ts'
import { loadConfig } from '../loadConfig.ts'
import { watchLists } from '../listWatch.ts'
import { Reloading, rulesAlone } from '../reload.ts'
import { describeError } from '../terminal.ts'
import { daemonOptions } from '../wiring.ts'

/** `serve`. */
export const serve: Command = {
  name: 'serve',
  usage: '--config FILE',
  summary:
    'Runs the filter until SIGTERM; prints "ready" with its addresses when it can take mail; SIGHUP reloads.',
  options: { config: CONFIG_OPTION },
  async run(args, around) {
    armFailpoint(around)
    const hangups = watchHangups()
    const service = await startService(configFile(args), around)
    if (!service) return 2
    const { daemon, reloading, log, stopped } = service
    hangups.listen(() => reloading.reload())
    const watch = watchLists(reloading)
    around.out(`ready ${daemon.addresses.join(', ')}\n`)
    log.info({ signal: await stopped }, 'stopping')
    watch.close()
    await daemon.close()
    log.info({}, 'stopped')
    return 0
  },
}

interface Service {
  readonly daemon: Daemon
  readonly reloading: Reloading
  readonly log: Log
  /** Gives the signal that shall end it. */
  readonly stopped: Promise<string>
}

/** Absent: the configuration cannot be used, which has been told. */
async function startService(file: string, around: Surroundings): Promise<Service | undefined> {
  const loaded = await loadConfig(file, around)
  if ('errors' in loaded) {
    for (const error of loaded.errors) around.complain(describeError(error))
    return undefined
  }
  const { config, warnings } = loaded
  const log = createLog(config.log.level, config.log.format, stderrTarget())
  for (const warning of warnings) log.warn({ warning: describeError(warning) }, 'configuration')
  const stopped = stopSignal()
  tuneHeap()
  const daemon = await startDaemon(await daemonOptions(loaded, log))
  announce(daemon, log)
  const lists = rulesAlone(loaded)
  return { daemon, log, stopped, reloading: new Reloading({ daemon, config, lists, file, around, log }) }
}

function announce(daemon: Daemon, log: Log): void {
  for (const [scanner, version] of daemon.versions()) log.info({ scanner, ...version }, 'scanner')
  log.info({ addresses: daemon.addresses, notReady: daemon.notReady() }, 'ready')
}

/**
 * SIGHUP does not end the process, from here on. One that comes before there is a listener is kept for it: the file may
 * have changed since it was read.
 */
function watchHangups(): { listen(onHangup: () => Promise<void>): void } {
  let listener: (() => Promise<void>) | undefined
  let early = false
  process.on('SIGHUP', () => {
    if (listener) void listener()
    else early = true
  })
  return {
    listen(onHangup) {
      listener = onHangup
      if (early) void onHangup()
    },
  }
}

/** The first signal ends the daemon in order; a second one ends the process as usual. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    const stop = (signal: string): void => {
      process.off('SIGTERM', stop)
      process.off('SIGINT', stop)
      resolve(signal)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}
