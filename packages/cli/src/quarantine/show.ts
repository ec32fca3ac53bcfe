import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describeMessage, DISPLAY_LIMITS } from '@ecluse/mail'
import { print, type Task } from './task.ts'
import { attachmentsText, showJson, showText } from './text.ts'

const HEADER_BYTES = 64 * 1024

/** `show`: one message, for people or for scripts. */
export async function show({ setup, context, options, id }: Task): Promise<number> {
  const { stdout, signal } = context
  const message = await setup.store.open(id)
  if (options.raw) {
    await pipeline(message.open(), stdout, { end: false })
    return 0
  }
  const displayed = await describeMessage(message.open(), DISPLAY_LIMITS, signal)
  if (options.attachments && !options.json) {
    await print(stdout, attachmentsText(displayed))
    return 0
  }
  const header = await readHeader(message.open())
  const shown = { entry: message.entry, header, displayed }
  await print(stdout, options.json ? showJson(shown) : showText(shown))
  return 0
}

/** As latin1 or, where it is, UTF-8 (RFC 6532). */
async function readHeader(source: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of source as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= HEADER_BYTES) break
  }
  const bytes = Buffer.concat(chunks).subarray(0, HEADER_BYTES)
  const end = bytes.indexOf('\r\n\r\n')
  const header = end === -1 ? bytes : bytes.subarray(0, bytes.indexOf('\r\n') === 0 ? 0 : end + 2)
  const text = header.toString('utf8')
  return text.includes('\ufffd') ? header.toString('latin1') : text
}
