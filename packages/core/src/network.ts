import { FilterError } from './errors.ts'

/**
 * Reads `192.0.2.0/24`, `2001:db8::/32`, or a single address, and gives it with its prefix length: `192.0.2.1`
 * becomes `192.0.2.1/32`.
 *
 * @throws FilterError E_CONFIG when the text is no network; the hint names the network that was probably meant
 *   when the address has bits set behind the prefix, as Postfix refuses it in mynetworks.
 */
export function parseNetwork(text: string): string {
  const [address = '', prefix, ...rest] = text.split('/')
  const bits = addressBits(address)
  if (bits === undefined || rest.length > 0) throw badNetwork(text)
  if (prefix === undefined) return `${address}/${bits.length}`
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits.length) throw badNetwork(text)
  const length = Number(prefix)
  if (bits.slice(length).includes('1')) {
    const base = formatBits(bits.slice(0, length).padEnd(bits.length, '0'))
    throw new FilterError('E_CONFIG', `expected a network without host bits`, {
      hint: `write ${base}/${length}`,
    })
  }
  return `${address}/${length}`
}

/** `4` or `6` and the bits of the prefix, for a network that {@link parseNetwork} takes; IPv4-mapped is `4`. */
export function networkKey(text: string): string {
  const [address = '', length] = parseNetwork(text).split('/')
  return prefixKey((addressBits(address) ?? '').slice(0, Number(length)), address.includes(':'))
}

/** The key of the network of one address; every network that holds it has a beginning of this. Absent: it is none. */
export function addressKey(text: string): string | undefined {
  const bits = addressBits(text)
  return bits === undefined ? undefined : prefixKey(bits, bits.length > 32)
}

/** RFC 4291 section 2.5.5.2. */
const MAPPED = `${'0'.repeat(80)}${'1'.repeat(16)}`

function prefixKey(bits: string, v6: boolean): string {
  if (!v6) return `4${bits}`
  return bits.startsWith(MAPPED) ? `4${bits.slice(MAPPED.length)}` : `6${bits}`
}

/** Whether the text is an IPv4 or IPv6 address, without brackets, prefix length or zone. */
export function isIpAddress(text: string): boolean {
  return addressBits(text) !== undefined
}

/** The 32 or 128 bits of an address as text of 0 and 1. Absent: it is none. */
function addressBits(text: string): string | undefined {
  return text.includes(':') ? bitsOfV6(text) : bitsOfV4(text)
}

function bitsOfV4(text: string): string | undefined {
  const parts = text.split('.')
  // A leading zero means octal to some readers and decimal to others: refused, as inet_pton does.
  const fits = parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)
  return parts.length === 4 && fits ? toBits(parts.map(Number), 8) : undefined
}

/** RFC 4291 section 2.2. */
function bitsOfV6(text: string): string | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head = [], tail = []] = halves.map((half, index) => groupsOfV6(half, index === halves.length - 1))
  if (head.includes(Number.NaN) || tail.includes(Number.NaN)) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  return toBits([...head, ...Array.from({ length: missing }, () => 0), ...tail], 16)
}

function groupsOfV6(half: string, last: boolean): number[] {
  if (half === '') return []
  const parts = half.split(':')
  return parts.flatMap((part, index) => {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const v4 = bitsOfV4(part)
      return v4 === undefined
        ? [Number.NaN]
        : [Number.parseInt(v4.slice(0, 16), 2), Number.parseInt(v4.slice(16), 2)]
    }
    return [/^[0-9A-Fa-f]{1,4}$/.test(part) ? Number.parseInt(part, 16) : Number.NaN]
  })
}

function toBits(groups: readonly number[], width: number): string {
  return groups.map((group) => group.toString(2).padStart(width, '0')).join('')
}

function formatBits(bits: string): string {
  if (bits.length === 32)
    return (bits.match(/.{8}/g) ?? []).map((group) => Number.parseInt(group, 2)).join('.')
  const groups = (bits.match(/.{16}/g) ?? []).map((group) => Number.parseInt(group, 2).toString(16))
  return groups.join(':').replace(/(?:^|:)0(?::0)+(?::|$)/, '::')
}

function badNetwork(text: string): FilterError {
  const hint = cureFor(text)
  return new FilterError('E_CONFIG', 'expected a network such as 192.0.2.0/24 or 2001:db8::/32', {
    ...(hint !== undefined && { hint }),
  })
}

/** Networks as people, Postfix (brackets, names) and older tools (netmasks, parts) write them. */
function cureFor(text: string): string | undefined {
  const [address = '', suffix = ''] = text.split('/')
  const brackets = /^\[([^[\]]*)\](\/\d+)?$/.exec(text)
  if (brackets) return `write ${brackets[1]}${brackets[2] ?? ''} without brackets`
  if (text.startsWith('!')) return 'there are no exceptions in this list'
  if (text.startsWith('file:')) return 'this list is not read from a file'
  const bits = addressBits(address)
  if (bits === undefined) return cureForNoAddress(text)
  if (suffix.includes('.')) return netmaskCure(address, suffix)
  return /^\d+$/.test(suffix) ? `its prefix length is at most ${bits.length}` : undefined
}

function cureForNoAddress(text: string): string | undefined {
  const parts = /^(\d{1,3}(?:\.\d{1,3}){0,2})(?:\.|\.\*|(?:\.\*){2,3})?$/.exec(text)?.[1]?.split('.')
  if (parts) return `write ${[...parts, '0', '0', '0'].slice(0, 4).join('.')}/${parts.length * 8}`
  if (/^[\da-f.:]+ *- *[\da-f.:]+$/i.test(text)) return 'a range is written as networks with prefix lengths'
  if (/^[a-z\d._-]+$/i.test(text) && /[a-z]/i.test(text))
    return 'write its addresses: names are not looked up'
  return undefined
}

function netmaskCure(address: string, mask: string): string {
  const length = /^(1*)0*$/.exec(bitsOfV4(mask) ?? 'x')?.[1]?.length
  return length === undefined || address.includes(':')
    ? 'write the netmask as a prefix length such as /24'
    : `write ${address}/${length}`
}
