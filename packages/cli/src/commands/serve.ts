import { createLog, startDaemon, stderrTarget, type Daemon, type Log } from '@ecluse/daemon'
import { armFailpoint } from '../failpoint.ts'
import { CONFIG_OPTION, configFile, type Command, type Surroundings } from '../command.ts'
import { watchCrashes, type CrashWatch } from '../crash.ts'
import { tuneHeap } from '../heap.ts'
import { loadConfig, type LoadedConfig } from '../loadConfig.ts'
import { watchLists } from '../listWatch.ts'
import { openConfiguredConsole, type OpenedConsole } from '../openConsole.ts'
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
    const { daemon, page, reloading, log, stopped, crash } = service
    hangups.listen(() => reloading.reload())
    const watch = watchLists(reloading)
    around.out(`ready ${addressesOf(service).join(', ')}\n`)
    service.tellWarnings()
    log.info({ signal: await Promise.race([stopped, crash.happened]) }, 'stopping')
    watch.close()
    await page?.close()
    await daemon.close()
    log.info({}, 'stopped')
    // Also for one that broke while it stopped for a signal.
    return crash.crashed ? 1 : 0
  },
}

interface Service {
  readonly daemon: Daemon
  /** Absent: the configuration has no console. */
  readonly page?: OpenedConsole
  readonly reloading: Reloading
  readonly log: Log
  /** Gives the signal that shall end it. */
  readonly stopped: Promise<string>
  readonly crash: CrashWatch
  /** What is probably not meant: with thousands of rules it takes half a second to find out, and mail can come already. */
  tellWarnings(): void
}

/** Absent: the configuration cannot be used, which has been told. */
async function startService(file: string, around: Surroundings): Promise<Service | undefined> {
  const loaded = await loadConfig(file, around)
  if ('errors' in loaded) {
    for (const error of loaded.errors) around.complain(describeError(error))
    return undefined
  }
  const { config } = loaded
  const log = createLog(config.log.level, config.log.format, stderrTarget())
  const stopped = stopSignal()
  const crash = watchCrashes(log, config.limits.drain)
  tuneHeap()
  const { daemon, page } = await startBoth(loaded, log)
  crash.counted(() => daemon.countInternalError())
  announce({ daemon, page }, log)
  const lists = rulesAlone(loaded)
  return {
    daemon,
    ...(page && { page }),
    log,
    stopped,
    crash,
    reloading: new Reloading({ daemon, config, lists, file, around, log }),
    tellWarnings() {
      for (const warning of loaded.warnings) log.warn({ warning: describeError(warning) }, 'configuration')
    },
  }
}

/** @throws FilterError as {@link startDaemon}; nothing runs then */
async function startBoth(loaded: LoadedConfig, log: Log): Promise<Started> {
  const options = await daemonOptions(loaded, log)
  const { quarantine } = options
  const daemon = await startDaemon(options)
  try {
    return { daemon, page: await openConfiguredConsole(loaded.config, { daemon, quarantine, log }) }
  } catch (error) {
    await daemon.close()
    throw error
  }
}

type Started = { readonly daemon: Daemon; readonly page?: OpenedConsole | undefined }

function addressesOf({ daemon, page }: Started): string[] {
  return [...daemon.addresses, ...(page ? [page.address] : [])]
}

function announce(started: Started, log: Log): void {
  const { daemon } = started
  for (const [scanner, version] of daemon.versions()) log.info({ scanner, ...version }, 'scanner')
  log.info({ addresses: addressesOf(started), notReady: daemon.notReady() }, 'ready')
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
