/** Invites to an address whose owner has no user id yet. {@link https://spec.matrix.org/v1.19/client-server-api/#third-party-invites} */
import { badJson, forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Events } from '../events/events.ts'
import type { Identity, Remote } from '../ports.ts'
import { filled } from './change-core.ts'
import type { MembershipChanges } from './membership.ts'
import type { Memberships, Rooms } from './rooms.ts'

/** An invite that its identity server says is this user's. */
export interface BoundInvite {
  readonly room: RoomId
  /** Who has invited the address. */
  readonly sender: UserId
  readonly user: UserId
  /** What the identity server has signed: user and token. */
  readonly signed: JsonObject
}

/** What becomes of invites of addresses. */
export interface ThirdPartyExchange {
  /** Another server asks that an invite of one of our users becomes one of a user of its own. */
  exchangeInvite(invite: BoundInvite): Promise<void>
  /** An identity server says that a user of ours has bound an address; invites that fail are left out. */
  boundInvites(invites: readonly BoundInvite[]): Promise<void>
}

/** @throws MatrixError M_FORBIDDEN, M_THREEPID_DENIED, M_CONNECTION_FAILED */
type Inviting = Pick<Rooms, 'inviteThirdParty' | 'claimInvite'>

interface Needs {
  readonly serverName: ServerName
  readonly events: Pick<Events, 'currentEntry' | 'append' | 'serversIn'>
  readonly memberships: Pick<Memberships, 'isJoined'>
  readonly changes: Pick<MembershipChanges, 'inviteWith'>
  readonly invite: Rooms['invite']
  readonly remote: Pick<Remote, 'exchangeThirdPartyInvite'>
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  /** Nobody is asked when absent. */
  readonly identity?: Identity
}

const inviteType = 'm.room.third_party_invite'

export function createThirdParty(needs: Needs): ThirdPartyExchange & Inviting {
  const { serverName, events, memberships, remote } = needs

  return {
    async inviteThirdParty(who, room, { server, medium, address }) {
      const { identity } = needs
      if (identity === undefined) {
        throw new MatrixError('M_THREEPID_DENIED', 'No identity server is asked', { status: 403 })
      }
      if (!(await memberships.isJoined(who.user, room))) {
        throw forbidden(`User ${who.user} not in room ${room}`)
      }
      const known = await identity.lookUp(server, { medium, address })
      if (known !== undefined) return await needs.invite(who, room, known, {})
      const about = await describe(needs, room, who.user)
      const stored = await identity.storeInvite(server, { medium, address, ...about })
      const [first] = stored.keys
      if (first === undefined) throw new MatrixError('M_UNKNOWN', 'the identity server has no key')
      const content = {
        display_name: stored.displayName,
        key_validity_url: first.validityUrl,
        public_key: first.publicKey,
        public_keys: stored.keys.map(({ publicKey, validityUrl }) => ({
          public_key: publicKey,
          key_validity_url: validityUrl,
        })),
      }
      const draft = { type: inviteType, stateKey: stored.token, sender: who.user, content }
      await events.append(room, () => ({ kind: 'append', draft }))
    },
    exchangeInvite: (invite) => exchange(needs, invite),
    async claimInvite({ user }, room, { sender, signed }) {
      // Who is let in without it needs no invite, so that its failure says nothing yet.
      await bind({ room, sender, user, signed }).catch(ignoreRefusal)
    },
    async boundInvites(invites) {
      for (const invite of invites) {
        if (serverOfUser(invite.user) !== serverName) continue
        // Each invite is another room's affair.
        await bind(invite).catch(ignoreRefusal)
      }
    },
  }

  async function bind(invite: BoundInvite): Promise<void> {
    const { room, sender, user, signed } = invite
    if (serverOfUser(sender) === serverName) return await exchange(needs, invite)
    await remote.exchangeThirdPartyInvite(serverOfUser(sender), room, {
      type: 'm.room.member',
      room_id: room,
      sender,
      state_key: user,
      content: {
        membership: 'invite',
        third_party_invite: { display_name: '', signed },
      },
    })
  }
}

/** Makes the invite of the address one of the user, in the name of who has invited the address. */
async function exchange(
  { serverName, events, changes, identity }: Needs,
  { room, sender, user, signed }: BoundInvite,
): Promise<void> {
  if (!(await events.serversIn(room)).has(serverName)) throw notFound('Room')
  if (serverOfUser(sender) !== serverName) throw forbidden('The sender is of another server')
  const token = stringAt(signed, 'token')
  if (token === undefined || signed['mxid'] !== user) throw badJson('signed', 'of another user')
  const invited = (await events.currentEntry(room, inviteType, token))?.pdu
  if (invited === undefined || invited.sender !== sender) throw forbidden('There is no such invite')
  for (const { url, key } of keysOf(invited.content)) {
    // The signature itself is for the auth rules to check.
    if (await identity?.isKeyValid(url, key)) continue
    throw forbidden('The key of the invite is not valid any more')
  }
  const display_name = stringAt(invited.content, 'display_name') ?? ''
  const content = { third_party_invite: { display_name, signed } }
  await changes.inviteWith(room, { action: 'invite', sender, target: user, content })
}

/** Keys with a place where one learns whether they still hold; a key without one holds for ever. */
function keysOf(content: JsonObject): { readonly url: string; readonly key: string }[] {
  const all = [content, ...(arrayAt(content, 'public_keys') ?? []).filter(isObject)]
  const found = new Map<string, string>()
  for (const one of all) {
    const url = stringAt(one, 'key_validity_url')
    const key = stringAt(one, 'public_key')
    if (url !== undefined && key !== undefined) found.set(key, url)
  }
  return [...found].slice(0, keysMax).map(([key, url]) => ({ key, url }))
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof MatrixError)) throw error
}

/** Keys of one invite that are asked after. */
const keysMax = 10

/** What the identity server writes of the room to whoever has the address. */
async function describe(
  { events, profileOf }: Needs,
  room: RoomId,
  sender: UserId,
): Promise<JsonObject> {
  const field = async (type: string, key: string) => {
    const entry = await events.currentEntry(room, type, '')
    return entry && stringAt(entry.pdu.content, key)
  }
  const profile = await profileOf(sender)
  return filled({
    room_id: room,
    sender,
    room_alias: await field('m.room.canonical_alias', 'alias'),
    room_avatar_url: await field('m.room.avatar', 'url'),
    room_join_rules: await field('m.room.join_rules', 'join_rule'),
    room_name: await field('m.room.name', 'name'),
    room_type: await field('m.room.create', 'type'),
    sender_display_name: stringAt(profile, 'displayname'),
    sender_avatar_url: stringAt(profile, 'avatar_url'),
  })
}
