const FIRST_SLOTS = 256
/** Of four slots three may be taken: more makes the way to a free one long. */
const MAX_LOAD = 0.75

/**
 * Where in one file the records of each key begin: a hash table in typed arrays, 8 bytes for each slot, nothing for the
 * garbage collector to look at. It holds 32 bits of each key only: of a million records about one lookup in 4,000 gives a
 * place too many, and whoever reads the record there sees that its key is another.
 */
export class PlaceTable {
  /** In turns: bits of a key, and the place + 1; 0: the slot is free. */
  #slots = new Uint32Array(2 * FIRST_SLOTS)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** @param place below 2³² - 1 */
  add(key: string, place: number): void {
    if (this.#count + 1 > (this.#slots.length / 2) * MAX_LOAD) this.#grow()
    this.#put(tagOf(key), place + 1)
    this.#count++
  }

  /** The places of that key and, seldom, of another; in ascending order. */
  find(key: string): number[] {
    const tag = tagOf(key)
    const slots = this.#slots
    const mask = slots.length / 2 - 1
    const places: number[] = []
    for (let slot = tag & mask; ; slot = (slot + 1) & mask) {
      const stored = slots[2 * slot + 1] as number
      if (stored === 0) return places.sort((a, b) => a - b)
      if (slots[2 * slot] === tag) places.push(stored - 1)
    }
  }

  #put(tag: number, stored: number): void {
    const slots = this.#slots
    const mask = slots.length / 2 - 1
    let slot = tag & mask
    while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & mask
    slots[2 * slot] = tag
    slots[2 * slot + 1] = stored
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Uint32Array(2 * old.length)
    for (let at = 0; at < old.length; at += 2) {
      const stored = old[at + 1] as number
      if (stored !== 0) this.#put(old[at] as number, stored)
    }
  }
}

/** Keys are hex digits of a hash: any bits of theirs are as good as those of a hash of our own. */
function tagOf(key: string): number {
  return Number.parseInt(key.slice(0, 8), 16) >>> 0
}
