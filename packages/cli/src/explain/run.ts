import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FilterError, type Config, type ConfiguredScanner } from '@ecluse/core'
import { judge, type Judgement } from '@ecluse/daemon'
import { createSpool } from '@ecluse/mail'
import type { LoadedConfig } from '../loadConfig.ts'
import { configuredScanners } from '../wiring.ts'
import { envelopeFor, type ExplainedEnvelope } from './envelope.ts'
import { explainJudgement } from './explain.ts'
import type { Explanation } from './explanation.ts'
import { readMessageFile, type FileMessage } from './messageFile.ts'
import type { ExplainRequest } from './request.ts'

/**
 * Runs a message through scanners and policy as the daemon would, up to the copies that it would hand over. Nothing is
 * delivered, kept or logged; what was written to a temporary folder is gone when it settles.
 *
 * @param signal ends it
 * @throws FilterError E_USAGE for a file that cannot be read, or an envelope that nobody can know; E_SPOOL; E_ABORTED
 */
export async function explainMessage(
  request: ExplainRequest,
  loaded: LoadedConfig,
  signal: AbortSignal,
): Promise<Explanation> {
  const { config } = loaded
  const directory = await mkdtemp(join(tmpdir(), 'ecluse-explain-'))
  try {
    const writer = createSpool({
      directory,
      memoryBytes: config.spool.memoryBytes,
      wantsContent: () => true,
    }).create()
    const limits = { writer, limitBytes: config.limits.messageSize }
    const from = await readMessageFile(request.file, limits, signal)
    try {
      return await explainSpooled(request, { loaded, from }, signal)
    } finally {
      await from.message.discard()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function explainSpooled(
  request: ExplainRequest,
  { loaded, from }: { readonly loaded: LoadedConfig; readonly from: FileMessage },
  signal: AbortSignal,
): Promise<Explanation> {
  const { config } = loaded
  const told = envelopeFor(request, from, config)
  const configured = configuredScanners(config)
  const scanners = request.scanners === 'none' ? [] : configured
  try {
    const { judgement, late } = await judgeInTime({ loaded, from, told, scanners }, signal)
    if (signal.aborted) throw new FilterError('E_ABORTED', 'interrupted', { cause: signal.reason })
    return await explainJudgement({ request, loaded, from, told, configured, scanners, judgement, late })
  } finally {
    // One that cannot be closed changes nothing about what was found.
    await Promise.allSettled(configured.map(async ({ scanner }) => await scanner.close?.()))
  }
}

interface Trial {
  readonly loaded: LoadedConfig
  readonly from: FileMessage
  readonly told: ExplainedEnvelope
  readonly scanners: readonly ConfiguredScanner[]
}

/** Within the deadline that the daemon gives a message. */
async function judgeInTime(
  { loaded: { config, rules }, from, told, scanners }: Trial,
  signal: AbortSignal,
): Promise<{ readonly judgement: Judgement; readonly late: boolean }> {
  const { hostname, alertHeader, limits }: Config = config
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(new FilterError('E_ABORTED', `no result in ${limits.deadline} ms`))
  }, limits.deadline)
  try {
    const judgement = await judge(
      { hostname, alertHeader, scanners, rules },
      {
        envelope: told.envelope,
        message: from.message,
        receivedAt: from.entry?.storedAt ?? new Date(),
      },
      AbortSignal.any([signal, controller.signal]),
    )
    return { judgement, late: controller.signal.aborted }
  } finally {
    clearTimeout(timer)
  }
}
