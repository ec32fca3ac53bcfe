import { connect, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { failpoint, type Address, type Message } from '@ecluse/core'
import { endAfter } from './lastByte.ts'

/** What is asked on a connection of its own, and how much may come back. */
export interface Question {
  readonly address: Address
  /** Sent first. */
  readonly head: Buffer
  /** Sent after it; absent: nothing more. */
  readonly message?: Pick<Message, 'bytes' | 'sizeBytes' | 'open'>
  readonly maxReplyBytes: number
}

/**
 * Sends the question, closes the sending side, and gives all that comes back until the other side closes. The socket
 * is gone when this settles. An answer counts when every byte of the question was written before its end: an engine
 * that knows the length answers and closes without waiting for our end. Rejects with the socket's error, or a plain
 * Error when the reply is too long, came before the question was sent, or `signal` aborted.
 */
export async function exchange(question: Question, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted()
  // Half-open: the engine's end must not end what we still write.
  const socket = connect({ ...question.address, allowHalfOpen: true })
  socket.setNoDelay(true)
  // Told by `errored` below; one that comes after the answer is nobody's affair.
  socket.on('error', () => undefined)
  const abort = (): void => void socket.destroy(new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    const [reply] = await Promise.all([readAll(socket, question.maxReplyBytes), send(socket, question)])
    return reply
  } catch (error) {
    // Whoever writes may hear of it first, and only that the socket is gone.
    throw socket.errored ?? error
  } finally {
    signal.removeEventListener('abort', abort)
    socket.destroy()
  }
}

async function send(socket: Socket, { head, message }: Question): Promise<void> {
  // Only a scan: what asks for the version brings no message.
  if (message) failpoint('K7-scanner-connecting')
  if (message && !message.bytes) {
    socket.write(head)
    await pipeline(message.open(), endAfter(message.sizeBytes), socket)
    return
  }
  socket.cork()
  socket.write(head)
  if (message?.bytes) socket.write(message.bytes)
  socket.end()
  socket.uncork()
}

async function readAll(socket: Socket, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  // Not destroyed with the last byte of the answer: our own end may still be on its way.
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new Error(`reply of more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  if (!socket.writableEnded || socket.writableLength > 0) {
    throw new Error('reply before the end of the question')
  }
  return Buffer.concat(chunks)
}
