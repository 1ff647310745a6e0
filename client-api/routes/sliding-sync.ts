import * as api from '../../spec/api/client/sliding-sync.ts'
import { invalidParam } from '../../spec/errors.ts'
import { raw } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'
import { readAccepted, readTried } from '../sliding-request.ts'

/** What is new in the rooms that a client has in view. */
export const slidingSyncRoutes = ({ sync, config }: Pick<ClientApiNeeds, 'sync' | 'config'>) => [
  route(api.slidingSyncUnstable, async ({ query, body, from }, who) => {
    const { pos, timeout, set_presence: setPresence } = query
    const timeoutMs = Math.min(timeout, config.syncTimeoutMs)
    const common = { dialect: 'unstable', timeoutMs, setPresence, ...given({ pos }) } as const
    const request = { ...common, ...readTried(body, who.user) }
    return raw(await sync.slidingSync(who, request, from.signal))
  }),
  route(api.slidingSync, async ({ body, from }, who) => {
    const { pos, timeout = 0 } = body
    const timeoutMs = Math.min(timeout, config.syncTimeoutMs)
    const setPresence = presenceFrom(body.set_presence)
    const common = { dialect: 'final', timeoutMs, setPresence, ...given({ pos }) } as const
    return raw(await sync.slidingSync(who, { ...common, ...readAccepted(body) }, from.signal))
  }),
]

const presences = ['online', 'offline', 'unavailable'] as const

function presenceFrom(given: string | undefined): (typeof presences)[number] {
  const presence = given === undefined ? 'online' : presences.find((known) => known === given)
  if (presence === undefined) throw invalidParam('set_presence', 'not a kind of presence')
  return presence
}
