/**
 * What a Redis can do while mail runs. Each: name; `start()` gives its `place` (keys of `redis`; absent: none is
 * configured), `close` and whatever `midway` needs; `midway(redis)` is called when half of the mail is sent, `meanwhile`
 * before each mail from then on. `comesBack`: mail goes on until it is used again.
 */

const at = (port) => ({ url: `redis://127.0.0.1:${port}` })
const local = (port) => `127.0.0.1:${port}`

/** Lua over the keys of all verdicts, without the marks of those that are being made. */
function onVerdicts(change) {
  const keys =
    `local keys = {} for _, key in ipairs(redis.call('KEYS', 'ecluse:v1:*')) do ` +
    `if not string.find(key, ':claim$') then keys[#keys + 1] = key end end`
  return `EVAL "${keys} ${change} return redis.status_reply('OK')" 0`
}

const each = (change) => `for _, key in ipairs(keys) do ${change} end`

/** Entries that are not what one of us has stored under this key. */
const forgeries = {
  'entries are cut': each(`redis.call('SET', key, string.sub(redis.call('GET', key), 1, 60))`),
  'entries are forged': each(`redis.call('SETRANGE', key, 20, 'XXXX')`),
  // One is clean and one is not, and both were sealed by one of us.
  'entries are swapped':
    `local values = {} for index, key in ipairs(keys) do values[index] = redis.call('GET', key) end ` +
    `for index, key in ipairs(keys) do redis.call('SET', key, values[index % #keys + 1]) end`,
}

export function redisBehaviours(kit) {
  const one = async () => {
    const redis = await kit.startRedis()
    return { ...redis, place: at(redis.port) }
  }
  const fake = (fault) => async () => {
    const redis = await kit.startFakeRedis()
    redis.misbehave(fault)
    return { place: at(redis.port), close: async () => await redis.close() }
  }
  const told = (line) => async (redis) => await kit.tellRedis(redis.port, line)
  const signal = (name) => (redis) => process.kill(redis.pid, name)
  return [
    { name: 'no Redis configured', start: async () => ({ close: async () => undefined }) },
    { name: 'well', start: one },
    {
      name: 'refused',
      start: async () => ({ place: at(await kit.freePort()), close: async () => undefined }),
    },
    ...kit.REDIS_FAULTS.map((fault) => ({ name: fault, start: fake(fault) })),
    { name: 'stopped midway (SIGSTOP)', start: one, midway: signal('SIGSTOP') },
    { name: 'killed midway (SIGKILL)', start: one, midway: signal('SIGKILL') },
    { name: 'killed midway, and started again empty', ...emptied(kit, one), comesBack: true },
    { name: 'full midway (noeviction)', start: one, midway: told('CONFIG SET maxmemory 1mb') },
    { name: 'a replica midway (REPLICAOF)', start: one, midway: told('REPLICAOF 127.0.0.1 1') },
    { name: 'failed over by Sentinel midway', ...failedOver(kit), comesBack: true },
    { name: 'slots of a Cluster moved midway', ...resharded(kit) },
    ...Object.entries(forgeries).map(([name, change]) => ({
      name,
      start: one,
      meanwhile: told(onVerdicts(change)),
    })),
  ]
}

function emptied(kit, one) {
  return {
    async start() {
      const redis = await one()
      const services = [redis]
      const close = async () => {
        for (const service of services) await service.close()
      }
      return { ...redis, services, close }
    },
    async midway({ port, pid, services }) {
      process.kill(pid, 'SIGKILL')
      await services[0].close()
      services.push(await kit.startRedis({ port }))
    },
  }
}

function failedOver(kit) {
  return {
    async start() {
      const group = await kit.startSentinel()
      return { ...group, place: { sentinels: [local(group.port)], sentinelName: group.name } }
    },
    midway: ({ master }) => process.kill(master.pid, 'SIGKILL'),
  }
}

const mostMoved = 8

function resharded(kit) {
  return {
    async start() {
      const cluster = await kit.startRedisCluster()
      return { ...cluster, place: { cluster: cluster.nodes.slice(0, 2).map(({ port }) => local(port)) } }
    },
    /** The slots of some verdicts, from each node to the next one. */
    async midway({ nodes, moveSlot }) {
      let moved = 0
      for (const [from, { port }] of nodes.entries()) {
        const listed = await kit.ask({ port }, 'KEYS ecluse:v1:*\r\n', { expected: '\r\n' })
        const names = [...listed.matchAll(/^(ecluse:v1:\S+\})\r$/gm)].map(([, name]) => name)
        for (const name of names.slice(0, mostMoved)) {
          const answer = await kit.tellRedis(port, `CLUSTER KEYSLOT ${name}`, ':')
          await moveSlot(Number(/:(\d+)/.exec(answer)[1]), from, (from + 1) % nodes.length)
          moved++
        }
      }
      if (moved === 0) throw new Error('no slot was moved')
    },
  }
}
