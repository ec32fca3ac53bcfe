import { request } from 'node:http'
import { FilterError, formatAddress, type Address } from '@ecluse/core'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** Our metrics are some 20 KB. */
const MAX_BODY_BYTES = 4 * 1024 * 1024
const TIMEOUT_MS = 10_000

/**
 * Asks the running daemon, at `http.address`.
 *
 * @throws FilterError E_ABORTED when nobody answers, or too much
 */
export async function askDaemon(
  address: Address,
  path: '/readyz' | '/metrics',
): Promise<{ readonly status: number; readonly body: string }> {
  const target = 'path' in address ? { socketPath: address.path } : reachable(address)
  try {
    return await new Promise((resolve, reject) => {
      const asked = request(
        { ...target, path, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) },
        (response) => {
          const chunks: Buffer[] = []
          let size = 0
          response.on('data', (chunk: Buffer) => {
            chunks.push(chunk)
            size += chunk.length
            if (size > MAX_BODY_BYTES) asked.destroy(new Error('answer too long'))
          })
          response.on('error', reject)
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
          )
        },
      )
      asked.on('error', reject)
      asked.end()
    })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw new FilterError('E_ABORTED', `${formatAddress(address)}: ${code ?? message}`, { cause })
  }
}

function reachable({ host, port }: { readonly host: string; readonly port: number }): {
  host: string
  port: number
} {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port }
  return { host: host === '::' ? '::1' : host, port }
}

/** Whether the daemon runs and can take mail. Never rejects. */
export async function checkDaemon(address: Address): Promise<Diagnosis> {
  const check = 'daemon'
  try {
    const { status, body } = await askDaemon(address, '/readyz')
    if (status === 200) return well(check, `${formatAddress(address)}: runs and can take mail`)
    const detail = `${formatAddress(address)}: ${status}: ${body.trim()}`
    return wrong(check, detail, 'see the other lines, and the log of the daemon')
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    // Not wrong: doctor may be asked before the first start.
    return warn(check, `does not answer: ${error.message}`, 'start it: systemctl start ecluse')
  }
}

/** The sum of all series of a counter, whatever their labels; 0 where there is none. */
export function sumOf(metrics: string, name: string, label = ''): number {
  let sum = 0
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue
    if (!line.includes(label)) continue
    const value = Number(line.slice(line.lastIndexOf(' ') + 1))
    if (Number.isFinite(value)) sum += value
  }
  return sum
}
