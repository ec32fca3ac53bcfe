import { createLog, startDaemon, stderrTarget, type Daemon, type Log } from '@ecluse/daemon'
import { CONFIG_OPTION, configFile, type Command } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { reloading } from '../reload.ts'
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
    const hangups = watchHangups()
    const file = configFile(args)
    const loaded = await loadConfig(file, around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    const { config } = loaded
    const log = createLog(config.log.level, config.log.format, stderrTarget())
    for (const warning of loaded.warnings) log.warn({ warning: describeError(warning) }, 'configuration')
    const stopped = stopSignal()
    const daemon = await startDaemon(await daemonOptions(loaded, log))
    announce(daemon, log)
    hangups.listen(reloading({ daemon, config, file, around, log }))
    around.out(`ready ${daemon.addresses.join(', ')}\n`)
    log.info({ signal: await stopped }, 'stopping')
    await daemon.close()
    log.info({}, 'stopped')
    return 0
  },
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
