import * as api from '../../spec/api/client/search.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** People of one answer. */
const peopleMax = 50

/** Finding people. */
export const searchRoutes = ({ accounts }: Pick<ClientApiNeeds, 'accounts'>) => [
  route(api.searchUsers, async ({ body }, who) => {
    const limit = Math.min(body.limit, peopleMax)
    // One more than asked for, and one for the caller, who is not looking for themselves.
    const found = await accounts.search(body.search_term, limit + 2)
    const others = found.filter(({ user }) => user !== who.user)
    return {
      limited: others.length > limit,
      results: others.slice(0, limit).map(({ user, displayName, avatarUrl }) => ({
        user_id: user,
        ...given({ display_name: displayName, avatar_url: avatarUrl }),
      })),
    }
  }),
]
