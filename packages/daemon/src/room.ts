/** The bytes of all messages that are in files, and who may add to them. */
export class SpoolRoom {
  readonly #limit: () => number
  #bytes = 0

  /** @param limit asked each time: it may change */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  get bytes(): number {
    return this.#bytes
  }

  /** One message fits always: one above the limit would never come in. */
  fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#limit()
  }

  /** A part for one message. */
  rent(): SpoolRent {
    return new SpoolRent(this, (bytes) => {
      this.#bytes += bytes
    })
  }
}

/** What one message has of the room. */
export class SpoolRent {
  readonly #room: SpoolRoom
  readonly #add: (bytes: number) => void
  #bytes = 0

  constructor(room: SpoolRoom, add: (bytes: number) => void) {
    this.#room = room
    this.#add = add
  }

  /** Has at least so much from here on; false: there is no room, and it has what it had. */
  reach(bytes: number): boolean {
    const more = bytes - this.#bytes
    if (more <= 0) return true
    const alone = this.#room.bytes === this.#bytes
    if (!alone && !this.#room.fits(more)) return false
    this.#resize(bytes)
    return true
  }

  /** Has exactly so much from here on, which is not more than before. */
  shrink(bytes: number): void {
    if (bytes < this.#bytes) this.#resize(bytes)
  }

  #resize(bytes: number): void {
    this.#add(bytes - this.#bytes)
    this.#bytes = bytes
  }
}
