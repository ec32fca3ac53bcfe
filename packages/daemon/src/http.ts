import { createServer, type Server } from 'node:http'
import { formatAddress, FilterError, type Address } from '@ecluse/core'
import type { Metrics } from './metrics.ts'

/** What the paths tell. */
export interface HttpSources {
  /** Why no mail can be taken; empty: it can. */
  readonly notReady: () => readonly string[]
  readonly metrics: Metrics
  /** Told of what broke an answer, which was 500 then. */
  readonly onBug?: (cause: unknown) => void
}

/** A running HTTP listener. */
export interface HttpListener {
  readonly address: Address
  close(): Promise<void>
}

/**
 * `/healthz`, `/readyz`, `/metrics`.
 *
 * @throws FilterError E_LISTEN
 */
export async function listenHttp(address: Address, sources: HttpSources): Promise<HttpListener> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    request.resume()
    const answer = async (): Promise<void> => {
      const { status, type, body } = await respondAnyway(request.method, request.url, sources)
      response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' })
      response.end(request.method === 'HEAD' ? undefined : body)
    }
    answer().catch(() => response.destroy())
  })
  server.maxConnections = 100
  await listen(server, address)
  const bound = server.address()
  return {
    address: typeof bound === 'object' && bound ? { host: bound.address, port: bound.port } : address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

interface HttpAnswer {
  readonly status: number
  readonly type: string
  readonly body: string
}

async function respondAnyway(
  method: string | undefined,
  url: string | undefined,
  sources: HttpSources,
): Promise<HttpAnswer> {
  try {
    return await respond(method, url, sources)
  } catch (cause) {
    sources.onBug?.(cause)
    return text(500, 'internal error\n')
  }
}

async function respond(method = '', url = '', { notReady, metrics }: HttpSources): Promise<HttpAnswer> {
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'method not allowed\n')
  switch (url.split('?', 1)[0] ?? '') {
    case '/healthz':
      return text(200, 'ok\n')
    case '/readyz': {
      const reasons = notReady()
      const ready = reasons.length === 0
      return {
        status: ready ? 200 : 503,
        type: 'application/json',
        body: `${JSON.stringify({ ready, reasons })}\n`,
      }
    }
    case '/metrics':
      return { status: 200, type: metrics.registry.contentType, body: await metrics.registry.metrics() }
    default:
      return text(404, 'not found\n')
  }
}

const text = (status: number, body: string): HttpAnswer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body,
})

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new FilterError(
          'E_LISTEN',
          `http ${formatAddress(address)}: ${(cause as NodeJS.ErrnoException).code ?? 'failed'}`,
          {
            cause,
            hint: 'another process may have the port: http.address',
          },
        ),
      )
    })
    server.listen('path' in address ? { path: address.path } : address, () => resolve())
  })
}
