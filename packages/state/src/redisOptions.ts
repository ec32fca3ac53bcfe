import type { Address } from '@ecluse/core'

/** A host and its TCP port. */
export type HostPort = Extract<Address, { readonly host: string }>

/** Where Redis, or Valkey, is. */
export type RedisPlace =
  | { readonly kind: 'standalone'; readonly address: Address }
  /** `name` is that of the master in the configuration of the Sentinels. At least one. */
  | { readonly kind: 'sentinel'; readonly sentinels: readonly HostPort[]; readonly name: string }
  /** Some of its nodes, at least one: they tell the others. */
  | { readonly kind: 'cluster'; readonly nodes: readonly HostPort[] }

/** How Redis is spoken to. */
export interface RedisOptions {
  readonly place: RedisPlace
  /** An ACL user; absent: `default`. */
  readonly username?: string
  readonly password?: string
  /** Absent: 0. Not with a Cluster, which has one alone. */
  readonly database?: number
  /** Absent: no TLS. With Sentinels for these too. */
  readonly tls?: {
    /** PEM; absent: the system's authorities. */
    readonly ca?: Buffer
    /** The name in its certificate; absent: the host of the address. */
    readonly servername?: string
  }
  /** Begins every key: for all instances that share. */
  readonly prefix: string
  /** Key of the HMAC over what is stored; absent: whoever may write to Redis may forge it. */
  readonly secret?: string
  /** For the answer to one question, in milliseconds. */
  readonly timeoutMs: number
}
