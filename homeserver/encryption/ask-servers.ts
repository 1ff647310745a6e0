import { MatrixError } from '../../spec/errors.ts'
import { isUserId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'

/** A map by user, parted into that of this server's users and one for each other server. */
export function groupByServer(
  byUser: JsonObject,
  serverName: ServerName,
): { local: JsonObject; remotes: (readonly [ServerName, JsonObject])[] } {
  const groups = new Map<ServerName, [string, Json][]>()
  for (const [user, value] of Object.entries(byUser)) {
    if (!isUserId(user)) continue
    const server = serverOfUser(user)
    const group = groups.get(server)
    if (group === undefined) groups.set(server, [[user, value]])
    else group.push([user, value])
  }
  const local = Object.fromEntries(groups.get(serverName) ?? [])
  groups.delete(serverName)
  return {
    local,
    remotes: [...groups].map(([server, users]) => [server, Object.fromEntries(users)] as const),
  }
}

/** What the `failures` of an answer say about a server that could not be asked. */
export function failureOf(error: unknown): JsonObject {
  if (error instanceof MatrixError) return { status: error.status, message: error.message }
  return { status: 503, message: 'not reachable' }
}
