import { isUserId, type UserId } from '../spec/ids.ts'
import { type JsonObject, objectAt, stringAt } from '../spec/json.ts'

/**
 * The user that an `identifier` names (by user id or localpart), or the older `user` beside it; undefined when there
 * is none or it cannot be a user of this server.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#identifier-types}
 */
export function identifiedUser(fields: JsonObject, serverName: string): UserId | undefined {
  const identifier = objectAt(fields, 'identifier')
  if (identifier !== undefined && stringAt(identifier, 'type') !== 'm.id.user') return undefined
  const name = stringAt(identifier ?? fields, 'user')
  if (name === undefined) return undefined
  const suffix = `:${serverName}`
  const local = name.startsWith('@') ? name.slice(1) : `${name}${suffix}`
  // Accounts here have lower-case names, however they are typed.
  const id = local.endsWith(suffix)
    ? `@${local.slice(0, -suffix.length).toLowerCase()}${suffix}`
    : `@${local}`
  return isUserId(id) ? id : undefined
}
