/** Asking other servers for what they may not have, or not give for a moment. */
import { LRUCache } from 'lru-cache'
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Remote } from '../ports.ts'

/**
 * A server that fails is asked again after so long, in ms, which is more than it is left alone after a first failure; no
 * second pause follows for it within the other time.
 */
const pauseMs = 1_500
const nextPauseMs = 10_000
const pausesMax = 1_000

/** A server that refuses or is silent has nothing. */
export async function orNothing<T>(ask: () => Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof MatrixError) return []
    throw error
  }
}

/** Asks for events before a PDU; a server that refuses, or is still silent when asked again, has none. */
export type AskMissing = (
  origin: ServerName,
  pdu: Pdu,
  query: Parameters<Remote['missingEvents']>[2],
) => Promise<readonly JsonObject[]>

/**
 * What is not got now may be jumped for good. So a failure that may pass gets a second try: with the server of the
 * PDU's sender, or where that is the one that failed, with the same one a moment later.
 */
export function createAskMissing(needs: {
  readonly serverName: ServerName
  readonly clock: Clock
  readonly remote: Pick<Remote, 'missingEvents'>
}): AskMissing {
  const { serverName, clock, remote } = needs
  const pausedUntil = new LRUCache<ServerName, number>({ ...atMost(pausesMax) })

  async function mayPause(server: ServerName): Promise<boolean> {
    const now = clock.now()
    if ((pausedUntil.get(server) ?? 0) > now) return false
    pausedUntil.set(server, now + nextPauseMs)
    await clock.sleep(pauseMs)
    return true
  }

  return async (origin, pdu, query) => {
    const ask = (server: ServerName) => remote.missingEvents(server, pdu.roomId, query)
    try {
      return await ask(origin)
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      if (!mayPass(error)) return []
    }
    const other = serverOfUser(pdu.sender)
    if (other !== origin && other !== serverName) return await orNothing(() => ask(other))
    return (await mayPause(origin)) ? await orNothing(() => ask(origin)) : []
  }
}

/** Silence, an overload or a defect; a refusal stays one. */
function mayPass({ status }: MatrixError): boolean {
  return status === 429 || status >= 500
}
