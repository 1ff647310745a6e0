import { MatrixError } from '../../spec/errors.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import { PeerError, type RunningPeers } from './peers.ts'
import type { RunningProcesses } from './processes.ts'

export const forwardingLimits = {
  /** Longest time in which owners are asked, one after the other, in ms. */
  totalMs: 15_000,
  /** Pause before the same owner is asked again, in ms. */
  retryMs: 100,
} as const

/** Passes engine calls to whoever owns their key. */
export interface Forwarding {
  /**
   * Calls `method` in the process that owns `key`, or `local` when that is this one. When the owner dies unanswered the
   * next one is asked, so the call carries an idempotency key or may be repeated. Rejects with what the owner's handler
   * threw (MatrixError), and with M_UNKNOWN (503) when no owner answered in time.
   */
  atOwner(
    key: string,
    method: string,
    body: JsonObject,
    local: () => Promise<JsonObject>,
  ): Promise<JsonObject>
}

export function createForwarding({
  processes,
  peers,
  clock,
}: {
  processes: Pick<RunningProcesses, 'ownerOf' | 'onChange'>
  peers: Pick<RunningPeers, 'call'>
  clock: Clock
}): Forwarding {
  return {
    async atOwner(key, method, body, local) {
      const deadline = clock.now() + forwardingLimits.totalMs
      while (clock.now() < deadline) {
        const owner = processes.ownerOf(key)
        if (owner === undefined) return local()
        const moved = new AbortController()
        using _ = processes.onChange(() => {
          if (processes.ownerOf(key)?.id !== owner.id) moved.abort()
        })
        try {
          const timeoutMs = deadline - clock.now()
          return await peers.call(owner.address, method, body, { timeoutMs, signal: moved.signal })
        } catch (error) {
          if (!(error instanceof PeerError) || error.kind === 'failed') throw error
        }
        // Gone or going: its lease ends within seconds, and then another process owns the key.
        await clock.sleep(forwardingLimits.retryMs, moved.signal).catch(() => {})
      }
      throw new MatrixError('M_UNKNOWN', 'no process answers for this now', { status: 503 })
    },
  }
}
