/** clamdjs with patches/clamdjs@1.0.2.patch: what clamd.ts uses of it. */
declare module 'clamdjs' {
  import type { Readable } from 'node:stream'

  interface ClamdOptions {
    readonly signal: AbortSignal
  }
  type ClamdAddress = { readonly path: string } | { readonly host: string; readonly port: number }

  interface ClamdScanner {
    /** All the bytes of the reply, after clamd has closed. A rejection has what was read as `reply`. */
    scanStream(stream: Readable, options: ClamdOptions): Promise<string>
    scanBuffer(bytes: Buffer, options: ClamdOptions): Promise<string>
  }

  export function createScanner(address: ClamdAddress): ClamdScanner
  export function version(address: ClamdAddress, port: undefined, options: ClamdOptions): Promise<string>
}
