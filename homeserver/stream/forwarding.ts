import { MatrixError } from '../../spec/errors.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import { PeerError, type RunningPeers } from './peers.ts'
import type { RunningProcesses } from './processes.ts'

export const forwardingLimits = {
  /** Longest time in which owners are asked, one after the other, in ms; a call may say another. */
  totalMs: 15_000,
  /** Pause before the same owner is asked again, in ms. */
  retryMs: 100,
} as const

/** Passes engine calls to whoever owns their key. */
export interface Forwarding {
  /**
   * Calls `method` in the process that owns `key`, or `local` when that is this one. When the owner dies unanswered the
   * next one is asked, and told by `repeated` that the work may have been done: the call carries an idempotency key or
   * may be repeated. Rejects with what the owner's handler threw (MatrixError), and with M_UNKNOWN (503) when no owner
   * answered within `totalMs`.
   */
  atOwner<Local>(
    key: string,
    method: string,
    body: object,
    local: (repeated: boolean) => Promise<Local>,
    totalMs?: number,
  ): Promise<JsonObject | Local>
}

export function createForwarding({
  processes,
  peers,
  clock,
}: {
  processes: Pick<RunningProcesses, 'ownerOf' | 'others' | 'onChange'>
  peers: Pick<RunningPeers, 'call'>
  clock: Clock
}): Forwarding {
  /** Asks one owner; gives up when that process is gone, not when only the key has moved on: it is at work. */
  async function ask(
    owner: { readonly id: string; readonly address: string },
    method: string,
    body: object,
    timeoutMs: number,
  ): Promise<JsonObject> {
    const gone = new AbortController()
    using _ = processes.onChange(() => {
      if (!processes.others().some(({ id }) => id === owner.id)) gone.abort()
    })
    return await peers.call(owner.address, method, body, { timeoutMs, signal: gone.signal })
  }

  /** Its lease ends within seconds, and then another process owns the key. */
  async function pause(): Promise<void> {
    const changed = new AbortController()
    using _ = processes.onChange(() => changed.abort())
    await clock.sleep(forwardingLimits.retryMs, changed.signal).catch(() => {})
  }

  return {
    async atOwner(key, method, body, local, totalMs = forwardingLimits.totalMs) {
      const deadline = clock.now() + totalMs
      for (let repeated = false; clock.now() < deadline; repeated = true) {
        const owner = processes.ownerOf(key)
        if (owner === undefined) return await local(repeated)
        try {
          const asked = repeated ? { ...body, repeated } : body
          return await ask(owner, method, asked, deadline - clock.now())
        } catch (error) {
          if (!(error instanceof PeerError) || error.kind === 'failed') throw error
        }
        await pause()
      }
      throw new MatrixError('M_UNKNOWN', 'no process answers for this now', { status: 503 })
    },
  }
}
