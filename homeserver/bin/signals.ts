import process from 'node:process'
import type { Logger } from '../platform/log.ts'

/** After the drain, what is left may take this long before the process ends anyway. */
export const graceMs = 2_500

/**
 * Stops in order at the first of the signals: calls `stop`, then ends the process; with status 1 when it takes longer
 * than `drainMs` and some grace, or at a second signal. Answers a function that does the same.
 */
export function stopOnSignal(
  signals: readonly NodeJS.Signals[],
  drainMs: number,
  log: Logger,
  stop: () => Promise<void>,
): () => void {
  let stopping = false
  const begin = () => {
    if (stopping) return process.exit(1)
    stopping = true
    setTimeout(() => {
      log.error({ drainMs }, 'stopping took too long')
      process.exit(1)
    }, drainMs + graceMs).unref()
    log.info({}, 'stopping')
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error }, 'stopping failed')
        process.exit(1)
      },
    )
  }
  for (const signal of signals) process.on(signal, begin)
  return () => {
    if (!stopping) begin()
  }
}
