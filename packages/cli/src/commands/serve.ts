import { createLog, startDaemon, stderrTarget, type Daemon, type Log } from '@ecluse/daemon'
import { CONFIG_OPTION, configFile, type Command } from '../command.ts'
import { tuneHeap } from '../heap.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError } from '../terminal.ts'
import { daemonOptions } from '../wiring.ts'

/** `serve`. */
export const serve: Command = {
  name: 'serve',
  usage: '--config FILE',
  summary: 'Runs the filter until SIGTERM; prints "ready" with its addresses when it can take mail.',
  options: { config: CONFIG_OPTION },
  async run(args, around) {
    const loaded = await loadConfig(configFile(args), around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    const { level, format } = loaded.config.log
    const log = createLog(level, format, stderrTarget())
    for (const warning of loaded.warnings) log.warn({ warning: describeError(warning) }, 'configuration')
    const stopped = stopSignal(log)
    tuneHeap()
    const daemon = await startDaemon(await daemonOptions(loaded.config, log))
    announce(daemon, log)
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

/** The first signal ends the daemon in order; a second one ends the process as usual. */
function stopSignal(log: Log): Promise<string> {
  process.on('SIGHUP', () => {
    log.warn({}, 'SIGHUP: this version does not reload, restart it instead')
  })
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
