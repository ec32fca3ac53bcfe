// What filters compare is kept as bytes: a text column knows neither NUL nor the lone surrogates that stand for raw
// bytes of the dialogue, and the collation of a database is not ours to choose.

const SURROGATE = /[\ud800-\udfff]/

/** How much of a key an index holds: an entry of an index has its limit, and a hostile address none. */
export const INDEXED_BYTES = 200

/**
 * Every text as bytes of its own: UTF-8, but each surrogate by itself (CESU-8). So one text stands in another exactly
 * where its bytes stand in the other's.
 */
export function keyOf(text: string): Buffer {
  if (!SURROGATE.test(text)) return Buffer.from(text, 'utf8')
  const bytes: number[] = []
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) bytes.push(unit)
    else if (unit < 0x800) bytes.push(0xc0 | (unit >> 6), 0x80 | (unit & 0x3f))
    else bytes.push(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f))
  }
  return Buffer.from(bytes)
}

/** A subject as it is searched; '' for none. */
export function subjectKey(subject = ''): Buffer {
  return keyOf(subject.toLowerCase())
}

/** An address as it is compared. */
export interface AddressKeys {
  readonly address: Buffer
  /** From its end to its beginning: all domains below another one begin with the same bytes. */
  readonly domain: Buffer
}

/** The keys of an address; without an at sign, all of it is the domain, as in `fitsText`. */
export function addressKeys(address: string): AddressKeys {
  const lower = address.toLowerCase()
  return { address: keyOf(lower), domain: domainKey(lower.slice(lower.lastIndexOf('@') + 1)) }
}

/** Of a domain in lower case. */
export function domainKey(domain: string): Buffer {
  // By units, not by characters: a lone surrogate is one too.
  return keyOf(domain.split('').toReversed().join(''))
}
