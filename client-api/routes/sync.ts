import * as api from '../../spec/api/client/sync.ts'
import { raw } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4222} */
const stateAfterName = 'org.matrix.msc4222.state_after'

const never = new AbortController().signal

/** Everything that is new. */
export const syncRoutes = ({ sync, config }: Pick<ClientApiNeeds, 'sync' | 'config'>) => [
  route(api.sync, async ({ query, from }, who) => {
    const { filter, since, full_state: fullState, set_presence: setPresence } = query
    const isUnstable = !query.use_state_after && query['org.matrix.msc4222.use_state_after']
    const timeoutMs = Math.min(query.timeout, config.syncTimeoutMs)
    const request = {
      fullState,
      setPresence,
      timeoutMs,
      useStateAfter: query.use_state_after || isUnstable,
      ...(isUnstable && { stateAfterName }),
      ...given({ filter, since }),
    }
    // Who does not wait need not be told that the client has gone.
    return raw(await sync.sync(who, request, timeoutMs === 0 ? never : from.signal))
  }),
]
