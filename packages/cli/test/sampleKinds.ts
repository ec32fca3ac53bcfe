import { address, CLEAN, choice, scannerKind, secret, section, text, type Scanner } from '@ecluse/core'

const scanner: Scanner = {
  scan: async () => CLEAN,
  version: async () => ({ engine: 'sample' }),
}

/** Kinds with the options that real ones have. */
export const SAMPLE_KINDS = [
  scannerKind({
    kind: 'clamd',
    description: 'ClamAV by its daemon.',
    concerns: ['virus'],
    options: section('Options of clamd.', {
      address: address('Where clamd listens.').prefault('unix:/run/clamav/clamd.ctl'),
    }),
    create: () => scanner,
  }),
  scannerKind({
    kind: 'spamd',
    description: 'SpamAssassin by its daemon.',
    concerns: ['spam'],
    verdictInputs: ['content', 'recipients'],
    proves: true,
    defaults: { timeout: '30s', onError: 'pass' },
    options: section('Options of spamd.', {
      address: address('Where spamd listens.').prefault('127.0.0.1:783'),
    }),
    create: () => scanner,
  }),
  scannerKind({
    kind: 'rspamd',
    description: 'Rspamd over HTTP.',
    concerns: ['spam'],
    proves: true,
    defaults: { timeout: '30s', onError: 'pass' },
    options: section('Options of rspamd.', {
      url: text('Where rspamd listens.').prefault('http://127.0.0.1:11333'),
      password: secret('Its password.').exactOptional(),
      flavour: choice('How it answers.', ['mild', 'hot']).prefault('mild'),
    }),
    create: () => scanner,
  }),
  scannerKind({
    kind: 'test',
    description: 'Finds EICAR, GTUBE and ECLUSE-TEST-SCORE.',
    concerns: ['virus', 'spam'],
    options: section('Options of test.', {}),
    create: () => scanner,
  }),
]
