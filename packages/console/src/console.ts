import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { FilterError, type Address } from '@ecluse/core'
import { listen } from '@ecluse/mail'
import { Desk, type DeskParts, type Told } from './desk.ts'
import { PAGE_HEADERS, pageOf, type PageStyle } from './page.ts'
import { RefusalRate } from './refusalRate.ts'
import { readReleaseLink, type LinkMaker } from './releaseLink.ts'

/** What the console needs; nothing of it is closed with it. */
export interface ConsoleOptions extends DeskParts, PageStyle, LinkMaker {
  readonly address: Address
  /** At the end: how long what runs may go on. */
  readonly leaveMs: number
}

/** A running console. */
export interface Console {
  readonly address: Address
  /** Lets what runs come to its end, for `leaveMs` at most, and frees everything. */
  close(): Promise<void>
}

// A person has one message at a time; a proxy keeps some connections open.
const LIMITS = {
  maxHeaderSize: 16_384,
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 5000,
}
const MAX_CONNECTIONS = 100
const MAX_BODY = 4096
const REFUSALS_PER_MINUTE = 30
/** The proxy's user must be in our group. */
const SOCKET_MODE = 0o660
/** Of a path, and of a reason, in the log. */
const MAX_LOGGED = 120

/**
 * Serves `{url}/release/ID?to=ADDRESS&key=SECRET`: GET shows what is kept, and only POST releases it, for programs
 * follow links. Whatever else is asked for gets one and the same page.
 *
 * @throws FilterError E_LISTEN
 */
export async function openConsole(options: ConsoleOptions): Promise<Console> {
  const stopped = new AbortController()
  const desk = new Desk(options, stopped.signal)
  const rate = new RefusalRate(REFUSALS_PER_MINUTE)
  const running = new Set<Promise<void>>()
  const server = createServer(LIMITS, (request, response) => {
    const done = answer(request, response, { options, desk, rate })
      .catch(() => void response.destroy())
      .finally(() => running.delete(done))
    running.add(done)
  })
  server.maxConnections = MAX_CONNECTIONS
  const address = await listen(server, options.address, SOCKET_MODE)
  return {
    address,
    async close() {
      const timer = setTimeout(() => {
        stopped.abort()
        // A request whose body never comes would hold us up for ever: nobody looks at its time any more.
        server.closeAllConnections()
      }, options.leaveMs)
      await close(server, running)
      clearTimeout(timer)
    },
  }
}

async function close(server: Server, running: ReadonlySet<Promise<void>>): Promise<void> {
  const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
  server.closeIdleConnections()
  await Promise.all(running)
  server.closeAllConnections()
  await closed
}

interface Service {
  readonly options: ConsoleOptions
  readonly desk: Desk
  readonly rate: RefusalRate
}

async function answer(request: IncomingMessage, response: ServerResponse, service: Service): Promise<void> {
  const { options, desk } = service
  const { method = '', url = '' } = request
  if (!(await isSmall(request))) return refuse(request, response, { ...service, why: 'body too large' })
  const about = readReleaseLink(options, url)
  if (!about) return refuse(request, response, { ...service, why: 'no link of ours' })
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'POST': {
      const told: Told = method === 'POST' ? await desk.release(about) : await desk.look(about)
      if (told.what === 'unknown') return refuse(request, response, { ...service, why: told.why })
      const { status, html } = pageOf(options, told, about)
      return send(response, { status, html })
    }
    default:
      return refuse(request, response, { ...service, why: 'method' })
  }
}

/** Which of many things was wrong stays with us: the secret, the message, the method, the size. */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { options, rate, why }: Service & { readonly why: string },
): void {
  const { within, left } = rate.refuse(performance.now())
  if (left > 0) options.log.warn({ count: left }, 'console: more requests refused')
  if (within) {
    const { method, url = '', socket } = request
    // Without the query: a secret that is right for something may stand in it.
    const [path = ''] = url.split('?', 1)
    const fields = {
      method,
      path: path.slice(0, MAX_LOGGED),
      why: why.slice(0, MAX_LOGGED),
      peer: socket.remoteAddress,
    }
    options.log.warn(fields, 'console: request refused')
  }
  const { html } = pageOf(options, { what: 'unknown', why })
  response.setHeader('connection', 'close')
  send(response, { status: within ? 404 : 429, html })
}

function send(
  response: ServerResponse,
  { status, html }: { readonly status: number; readonly html: string },
): void {
  response.writeHead(status, { ...PAGE_HEADERS, 'content-length': Buffer.byteLength(html) })
  response.end(html)
}

/** Whether all of the body has come, which says nothing. What is too much is left unread. */
async function isSmall(request: IncomingMessage): Promise<boolean> {
  let sizeBytes = 0
  return await new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.length
      if (sizeBytes <= MAX_BODY) return
      request.pause()
      resolve(false)
    })
    request.once('end', () => resolve(true))
    request.once('error', reject)
    request.once('close', () => reject(new FilterError('E_ABORTED', 'the client is gone')))
  })
}
