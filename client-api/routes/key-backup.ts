import type { BackupVersion } from '../../homeserver/encryption/key-backup.ts'
import * as api from '../../spec/api/client/key-backup.ts'
import { invalidParam } from '../../spec/errors.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Backups of room keys: versions, and the keys in them by session, by room and all together. */
export const keyBackupRoutes = ({ keyBackup }: Pick<ClientApiNeeds, 'keyBackup'>) => [
  route(api.getBackup, async (_, who) => backupReply(await keyBackup.version(who.user))),
  route(api.createBackup, async ({ body }, who) => ({
    version: await keyBackup.createVersion(who.user, body.algorithm, body.auth_data),
  })),
  route(api.getBackupVersion, async ({ params }, who) =>
    backupReply(await keyBackup.version(who.user, params.version)),
  ),
  route(api.updateBackupVersion, async ({ params: { version }, body }, who) => {
    if (body.version !== undefined && body.version !== version) {
      throw invalidParam('version', 'not the one in the path')
    }
    await keyBackup.updateVersion(who.user, version, body.algorithm, body.auth_data)
    return {}
  }),
  route(api.deleteBackupVersion, async ({ params }, who) => {
    await keyBackup.deleteVersion(who.user, params.version)
    return {}
  }),
  route(api.getAllRoomKeys, async ({ query }, who) => keyBackup.get(who.user, query.version, {})),
  route(api.putAllRoomKeys, async ({ query, body }, who) =>
    keyBackup.put(who.user, query.version, {}, body),
  ),
  route(api.deleteAllRoomKeys, async ({ query }, who) =>
    keyBackup.delete(who.user, query.version, {}),
  ),
  route(api.getRoomKeys, async ({ params, query }, who) =>
    keyBackup.get(who.user, query.version, { room: params.roomId }),
  ),
  route(api.putRoomKeys, async ({ params, query, body }, who) =>
    keyBackup.put(who.user, query.version, { room: params.roomId }, body),
  ),
  route(api.deleteRoomKeys, async ({ params, query }, who) =>
    keyBackup.delete(who.user, query.version, { room: params.roomId }),
  ),
  route(api.getSessionKey, async ({ params, query }, who) =>
    keyBackup.get(who.user, query.version, partOf(params)),
  ),
  route(api.putSessionKey, async ({ params, query, body }, who) =>
    keyBackup.put(who.user, query.version, partOf(params), body),
  ),
  route(api.deleteSessionKey, async ({ params, query }, who) =>
    keyBackup.delete(who.user, query.version, partOf(params)),
  ),
]

function partOf(params: { readonly roomId: string; readonly sessionId: string }) {
  return { room: params.roomId, session: params.sessionId }
}

function backupReply({ authData, ...backup }: BackupVersion) {
  return { ...backup, auth_data: authData }
}
