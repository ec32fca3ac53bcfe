import { connect, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { failpoint, type Address, type Message } from '@ecluse/core'

/** What is asked on a connection of its own, and how much may come back. */
export interface Question {
  readonly address: Address
  /** Sent first. */
  readonly head: Buffer
  /** Sent after it; absent: nothing more. */
  readonly message?: Pick<Message, 'bytes' | 'open'>
  readonly maxReplyBytes: number
}

/**
 * Sends the question, closes the sending side, and gives all that comes back until the other side closes. The socket
 * is gone when this settles. Rejects with the socket's error, or a plain Error when the reply is too long, came before
 * the question was sent, or `signal` aborted.
 */
export async function exchange(question: Question, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted()
  const socket = connect(question.address)
  socket.setNoDelay(true)
  const abort = (): void => void socket.destroy(new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    const [reply] = await Promise.all([readAll(socket, question.maxReplyBytes), send(socket, question)])
    return reply
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
    await pipeline(message.open(), socket)
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
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new Error(`reply of more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  if (!socket.writableFinished && socket.writableLength > 0)
    throw new Error('reply before the end of the question')
  return Buffer.concat(chunks)
}
