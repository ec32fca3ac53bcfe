import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** The bytes that {@link sealed} adds. */
export const FRAME_BYTES = 50

const MAGIC = Buffer.from('E1')
const NAME_BYTES = 16
const MAC_START = MAGIC.length + NAME_BYTES

/** What was found under a key: the value, `foreign` – it belongs to another key – or `odd`, which is not ours, cut or forged. */
export type Unsealed = Buffer | 'foreign' | 'odd'

/**
 * A value that proves itself: mark, the first 16 bytes of the SHA-256 of its key, HMAC-SHA256 over key and value, value.
 *
 * @param secret absent: it protects from mix-ups, and not from who may write to Redis
 */
export function sealed(secret: string | undefined, key: string, value: Buffer): Buffer {
  return Buffer.concat([MAGIC, nameOf(key), macOf(secret, key, value), value])
}

/** The value in a frame that {@link sealed} has made for this key. */
export function unsealed(secret: string | undefined, key: string, frame: Buffer): Unsealed {
  if (frame.length < FRAME_BYTES || !frame.subarray(0, MAGIC.length).equals(MAGIC)) return 'odd'
  const value = frame.subarray(FRAME_BYTES)
  if (!frame.subarray(MAGIC.length, MAC_START).equals(nameOf(key))) return 'foreign'
  return timingSafeEqual(frame.subarray(MAC_START, FRAME_BYTES), macOf(secret, key, value)) ? value : 'odd'
}

function nameOf(key: string): Buffer {
  return createHash('sha256').update(key).digest().subarray(0, NAME_BYTES)
}

function macOf(secret: string | undefined, key: string, value: Buffer): Buffer {
  // The length keeps key and value apart.
  return createHmac('sha256', secret ?? '')
    .update(`${Buffer.byteLength(key)} ${key}`)
    .update(value)
    .digest()
}
