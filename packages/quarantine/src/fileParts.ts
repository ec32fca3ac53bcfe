import type { Catalogue } from './catalogue.ts'
import type { Folders } from './folders.ts'
import type { Packing } from './packing.ts'

/** What the parts of a file store work with. */
export interface FileStoreParts {
  readonly directory: string
  readonly folders: Folders
  readonly catalogue: Catalogue
  /** Of new messages. */
  readonly packing: Packing
}
