import type { Requester } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/user-data.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import { parseFilter } from '../../spec/sync/filter.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { openRoute, route } from '../router.ts'

/** Profiles, account data, tags and filters. */
export const userDataRoutes = ({
  profiles,
  accountData,
}: Pick<ClientApiNeeds, 'profiles' | 'accountData'>) => [
  openRoute(api.getProfile, async ({ params }) => await profiles.get(params.userId)),
  openRoute(api.getProfileField, async ({ params }) => ({
    [params.field]: await profiles.field(params.userId, params.field),
  })),
  route(api.setProfileField, async ({ params, body }, who) => {
    requireOwnProfile(who, params.userId, params.field)
    const value = Object.hasOwn(body, params.field) ? body[params.field] : undefined
    if (value === undefined) throw new MatrixError('M_MISSING_PARAM', `${params.field}: missing`)
    await profiles.set(params.userId, params.field, value)
    return {}
  }),
  route(api.deleteProfileField, async ({ params }, who) => {
    requireOwnProfile(who, params.userId, params.field)
    await profiles.delete(params.userId, params.field)
    return {}
  }),
  route(api.getAccountData, async ({ params }, who) => {
    requireSelf(who, params.userId)
    return await accountData.get(who.user, params.type)
  }),
  route(api.setAccountData, async ({ params, body }, who) => {
    requireSelf(who, params.userId)
    await accountData.set(who.user, params.type, body)
    return {}
  }),
  route(api.getRoomAccountData, async ({ params }, who) => {
    requireSelf(who, params.userId)
    return await accountData.getRoom(who.user, params.roomId, params.type)
  }),
  route(api.setRoomAccountData, async ({ params, body }, who) => {
    requireSelf(who, params.userId)
    await accountData.setRoom(who.user, params.roomId, params.type, body)
    return {}
  }),
  route(api.deleteAccountData, async ({ params }, who) => {
    requireSelf(who, params.userId)
    await accountData.delete(who.user, params.type)
    return {}
  }),
  route(api.deleteRoomAccountData, async ({ params }, who) => {
    requireSelf(who, params.userId)
    await accountData.deleteRoom(who.user, params.roomId, params.type)
    return {}
  }),
  route(api.getTags, async ({ params }, who) => {
    requireSelf(who, params.userId)
    return { tags: await accountData.tags(who.user, params.roomId) }
  }),
  route(api.setTag, async ({ params, body }, who) => {
    requireSelf(who, params.userId)
    await accountData.setTag(who.user, params.roomId, params.tag, body)
    return {}
  }),
  route(api.deleteTag, async ({ params }, who) => {
    requireSelf(who, params.userId)
    await accountData.deleteTag(who.user, params.roomId, params.tag)
    return {}
  }),
  route(api.createFilter, async ({ params, body }, who) => {
    requireSelf(who, params.userId)
    parseFilter(body)
    return { filter_id: await accountData.createFilter(who.user, body) }
  }),
  route(api.getFilter, async ({ params }, who) => {
    requireSelf(who, params.userId)
    return await accountData.filter(who.user, params.filterId)
  }),
]

/** What belongs to one user is nobody else's to read or write. */
export function requireSelf(who: Requester, user: UserId): void {
  if (user !== who.user) throw forbidden('This belongs to another user')
}

/** Guests may have a name and nothing else. */
function requireOwnProfile(who: Requester, user: UserId, field: string): void {
  if (user !== who.user) throw forbidden('This is the profile of another user')
  if (who.guest && field !== 'displayname') {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may only change their display name')
  }
}
