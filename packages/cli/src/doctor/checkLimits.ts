import {
  limitOf,
  numberOf,
  processLimit,
  settingOf,
  type PostfixConfig,
  type PostfixService,
} from './postfixConfig.ts'
import { feedsOf, type Feed, type PostfixWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** What our header fields may add to a message. */
const GROWTH_BYTES = 64 * 1024

/** Whether what one side allows is not too much for the other. */
export function checkLimits(way: PostfixWay): Diagnosis[] {
  return [
    ...checkSizes(way),
    ...checkHops(way),
    ...feedsOf(way).flatMap((feed) => [
      checkConcurrency(way, feed),
      checkRecipients(way, feed),
      checkCohorts(way, feed),
    ]),
  ]
}

/** Bytes, as Postfix and people write them. */
function bytes(size: number): string {
  return size === Infinity ? 'no limit' : `${size} bytes`
}

function checkSizes(way: PostfixWay): Diagnosis[] {
  const { postfix, config, fronts, reentry } = way
  const { messageSize } = config.limits
  const front = Math.max(
    ...fronts.map((service) => limitOf(settingOf(postfix, 'message_size_limit', service))),
    0,
  )
  const facts = `Postfix takes ${bytes(front)}, limits.messageSize is ${bytes(messageSize)}`
  const into =
    front <= messageSize
      ? well('postfix size in', facts)
      : wrong(
          'postfix size in',
          `${facts}: Écluse refuses what is larger, and Postfix sends it back`,
          `set message_size_limit = ${messageSize} in main.cf, or raise limits.messageSize`,
        )
  return reentry ? [into, checkSizeBack(way, reentry, Math.min(front, messageSize))] : [into]
}

function checkSizeBack({ postfix }: PostfixWay, reentry: PostfixService, largest: number): Diagnosis {
  const check = 'postfix size back'
  const { name: cleanupName, service: cleanup } = cleanupOf(postfix, reentry)
  if (!cleanup) {
    const detail = `cleanup_service_name is ${cleanupName}, and master.cf has no such service: 10025 takes no mail`
    return wrong(check, detail, 'add the service to master.cf, as ecluse postfix prints it')
  }
  const places = [reentry, cleanup].map((service) => ({
    name: service.name,
    limit: limitOf(settingOf(postfix, 'message_size_limit', service)),
  }))
  const small = places.find(({ limit }) => limit < largest + GROWTH_BYTES)
  if (!small) return well(check, `${places.map(({ name, limit }) => `${name} ${bytes(limit)}`).join(', ')}`)
  const detail =
    `${small.name} takes ${bytes(small.limit)}, but messages of ${bytes(largest)} come in and grow by ` +
    'the header fields of Écluse: they stay in the queue, and go back in the end'
  return wrong(check, detail, `give "${small.name}" in master.cf: -o message_size_limit=0`)
}

/** The cleanup(8) of a service that takes mail; absent: master.cf has none of that name. */
function cleanupOf(
  postfix: PostfixConfig,
  service: PostfixService,
): { readonly name: string; readonly service?: PostfixService } {
  const wanted = settingOf(postfix, 'cleanup_service_name', service) ?? 'cleanup'
  const found = postfix.services.find(({ name, type }) => name === wanted && type === 'unix')
  return { name: wanted, ...(found && { service: found }) }
}

/** Received fields that Écluse and 10025 add. */
const ADDED_HOPS = 2

/** Whether what came in may come back: cleanup(8) counts Received fields both times. */
function checkHops({ postfix, fronts, reentry }: PostfixWay): Diagnosis[] {
  const check = 'postfix hops'
  const limitBy = (service: PostfixService | undefined): number =>
    numberOf(settingOf(postfix, 'hopcount_limit', service))
  const front = Math.max(...fronts.map((service) => limitBy(cleanupOf(postfix, service).service)), 0)
  const back = reentry && cleanupOf(postfix, reentry).service
  if (!back) return []
  const limit = limitBy(back)
  const facts = `hopcount_limit of "${back.name}" is ${limit}, of what comes in ${front}`
  if (limit >= front + ADDED_HOPS) return [well(check, facts)]
  const detail = `${facts}: Écluse and 10025 add a Received field each, and mail with ${limit - 3} of them bounces`
  const shared = fronts.some((service) => cleanupOf(postfix, service).name === back.name)
  const cure = shared
    ? `give "${reentry.name}" in master.cf: -o cleanup_service_name=recleanup, and add that service, as ecluse postfix prints it`
    : `give "${back.name}" in master.cf: -o hopcount_limit=1000`
  return [warn(check, detail, cure)]
}

function checkConcurrency(way: PostfixWay, { service }: Feed): Diagnosis {
  const check = 'postfix concurrency'
  const { postfix, config } = way
  const { limits, reinject } = config
  const name = `${service.name}_destination_concurrency_limit`
  const wanted = limitOf(settingOf(postfix, name))
  const processes = processLimit(postfix, service)
  const most = Math.min(wanted, processes)
  const ours = Math.min(limits.concurrency, limits.connections)
  const facts = `${name} ${wanted === Infinity ? 'none' : wanted}, maxproc ${processes === Infinity ? 'none' : processes}`
  if (most > ours) {
    const detail = `${facts}: more at once than Écluse takes (limits.concurrency ${limits.concurrency}, limits.connections ${limits.connections}): the rest waits for its next try`
    return wrong(
      check,
      detail,
      `set ${name} = ${ours} in main.cf, and maxproc of "${service.name}" in master.cf to ${ours}`,
    )
  }
  if (wanted > processes) {
    const detail = `${facts}: what is above maxproc waits for a process`
    return warn(check, detail, `set both to the same number`)
  }
  if (most > reinject.connections) {
    const detail = `${facts}: more at once than reinject.connections (${reinject.connections}), the rest waits`
    return warn(check, detail, `set reinject.connections to ${most}`)
  }
  return well(check, `${facts}, limits.concurrency ${limits.concurrency}`)
}

function checkRecipients({ postfix, config }: PostfixWay, { service }: Feed): Diagnosis {
  const check = 'postfix recipients'
  const name = `${service.name}_destination_recipient_limit`
  const limit = limitOf(settingOf(postfix, name))
  const { recipients } = config.limits
  const facts = `${name} is ${limit === Infinity ? 'no limit' : limit}, limits.recipients ${recipients}`
  if (limit > recipients) {
    const detail = `${facts}: those above are refused for now, and wait for the next try`
    return wrong(check, detail, `set ${name} = ${recipients} in main.cf`)
  }
  if (limit >= recipients) return well(check, facts)
  const detail = `${facts}: mail for more than ${limit} is split, and scanned once for each part`
  return limit < 50 ? warn(check, detail, `set ${name} = ${recipients} in main.cf`) : well(check, detail)
}

function checkCohorts({ postfix }: PostfixWay, { service }: Feed): Diagnosis {
  const check = 'postfix restart'
  const name = `${service.name}_destination_concurrency_failed_cohort_limit`
  const limit = numberOf(settingOf(postfix, name))
  if (limit !== 1) return well(check, `${name} is ${limit}`)
  const wait = settingOf(postfix, 'minimal_backoff_time') ?? '300s'
  const detail = `${name} is 1: one refused connection, and all mail waits for ${wait}`
  return warn(check, detail, `set ${name} = 10 in main.cf`)
}
