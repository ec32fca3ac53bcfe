/**
 * For a pipeline: passes a message on and ends with its last byte. A file tells its end only when it is read once more,
 * and an engine that was told the length may have answered and gone until then.
 */
export function endAfter(sizeBytes: number): (source: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
  return async function* (source) {
    let rest = sizeBytes
    for await (const chunk of source) {
      yield chunk
      rest -= chunk.length
      if (rest <= 0) return
    }
  }
}
