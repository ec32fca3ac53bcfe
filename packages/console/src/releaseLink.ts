import { isReleaseSecret, releaseSecret, type Releasable } from '@ecluse/quarantine'

/** Where links lead, and what makes them. */
export interface LinkMaker {
  /** `console.url`: where people reach the console. */
  readonly url: string
  /** `quarantine.secret`. */
  readonly secret: string
}

/** Of the path with its query; an address of 254 bytes is at most three times as long in it. */
const MAX_TARGET = 2048

/**
 * The link that lets a recipient release a message, all of it ASCII; absent: the address has bytes that are no
 * characters, and cannot stand in a URL (RFC 3986).
 */
export function releaseLink({ url, secret }: LinkMaker, about: Releasable): string | undefined {
  const { id, recipient } = about
  if (/\p{Cs}/u.test(recipient)) return undefined
  // Programs that look for links in plain text end one at some of these.
  const to = encodeURIComponent(recipient).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `${url}/release/${id}?to=${to}&key=${releaseSecret(secret, about)}`
}

/**
 * What a link is about, when its secret is right; absent: it is none of ours, in whatever way.
 *
 * @param target path and query of the request, as long as may be; the path with or without that of `url`, for a proxy may
 * cut it off
 */
export function readReleaseLink({ url, secret }: LinkMaker, target: string): Releasable | undefined {
  if (target.length > MAX_TARGET) return undefined
  const [path = '', query = '', ...more] = target.split('?')
  const base = new URL(url).pathname.replace(/\/$/, '')
  const own = path.startsWith(`${base}/`) ? path.slice(base.length) : path
  const id = /^\/release\/([A-Za-z0-9_-]{12})$/.exec(own)?.[1]
  if (id === undefined || more.length > 0) return undefined
  const given = new URLSearchParams(query)
  const [recipient, secondTo] = given.getAll('to')
  const [key, secondKey] = given.getAll('key')
  if (recipient === undefined || key === undefined || secondTo !== undefined || secondKey !== undefined) {
    return undefined
  }
  const about = { id, recipient }
  return isReleaseSecret(secret, key, about) ? about : undefined
}
