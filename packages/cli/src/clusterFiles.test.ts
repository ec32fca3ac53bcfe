import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Config } from '@ecluse/core'
import { parseAllDocuments } from 'yaml'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { loadConfig } from './loadConfig.ts'

const shipped = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../deploy/cluster/${name}`, import.meta.url)), 'utf8')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function load(source: string): Promise<{ config: Config; warnings: string[] }> {
  const file = path.join(folder, 'ecluse.yaml')
  writeFileSync(file, source)
  const env = { ECLUSE_REDIS_PASSWORD: 'a password', ECLUSE_REDIS_SECRET: 'a secret of some length' }
  const loaded = await loadConfig(file, { kinds: SAMPLE_KINDS, env, hostname: 'ecluse-0' })
  if ('errors' in loaded) throw new Error(loaded.errors.map(({ message }) => message).join('\n'))
  return { config: loaded.config, warnings: loaded.warnings.map(({ message }) => message) }
}

const haproxy = shipped('haproxy.cfg')
/** `15m` → milliseconds. */
const haproxyTime = (keyword: string): number => {
  const [, number, unit = ''] = new RegExp(`^ +${keyword} (\\d+)([sm])$`, 'm').exec(haproxy) ?? []
  return Number(number) * (unit === 'm' ? 60_000 : 1000)
}

describe('deploy/cluster/ecluse.yaml', () => {
  const source = shipped('ecluse.yaml')

  test('loads without a warning', async () => {
    expect((await load(source)).warnings).toEqual([])
  })

  test('has one memory for all, behind Sentinels, the ledger in it', async () => {
    const { config } = await load(source)
    expect(config.redis).toMatchObject({
      sentinels: ['10.0.0.31', '10.0.0.32', '10.0.0.33'].map((host) => ({ host, port: 26_379 })),
      sentinelName: 'ecluse',
      password: 'a password',
      secret: 'a secret of some length',
      prefix: 'ecluse',
    })
    expect(config.ledger.shared).toBe(true)
  })

  test('fits haproxy.cfg', async () => {
    const { config } = await load(source)
    const [listen] = config.listen
    const bound = [...haproxy.matchAll(/^ +bind (\S+):(\d+)$/gm)].map(([, host, port]) => `${host}:${port}`)
    expect(listen?.proxies).toEqual(['10.0.0.10/32'])
    expect(bound).toEqual(['10.0.0.10:10024', '10.0.0.10:10025'])
    expect(config.reinject.address).toEqual({ host: '10.0.0.10', port: 10_025 })
    expect(listen?.trust).toEqual(
      [...haproxy.matchAll(/^ +server mx\d (\S+):10025$/gm)].map(([, host]) => `${host}/32`),
    )
    expect(haproxy).toContain('server filter1 10.0.0.11:10024')
    expect(config.http.address).toEqual({ host: '10.0.0.11', port: 9725 })
    for (const [, most] of haproxy.matchAll(/maxconn (\d+)/g)) {
      expect(Number(most)).toBeLessThan(config.limits.connections)
    }
  })

  test.each(['timeout client', 'timeout server'])(
    '%s of HAProxy is longer than any silence of ours',
    async (name) => {
      const { limits } = (await load(source)).config
      const longest = Math.max(590_000, limits.deadline, limits.idle)
      expect(haproxyTime(name)).toBeGreaterThan(longest)
    },
  )
})

/** An object of Kubernetes, as far as it is looked at. */
type Manifest = Readonly<Record<string, any>>

describe('deploy/cluster/kubernetes.yaml', () => {
  const documents = parseAllDocuments(shipped('kubernetes.yaml'), { uniqueKeys: true })
  const manifests = documents.map((document): Manifest => document.toJS())
  const find = (kind: string, name = 'ecluse'): Manifest =>
    manifests.find((manifest) => manifest['kind'] === kind && manifest['metadata'].name === name) ?? {}
  const set = find('StatefulSet')['spec']
  const pod = set.template.spec
  const [container] = pod.containers
  const ports = new Map<string, number>(
    container.ports.map(({ name, containerPort }: Manifest) => [name, containerPort]),
  )

  test('is YAML, each object with version, kind and a name of its own', () => {
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([])
    const names = manifests.map(({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.name}`)
    expect(names).toEqual([
      'v1 ConfigMap ecluse',
      'v1 Service ecluse',
      'v1 Service ecluse-members',
      'policy/v1 PodDisruptionBudget ecluse',
      'apps/v1 StatefulSet ecluse',
    ])
  })

  test('has a configuration that loads without a warning, and listens where it is asked', async () => {
    const { config, warnings } = await load(find('ConfigMap')['data']['ecluse.yaml'])
    expect(warnings).toEqual([])
    expect(config.listen[0]?.address).toEqual({ host: '0.0.0.0', port: ports.get('lmtp') })
    expect(config.http.address).toEqual({ host: '0.0.0.0', port: ports.get('http') })
    const mounts = container.volumeMounts.map(({ mountPath }: Manifest) => mountPath)
    expect(mounts).toContain(config.spool.directory)
    expect(mounts).toContain(path.dirname(config.quarantine.directory))
    expect(mounts).toContain(path.dirname(config.ledger.directory))
  })

  test('gives what is under way the time to be answered', async () => {
    const { config } = await load(find('ConfigMap')['data']['ecluse.yaml'])
    const [, seconds] = container.lifecycle.preStop.exec.command
    const neededMs = Number(seconds) * 1000 + config.limits.drain
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(neededMs)
  })

  test('asks /readyz and /healthz, and restarts nothing for a scanner that is down', () => {
    const { readinessProbe, livenessProbe, startupProbe } = container
    expect([readinessProbe, livenessProbe, startupProbe].map(({ httpGet }) => httpGet)).toEqual([
      { path: '/readyz', port: 'http' },
      { path: '/healthz', port: 'http' },
      { path: '/healthz', port: 'http' },
    ])
  })

  test('has labels that fit, and mounts that there are', () => {
    const { labels } = set.template.metadata
    const selectors = [
      set.selector.matchLabels,
      find('PodDisruptionBudget')['spec'].selector.matchLabels,
      find('Service')['spec'].selector,
      find('Service', 'ecluse-members')['spec'].selector,
    ]
    expect(selectors).toEqual(selectors.map(() => labels))
    expect(find('Service', set.serviceName)['spec'].clusterIP).toBe('None')
    const claims = set.volumeClaimTemplates.map(({ metadata }: Manifest) => metadata)
    const volumes = new Set([...pod.volumes, ...claims].map(({ name }: Manifest) => name))
    expect(new Set(container.volumeMounts.map(({ name }: Manifest) => name))).toEqual(volumes)
  })

  test('runs with no privilege, on a file system that it cannot write', () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })
})
