/** Aliases of rooms and the list of public rooms. Owns `room_aliases` and `published_rooms`. */
import { forbidden, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import {
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverOfAlias,
  type UserId,
} from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import { levelToSend, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import type { Events } from '../events/events.ts'
import type { Remote } from '../ports.ts'
import type { AliasBook } from './create.ts'
import * as queries from './queries.ts'
import type { Memberships, Requester, Rooms } from './rooms.ts'

export interface Directory
  extends Pick<
    Rooms,
    | 'resolveAlias'
    | 'createAlias'
    | 'deleteAlias'
    | 'aliasesOf'
    | 'visibility'
    | 'setVisibility'
    | 'setNetworkVisibility'
  > {
  readonly book: AliasBook
  /** Where an alias leads; undefined when nowhere. */
  roomOf(alias: RoomAlias): Promise<RoomId | undefined>
  /** Carries aliases and the place in the public list from a room to the one that replaces it. */
  moveNames(from: RoomId, to: RoomId): Promise<void>
}

interface Needs {
  readonly serverName: ServerName
  readonly db: Database
  readonly events: Events
  readonly memberships: Pick<Memberships, 'isJoined'>
  readonly remote: Pick<Remote, 'resolveAlias'>
  /** Id of the application service in whose exclusive namespace an alias is. */
  readonly aliasOwner?: (alias: RoomAlias) => string | undefined
  /** Asks whoever may make an alias that is not there; true when it is there now. */
  readonly makesAlias?: (alias: RoomAlias) => Promise<boolean>
}

const canonicalType = 'm.room.canonical_alias'
/** Aliases of one room that are listed, and servers that an alias names. */
const aliasesMax = 1_000
const serversMax = 100
const networkBytesMax = 255

export function createDirectory(needs: Needs): Directory {
  const { serverName, db, events, memberships, remote } = needs

  async function resolveAlias(alias: RoomAlias) {
    if (serverOfAlias(alias) !== serverName) return await resolveRemote(alias)
    const row = (await queries.findAlias(db, alias)) ?? (await madeAlias(alias))
    // Without a room it is reserved for one that is being made.
    if (row === undefined || !isSet(row.room_id)) throw notFound(`Room alias ${alias}`)
    const others = [...(await events.serversIn(row.room_id)), ...row.servers]
    const servers = new Set<ServerName>([serverName, ...others])
    return { room: row.room_id, servers: [...servers].slice(0, serversMax) }
  }

  async function madeAlias(alias: RoomAlias) {
    if (!(await needs.makesAlias?.(alias))) return undefined
    return await queries.findAlias(db, alias)
  }

  async function resolveRemote(alias: RoomAlias) {
    try {
      const { room_id: room, servers } = await remote.resolveAlias(serverOfAlias(alias), alias)
      return { room, servers: servers.slice(0, serversMax) }
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      throw notFound(`Room alias ${alias}`)
    }
  }

  function requireOurs(alias: RoomAlias): void {
    if (serverOfAlias(alias) === serverName) return
    throw invalidParam('room_alias', 'the alias is of another server')
  }

  function requireFree(alias: RoomAlias, { appservice }: Requester): void {
    const owner = needs.aliasOwner?.(alias)
    if (owner === undefined || owner === appservice) return
    throw new MatrixError('M_EXCLUSIVE', 'The alias is reserved by an application service')
  }

  async function requireJoined(user: UserId, room: RoomId): Promise<void> {
    if (!(await memberships.isJoined(user, room)))
      throw forbidden(`User ${user} not in room ${room}`)
  }

  /** May the user send `m.room.canonical_alias`, which is what looking after a room's names takes. */
  async function mayName(user: UserId, room: RoomId): Promise<boolean> {
    const rules = await events.rulesOf(room)
    if (rules === undefined || !(await memberships.isJoined(user, room))) return false
    const create = await events.currentEntry(room, 'm.room.create', '')
    const powerLevels = await events.currentEntry(room, 'm.room.power_levels', '')
    const levels = powerLevelsOf(rules, create?.pdu, powerLevels?.pdu)
    return userLevel(levels, user) >= levelToSend(levels, canonicalType, true)
  }

  /** Takes an alias that is gone out of the names that the room gives itself, if the user may. */
  async function unname(user: UserId, room: RoomId, alias: RoomAlias): Promise<void> {
    const named = await events.currentEntry(room, canonicalType, '')
    if (named === undefined || !(await mayName(user, room))) return
    const content = without(named.pdu.content, alias)
    if (content === named.pdu.content) return
    const draft = { type: canonicalType, stateKey: '', sender: user, content }
    try {
      await events.append(room, () => ({ kind: 'append', draft }))
    } catch (error) {
      // The alias is gone; that the room still names it is no reason to say otherwise.
      if (!(error instanceof MatrixError)) throw error
    }
  }

  async function insert(
    alias: RoomAlias,
    room: RoomId | undefined,
    creator: UserId,
  ): Promise<boolean> {
    return await queries.insertAlias(db, {
      alias,
      room: room ?? '',
      creator,
      servers: [serverName],
    })
  }

  return {
    resolveAlias,
    async roomOf(alias) {
      try {
        return (await resolveAlias(alias)).room
      } catch (error) {
        if (error instanceof MatrixError) return undefined
        throw error
      }
    },
    async moveNames(from, to) {
      await queries.moveAliases(db, from, to)
      if (!(await queries.isPublished(db, from))) return
      await queries.publishRoom(db, to)
      await queries.unpublishRoom(db, from)
    },
    async createAlias(who, alias, room) {
      requireOurs(alias)
      requireFree(alias, who)
      if (!who.admin) await requireJoined(who.user, room)
      if ((await events.rulesOf(room)) === undefined) throw notFound('Room')
      if (!(await insert(alias, room, who.user))) {
        throw new MatrixError('M_UNKNOWN', `Room alias ${alias} already exists`, { status: 409 })
      }
    },
    async deleteAlias(who, alias) {
      requireOurs(alias)
      const row = await queries.findAlias(db, alias)
      if (row === undefined || !isSet(row.room_id)) throw notFound(`Room alias ${alias}`)
      const mayDelete =
        row.creator === who.user || who.admin || (await mayName(who.user, row.room_id))
      if (!mayDelete) throw forbidden("You don't have permission to delete the alias.")
      await queries.deleteAlias(db, alias)
      await unname(who.user, row.room_id, alias)
    },
    async aliasesOf(who, room) {
      const visibility = await events.currentEntry(room, 'm.room.history_visibility', '')
      const isOpen = visibility && stringAt(visibility.pdu.content, 'history_visibility')
      if (isOpen !== 'world_readable' && !who.admin) await requireJoined(who.user, room)
      return (await queries.aliasesOfRoom(db, room, aliasesMax)).map(({ alias }) => alias)
    },
    async visibility(room) {
      if ((await events.rulesOf(room)) === undefined) throw notFound('Room')
      return (await queries.isPublished(db, room)) ? 'public' : 'private'
    },
    async setVisibility(who: Requester, room, visibility) {
      if ((await events.rulesOf(room)) === undefined) throw notFound('Room')
      if (!who.admin && !(await mayName(who.user, room))) {
        throw forbidden(
          'This server requires you to be a moderator in the room to edit its room list entry',
        )
      }
      if (visibility === 'public') await queries.publishRoom(db, room)
      else await queries.unpublishRoom(db, room)
    },
    async setNetworkVisibility({ appservice: service }, network, room, visibility) {
      if (service === undefined) throw forbidden('only application services may')
      if ((await events.rulesOf(room)) === undefined) throw notFound('Room')
      requireStorable('networkId', network, networkBytesMax)
      await queries.setNetworkRoom(db, { service, network, room }, visibility === 'public')
    },
    book: {
      async reserve(alias, creator) {
        requireFree(alias, creator)
        if (await insert(alias, undefined, creator.user)) return
        throw new MatrixError('M_ROOM_IN_USE', 'Room alias already taken')
      },
      assign: (alias, room) => queries.setAliasRoom(db, alias, room),
      release: async (alias) => void (await queries.deleteAlias(db, alias)),
      publish: (room) => queries.publishRoom(db, room),
    },
  }
}

function isSet(room: RoomId): boolean {
  return room.length > 0
}

/** The content without an alias; the same object when it does not name it. */
function without(content: JsonObject, alias: RoomAlias): JsonObject {
  const { alias: main, alt_aliases: others, ...rest } = content
  const isOther = Array.isArray(others) && others.includes(alias)
  if (main !== alias && !isOther) return content
  return {
    ...rest,
    ...(main !== undefined && main !== alias && { alias: main }),
    ...(Array.isArray(others) && { alt_aliases: others.filter((other) => other !== alias) }),
  }
}
