import { afterEach, expect, test } from '@jest/globals'
import { listenHttp, type HttpListener } from './http.ts'
import { Metrics } from './metrics.ts'

let listener: HttpListener | undefined
afterEach(async () => {
  await listener?.close()
  listener = undefined
})

let reasons: string[] = []
async function ask(path: string, method = 'GET'): Promise<{ status: number; body: string }> {
  const metrics = new Metrics({
    inFlight: () => 3,
    spoolBytes: () => 0,
    quarantineBytes: async () => 4096,
    ledgerEntries: () => 5,
    cacheEntries: () => 0,
    circuits: () => new Map(),
  })
  listener ??= await listenHttp({ host: '127.0.0.1', port: 0 }, { notReady: () => reasons, metrics })
  if ('path' in listener.address) throw new TypeError('expected TCP')
  const response = await fetch(`http://127.0.0.1:${listener.address.port}${path}`, { method })
  return { status: response.status, body: await response.text() }
}

test.each([
  ['/healthz', 'GET', 200, 'ok\n'],
  ['/healthz', 'POST', 405, 'method not allowed\n'],
  ['/nothing', 'GET', 404, 'not found\n'],
])('%s by %s is %d', async (path, method, status, body) => {
  expect(await ask(path, method)).toEqual({ status, body })
})

test('/readyz says why mail cannot be taken', async () => {
  reasons = []
  expect(await ask('/readyz')).toEqual({ status: 200, body: '{"ready":true,"reasons":[]}\n' })
  reasons = ['scanner clamav: E_SCANNER_CONNECT: refused']
  expect(await ask('/readyz')).toEqual({
    status: 503,
    body: '{"ready":false,"reasons":["scanner clamav: E_SCANNER_CONNECT: refused"]}\n',
  })
})

test('/metrics has every metric of the contract from the start', async () => {
  const { body } = await ask('/metrics')
  const names = new Set([...body.matchAll(/^# TYPE (ecluse_\w+)/gm)].map(([, name]) => name))
  expect(names).toEqual(
    new Set([
      'ecluse_cache_entries',
      'ecluse_cache_lookups_total',
      'ecluse_config_last_reload_success_timestamp_seconds',
      'ecluse_config_reloads_total',
      'ecluse_in_flight_messages',
      'ecluse_internal_errors_total',
      'ecluse_ledger_entries',
      'ecluse_ledger_replays_total',
      'ecluse_ledger_without_ident_total',
      'ecluse_message_bytes',
      'ecluse_message_seconds',
      'ecluse_messages_total',
      'ecluse_notices_total',
      'ecluse_quarantine_bytes',
      'ecluse_quarantined_total',
      'ecluse_recipients_total',
      'ecluse_refusals_total',
      'ecluse_reinjections_total',
      'ecluse_scan_seconds',
      'ecluse_scanner_circuit_open',
      'ecluse_scanner_signature_timestamp_seconds',
      'ecluse_scanner_up',
      'ecluse_scans_given_up_total',
      'ecluse_scans_total',
      'ecluse_spool_bytes',
    ]),
  )
  expect(body).toContain('\necluse_in_flight_messages 3\n')
  expect(body).toContain('\necluse_internal_errors_total 0\n')
  expect(body).toContain('\necluse_quarantine_bytes 4096\n')
})

test('a port in use is one clear error', async () => {
  await ask('/healthz')
  const metrics = new Metrics({
    inFlight: () => 0,
    spoolBytes: () => 0,
    quarantineBytes: async () => 0,
    ledgerEntries: () => 0,
    cacheEntries: () => 0,
    circuits: () => new Map(),
  })
  await expect(
    listenHttp(listener?.address ?? { path: '' }, { notReady: () => [], metrics }),
  ).rejects.toMatchObject({
    code: 'E_LISTEN',
    message: expect.stringMatching(/^http 127\.0\.0\.1:\d+: EADDRINUSE$/),
  })
})
