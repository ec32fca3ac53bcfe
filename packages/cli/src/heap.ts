import { setFlagsFromString } from 'node:v8'

/**
 * Lets garbage pile up to three times what is in use before V8 collects all of it. Messages are buffers outside of
 * V8's heap, which is small: by its own measure it would mark the whole heap for every 8 MB of mail, and spend a
 * quarter of the processor time on that. The price is memory: twice what is in use.
 */
export function tuneHeap(): void {
  setFlagsFromString('--heap-growing-percent=200')
}
