import { z } from 'zod'
import type { Clock } from '../platform/clock.ts'
import type { Position } from './log.ts'
import type { RunningPeers } from './peers.ts'
import type { RunningProcesses } from './processes.ts'
import type { RunningTail } from './tail.ts'
import type { Acks } from './writer.ts'

/**
 * Read-your-writes over several processes: a write is answered when the live others have passed its position, or after
 * a short wait. The question carries the position, so it wakes a tail that missed the bus's hint.
 */

export const ackLimits = {
  /** What the freshness of others is worth, in ms. */
  waitMs: 50,
  /** A process that did not answer in time is not waited for again for this long, in ms. */
  muteMs: 200,
} as const

const Asked = z.object({ position: z.number() })

interface Peer {
  readonly address: string
  /** The highest position that it is known to have passed. */
  passed: Position
  wanted: Position
  mutedUntil: number
  asking: Promise<void> | undefined
}

export function createAcks({
  processes,
  peers,
  tail,
  clock,
}: {
  processes: Pick<RunningProcesses, 'others'>
  peers: RunningPeers
  tail: RunningTail
  clock: Clock
}): Acks {
  const known = new Map<string, Peer>()

  peers.handle('log/passed', async (body) => {
    const { position } = Asked.parse(body)
    tail.hint(position)
    await tail.reached(position, ackLimits.waitMs)
    return { position: tail.position }
  })

  function peersNow(): Peer[] {
    const others = processes.others()
    const ids = new Set(others.map(({ id }) => id))
    for (const id of known.keys()) if (!ids.has(id)) known.delete(id)
    return others.map(({ id, address }) => {
      const peer = known.get(id) ?? {
        address,
        passed: 0,
        wanted: 0,
        mutedUntil: 0,
        asking: undefined,
      }
      known.set(id, peer)
      return peer
    })
  }

  async function ask(peer: Peer): Promise<void> {
    const body = { position: peer.wanted }
    try {
      const timeoutMs = 2 * ackLimits.waitMs
      const options = { timeoutMs, isQuick: true }
      const answer = await peers.call(peer.address, 'log/passed', body, options)
      peer.passed = Math.max(peer.passed, Asked.parse(answer).position)
    } catch {
      peer.mutedUntil = clock.now() + ackLimits.muteMs
    }
  }

  /** One question at a time to each process; the first one that is waited for may be about a lower position. */
  async function seenBy(peer: Peer, position: Position): Promise<void> {
    peer.wanted = Math.max(peer.wanted, position)
    for (let round = 1; round <= 2; round++) {
      if (peer.passed >= position || peer.mutedUntil > clock.now()) return
      peer.asking ??= ask(peer).finally(() => {
        peer.asking = undefined
      })
      await peer.asking
    }
  }

  return {
    get reachesAll() {
      const now = clock.now()
      return processes.others().every(({ id }) => {
        const peer = known.get(id)
        return peer !== undefined && peer.passed > 0 && peer.mutedUntil <= now
      })
    },
    async seenByOthers(position) {
      const behind = peersNow().filter((peer) => peer.passed < position)
      if (behind.length === 0) return
      const timer = new AbortController()
      const all = Promise.all(behind.map((peer) => seenBy(peer, position)))
      await Promise.race([all, clock.sleep(ackLimits.waitMs, timer.signal).catch(() => {})])
      timer.abort()
    },
  }
}
