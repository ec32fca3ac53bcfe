/*
 * rspamd's normal or proxy worker: POST /checkv2 over HTTP. Connections are kept where the other side keeps them
 * (rspamd's own normal worker closes after each answer, a proxy in front may not).
 */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { pipeline } from 'node:stream/promises'
import {
  parseAddress,
  printable,
  scannerKind,
  secret,
  section,
  text,
  type LearnedClass,
  type Message,
  type Recipient,
  type ScanRequest,
} from '@ecluse/core'
import { envelopeText } from './envelopeText.ts'
import { abortFailure, codeOf, protocolError, scannerFailure } from './failure.ts'
import { endAfter } from './lastByte.ts'
import { readLearnReply, readRspamdReply } from './rspamdReply.ts'

const MAX_REPLY_BYTES = 1024 * 1024
/** One field for each: rspamd counts them, and may know settings for one. */
const MAX_RECIPIENTS = 1000
/**
 * Their fields together. Above 80 KiB of header rspamd refuses the question, and whoever names many long addresses would
 * not be looked at where `onError` is pass; sender and client have some 10 KiB at most.
 */
const MAX_RECIPIENTS_BYTES = 48 * 1024

/** rspamd. Its default address. */
export const rspamd = scannerKind({
  kind: 'rspamd',
  description: 'rspamd: spam points, over HTTP',
  concerns: ['spam'],
  proves: true,
  // But for the id that Postfix has for the message: it is for rspamd's log.
  verdictInputs: ['content', 'client', 'sender', 'recipients', 'hostname'],
  options: section('Options of kind rspamd.', {
    url: text('The worker: http://HOST:PORT, https://HOST:PORT or unix:PATH.')
      .refine(isTarget, { error: 'expected http://HOST:PORT, https://HOST:PORT or unix:PATH' })
      .prefault('http://127.0.0.1:11333'),
    password: secret('For a worker that wants one; absent: none is sent.').exactOptional(),
    controller: text('The controller worker, which learns; absent: it learns nothing.')
      .refine(isTarget, { error: 'expected http://HOST:PORT, https://HOST:PORT or unix:PATH' })
      .exactOptional(),
    settingsId: text('The settings of rspamd that apply; absent: those it chooses itself.', {
      max: 200,
    }).exactOptional(),
  }),
  defaults: { timeout: '30s', onError: 'pass' },
  create(name, { url, password, controller, settingsId }) {
    const where = `${name}: ${url}`
    const target = openTarget(url)
    const teacher = controller === undefined ? undefined : openTarget(controller)
    const fixed: Record<string, string> = {
      ...(password !== undefined && { Password: envelopeText(password) }),
      ...(settingsId !== undefined && { 'Settings-ID': envelopeText(settingsId) }),
    }
    const ask = async (question: HttpQuestion, signal: AbortSignal, to = target): Promise<HttpAnswer> => {
      if (signal.aborted) throw abortFailure(where, signal)
      try {
        return await askTwice(to, question, signal)
      } catch (cause) {
        throw scannerFailure(where, cause, signal)
      }
    }
    return {
      async scan(request, signal) {
        const headers = { ...fixed, ...envelopeHeaders(request) }
        const { body } = await ask(
          { method: 'POST', path: '/checkv2', headers, message: request.message },
          signal,
        )
        return readRspamdReply(body, request.envelope.mailFrom)
      },
      async version(signal) {
        const { server } = await ask({ method: 'GET', path: '/ping', headers: fixed }, signal)
        const version = /^rspamd\/([\w.-]{1,40})$/.exec(server)?.[1]
        return { engine: version === undefined ? 'rspamd' : `rspamd ${version}` }
      },
      ...(teacher && {
        async learn(message: Message, as: LearnedClass, signal: AbortSignal) {
          const question = {
            method: 'POST',
            path: `/learn${as}`,
            headers: fixed,
            message,
            told: true,
          } as const
          return readLearnReply(await ask(question, signal, teacher))
        },
      }),
      async close() {
        target.agent.destroy()
        teacher?.agent.destroy()
      },
    }
  },
})

interface Target {
  readonly agent: HttpAgent
  open(question: HttpQuestion, signal: AbortSignal): ClientRequest
}

interface HttpQuestion {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly message?: Message
  /** Whether an answer that is none of 200 is one too. */
  readonly told?: boolean
}

interface HttpAnswer {
  readonly status: number
  /** The Server field; '' where there is none. */
  readonly server: string
  readonly body: string
}

function isTarget(url: string): boolean {
  try {
    if (url.startsWith('unix:')) return 'path' in parseAddress(url)
    const { protocol, pathname, username, search } = new URL(url)
    return /^https?:$/.test(protocol) && pathname === '/' && username === '' && search === ''
  } catch {
    // parseAddress and URL throw at what is neither.
    return false
  }
}

function openTarget(url: string): Target {
  // scheduling lifo lets idle connections grow old and go away.
  const keep = { keepAlive: true, noDelay: true, scheduling: 'lifo' } as const
  if (url.startsWith('https:')) {
    const agent = new HttpsAgent(keep)
    return { agent, open: (question, signal) => httpsRequest(url, requestOptions(question, agent, signal)) }
  }
  const agent = new HttpAgent(keep)
  if (url.startsWith('unix:')) {
    const socketPath = url.slice(5)
    return {
      agent,
      open: (question, signal) => httpRequest({ socketPath, ...requestOptions(question, agent, signal) }),
    }
  }
  return { agent, open: (question, signal) => httpRequest(url, requestOptions(question, agent, signal)) }
}

function requestOptions(
  { method, path, headers, message }: HttpQuestion,
  agent: HttpAgent,
  signal: AbortSignal,
) {
  const length = message && { 'Content-Length': message.sizeBytes }
  return { agent, signal, method, path, headers: { ...headers, ...length } }
}

/** The envelope in rspamd's fields. What is unknown is left out. */
function envelopeHeaders({ envelope, hostname, message }: ScanRequest): Record<string, string | string[]> {
  const { client, mailFrom, recipients } = envelope
  const known: Record<string, string | undefined> = {
    IP: client.address,
    Helo: client.helo,
    Hostname: client.name,
    'Queue-Id': client.queueId ?? message.id,
    'MTA-Name': hostname,
  }
  const headers: Record<string, string | string[]> = {
    From: mailFrom === '' ? '<>' : envelopeText(mailFrom),
    Rcpt: recipientFields(recipients),
  }
  for (const [name, value] of Object.entries(known)) {
    if (value !== undefined) headers[name] = envelopeText(value)
  }
  return headers
}

/** As many of the first ones as there is room for. */
function recipientFields(recipients: readonly Recipient[]): string[] {
  const fields: string[] = []
  let sizeBytes = 0
  for (const { address } of recipients.slice(0, MAX_RECIPIENTS)) {
    const field = envelopeText(address)
    sizeBytes += 'Rcpt: \r\n'.length + field.length
    if (sizeBytes > MAX_RECIPIENTS_BYTES) break
    fields.push(field)
  }
  return fields
}

/** A kept connection may have been closed meanwhile, which shows only when it is used: then a new one, once. */
async function askTwice(target: Target, question: HttpQuestion, signal: AbortSignal): Promise<HttpAnswer> {
  const first = target.open(question, signal)
  let answered = false
  first.once('response', () => {
    answered = true
  })
  try {
    return await askOnce(first, question)
  } catch (cause) {
    const stale = first.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(String(codeOf(cause)))
    if (!stale || answered || signal.aborted) throw cause
    return await askOnce(target.open(question, signal), question)
  }
}

async function askOnce(request: ClientRequest, { message, told }: HttpQuestion): Promise<HttpAnswer> {
  try {
    const [answer] = await Promise.all([readAnswer(request, told), send(request, message)])
    return answer
  } catch (cause) {
    request.destroy()
    throw cause
  }
}

async function send(request: ClientRequest, message: Message | undefined): Promise<void> {
  if (message && !message.bytes) await pipeline(message.open(), endAfter(message.sizeBytes), request)
  else request.end(message?.bytes)
}

async function readAnswer(request: ClientRequest, told = false): Promise<HttpAnswer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    // Stays: destroying the request may tell of the same error once more.
    request.on('error', reject)
    request.once('response', resolve)
  })
  const { statusCode: status = 0 } = response
  if (status !== 200 && !told) {
    throw protocolError(`rspamd: ${status} ${printable(response.statusMessage ?? '')}`)
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_REPLY_BYTES) throw protocolError(`rspamd: reply of more than ${MAX_REPLY_BYTES} bytes`)
    chunks.push(chunk)
  }
  if (!request.writableFinished) throw protocolError('rspamd: reply before the end of the message')
  return { status, server: String(response.headers['server'] ?? ''), body: Buffer.concat(chunks).toString() }
}
