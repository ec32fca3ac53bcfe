import type { Duplex } from 'node:stream'
import * as zlib from 'node:zlib'

/** How files are packed; what stands in the configuration. */
export const PACKINGS = ['none', 'gzip', 'zstd'] as const
export type Packing = (typeof PACKINGS)[number]

/** What the name of a message's file ends in. */
export const ENDINGS: Readonly<Record<Packing, string>> = { none: '.eml', gzip: '.eml.gz', zstd: '.eml.zst' }

/** Node.js has zstd since 22.15. */
interface MaybeZstd {
  createZstdCompress?(): Duplex
  createZstdDecompress?(): Duplex
}

/** Whether this Node.js can pack so. */
export function canPack(packing: Packing): boolean {
  return packing !== 'zstd' || (zlib as MaybeZstd).createZstdCompress !== undefined
}

/** A stream that packs; absent: the bytes stay as they are. */
export function packer(packing: Packing): Duplex | undefined {
  switch (packing) {
    case 'none':
      return undefined
    case 'gzip':
      return zlib.createGzip()
    case 'zstd':
      return known((zlib as MaybeZstd).createZstdCompress?.())
  }
}

/** The way back. It fails at the end of a file that was cut off. */
export function unpacker(packing: Packing): Duplex | undefined {
  switch (packing) {
    case 'none':
      return undefined
    case 'gzip':
      return zlib.createGunzip()
    case 'zstd':
      return known((zlib as MaybeZstd).createZstdDecompress?.())
  }
}

function known(stream: Duplex | undefined): Duplex {
  if (stream === undefined) throw new TypeError('zstd: this Node.js has none')
  return stream
}
