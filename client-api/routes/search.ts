import * as api from '../../spec/api/client/search.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Finding people. */
export const searchRoutes = ({ search }: Pick<ClientApiNeeds, 'search'>) => [
  route(api.searchUsers, async ({ body }, who) => {
    const { limited, people } = await search.people(who.user, body.search_term, body.limit)
    return {
      limited,
      results: people.map(({ user, displayName, avatarUrl }) => ({
        user_id: user,
        ...given({ display_name: displayName, avatar_url: avatarUrl }),
      })),
    }
  }),
]
