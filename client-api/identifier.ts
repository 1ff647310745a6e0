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
  const id = name.startsWith('@') ? name : `@${name.toLowerCase()}:${serverName}`
  return isUserId(id) ? id : undefined
}
