const BLOCK_BYTES = 1024 * 1024

/** Where bytes are held. */
export interface HeldPlace {
  readonly block: Buffer
  readonly at: number
  readonly length: number
}

/**
 * Holds many small pieces outside of the heap: a hundred thousand strings there keep the garbage collector busy for longer
 * than everything else takes. None of them can be given back but all together.
 */
export class HeldBytes {
  #block: Buffer = Buffer.alloc(0)
  #end = 0

  /** Copies them. */
  hold(bytes: Buffer): HeldPlace {
    const { length } = bytes
    if (length > this.#block.length - this.#end) {
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, length))
      this.#end = 0
    }
    const at = this.#end
    bytes.copy(this.#block, at)
    this.#end += length
    return { block: this.#block, at, length }
  }

  /** What is held there. */
  read({ block, at, length }: HeldPlace): Buffer {
    return block.subarray(at, at + length)
  }
}
