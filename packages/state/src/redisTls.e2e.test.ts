import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { describeWith, freePort, startRedis, type RedisService } from '@ecluse/fixtures'
import { RedisKit } from '../test/redis.ts'

const kit = new RedisKit()

afterEach(async () => {
  await kit.closeAll()
})

describeWith({ describe, beforeAll }, 'redis-server')('Redis behind TLS', () => {
  let folder: string
  let redis: RedisService
  let port: number

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ecluse-redis-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=redis.example.org', '-addext', 'subjectAltName=DNS:redis.example.org']
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        ...subject,
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    )
    port = await freePort()
    const files = ['--tls-key-file', key, '--tls-cert-file', cert, '--tls-ca-cert-file', cert]
    redis = await startRedis({
      arguments: ['--tls-port', String(port), '--tls-auth-clients', 'no', ...files],
    })
  })

  afterAll(async () => {
    await redis.close()
    rmSync(folder, { recursive: true })
  })

  test.each([
    ['the right authority and name', 'redis.example.org', true, 'up'],
    ['another name', 'other.example.org', true, 'down'],
    ['an authority that nobody knows', 'redis.example.org', false, 'down'],
  ])('with %s: %s', async (_, servername, isKnown, state) => {
    const ca = readFileSync(join(folder, 'cert.pem'))
    const { link, changes } = await kit.connected({
      place: { kind: 'standalone', address: { host: '127.0.0.1', port } },
      tls: { servername, ...(isKnown && { ca }) },
    })
    expect(link.state).toBe(state)
    expect(changes).toHaveLength(1)
  })
})
