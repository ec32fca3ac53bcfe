import { chmod, lstat, unlink } from 'node:fs/promises'
import { BlockList, connect, isIP, type Server } from 'node:net'
import { FilterError, formatAddress, type Address } from '@ecluse/core'

const HINTS: ReadonlyMap<string, string> = new Map([
  ['EADDRINUSE', 'another process listens there'],
  ['EADDRNOTAVAIL', 'this machine does not have that address'],
  ['EACCES', 'no permission; ports below 1024 need a privilege, a socket write access to its folder'],
  ['ENOENT', 'the folder does not exist'],
  ['ENOTDIR', 'the folder does not exist'],
  ['ENOTFOUND', 'the host name is not known'],
])

/** Node's 511 overflows when a thousand clients come at once, and those left out try again a second later. */
const BACKLOG = 4096

/**
 * Makes the server listen and gives the address with the port filled in. The file of a Unix socket that nobody answers
 * on any more is replaced; `mode` is set on it before the promise is fulfilled.
 *
 * @throws FilterError E_LISTEN with a hint.
 */
export async function listen(server: Server, address: Address, mode?: number): Promise<Address> {
  try {
    if (!('path' in address)) {
      await listening(server, address)
      const bound = server.address()
      return { host: address.host, port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 }
    }
    await removeStale(address.path)
    await listening(server, { path: address.path })
    if (mode !== undefined) await chmod(address.path, mode)
    return address
  } catch (cause) {
    server.close()
    const hint = HINTS.get(codeOf(cause))
    const what = `${formatAddress(address)}: cannot listen`
    throw new FilterError('E_LISTEN', what, { cause, ...(hint !== undefined && { hint }) })
  }
}

/** Answers that a test remembers: each question makes a native object, and the same few clients come all the time. */
const KNOWN_ADDRESSES = 1000

/**
 * A test for IP addresses: whether one is in any of these networks (CIDR, or a single address).
 *
 * @throws FilterError E_CONFIG when one of them is not a network.
 */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix, ...more] = network.split('/')
    const family = isIP(address)
    const bits = Number(prefix ?? (family === 6 ? 128 : 32))
    const valid = family !== 0 && more.length === 0 && /^\d{0,3}$/.test(prefix ?? '') && prefix !== ''
    if (!valid || bits > (family === 6 ? 128 : 32)) {
      throw new FilterError('E_CONFIG', `${JSON.stringify(network)}: expected a network such as 127.0.0.0/8`)
    }
    list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4')
  }
  const known = new Map<string, boolean>()
  return (address) => {
    const before = known.get(address)
    if (before !== undefined) return before
    const inside = isInside(list, address)
    // Whoever comes from ever new addresses must not fill our memory.
    if (known.size >= KNOWN_ADDRESSES) known.clear()
    known.set(address, inside)
    return inside
  }
}

function isInside(list: BlockList, address: string): boolean {
  // A zone, as in fe80::1%eth0, says nothing about the network, and BlockList refuses it.
  const [ip = ''] = address.split('%')
  const family = isIP(ip)
  return family !== 0 && list.check(ip, family === 6 ? 'ipv6' : 'ipv4')
}

async function listening(
  server: Server,
  where: { path: string } | { host: string; port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...where, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Only a socket is removed, and only when connecting to it is refused: then no process has it open. */
async function removeStale(path: string): Promise<void> {
  let stats
  try {
    stats = await lstat(path)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return
    throw cause
  }
  if (stats.isSocket() && (await isRefused(path))) await unlink(path)
}

async function isRefused(path: string): Promise<boolean> {
  return await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (cause) => resolve(codeOf(cause) === 'ECONNREFUSED'))
  })
}

function codeOf(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
}
