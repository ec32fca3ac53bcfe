/**
 * One Postfix with a front for each side: straight on, through Écluse and back, through amavisd-new and back. Postfix
 * answers before it delivers, so the time is that until all messages are at the last sink.
 */
import { join } from 'node:path'
import { startAmavisdOrNot, startEcluse } from './filters.js'
import { freePort, runWorker } from './processes.js'
import { startSharedSink } from './sink.js'
import { measureInTurn } from './turns.js'

const sessions = 8
/** Deliveries to a filter at once: maxproc of its transport in deploy/postfix/master.cf, and amavisd-new's children. */
const ecluseAtOnce = 20
const amavisdAtOnce = 8
const patienceMs = 120_000

/** A benchmark is one busy client: the limits that Postfix has against those are in the way. */
const mainCf = `in_flow_delay = 0s
smtpd_client_connection_count_limit = 0
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
amavisd_destination_concurrency_limit = ${amavisdAtOnce}
amavisd_initial_destination_concurrency = ${amavisdAtOnce}
ecluse_initial_destination_concurrency = ${ecluseAtOnce}
`

function masterCf({ plainPort, amavisdFront, amavisdPort }) {
  return `127.0.0.1:${plainPort} inet n - n - - smtpd
  -o content_filter=
  -o receive_override_options=
127.0.0.1:${amavisdFront} inet n - n - - smtpd
  -o content_filter=amavisd:[127.0.0.1]:${amavisdPort}
amavisd unix - - n - ${amavisdAtOnce} lmtp
  -o lmtp_send_xforward_command=yes
  -o lmtp_tls_security_level=none
`
}

function side({ name, frontPort, pid, sink, check }) {
  return {
    name,
    pid,
    async run(count) {
      check?.()
      const load = { port: frontPort, protocol: 'smtp', sessions, kind: 'mixed', count }
      const { startedAt } = await sink.counted(count, async () => await runWorker('load', load), patienceMs)
      const seconds = (performance.timeOrigin + performance.now() - startedAt) / 1000
      check?.()
      return { seconds }
    },
  }
}

/** Gives the sides of measureInTurn: without a filter first. */
export async function measurePostfix(bench) {
  const { directory, kit } = bench
  const open = []
  try {
    const [finalPort, plainPort, amavisdFront, reentryPort] = await Promise.all(
      Array.from({ length: 4 }, freePort),
    )
    const logFile = join(directory, 'sink-postfix.log')
    const sink = await startSharedSink({ port: finalPort, protocol: 'smtp', logFile })
    open.push(sink)
    const common = { directory, name: 'postfix', nextPort: reentryPort }
    const ecluse = await startEcluse({ ...common, nodeOptions: bench.nodeOptions })
    open.push(ecluse)
    const amavisd = bench.amavisd
      ? await startAmavisdOrNot({ ...common, children: amavisdAtOnce })
      : undefined
    if (amavisd !== undefined) open.push(amavisd)
    // Where amavisd-new is not there, nothing is ever sent to its front.
    const amavisdPort = amavisd?.port ?? ecluse.port
    const postfix = await kit.startPostfix({
      filter: `127.0.0.1:${ecluse.port}`,
      deliverTo: finalPort,
      reentryPort,
      mainCf,
      masterCf: masterCf({ plainPort, amavisdFront, amavisdPort }),
    })
    open.push(postfix)
    const sides = [
      { name: 'Postfix, no filter', frontPort: plainPort, sink },
      { ...ecluse, frontPort: postfix.port, sink },
      ...(amavisd === undefined ? [] : [{ ...amavisd, frontPort: amavisdFront, sink }]),
    ]
    const results = await measureInTurn(sides.map(side), {
      ...bench.plan,
      seconds: bench.plan.seconds * 2,
      fewest: 100,
    })
    sink.checkSurplus()
    return results
  } finally {
    for (const each of open.toReversed()) await each.close()
  }
}
