import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Profiles } from '../../homeserver/accounts/profiles.ts'
import type { Device } from '../../homeserver/accounts/sessions.ts'
import * as api from '../../spec/api/client/admin.ts'
import { forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import { unrecognized } from '../errors.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { openRoute, route } from '../router.ts'
import { startSession } from './session.ts'

type AdminNeeds = Pick<ClientApiNeeds, 'accounts' | 'sessions' | 'config'> & {
  readonly profiles: Pick<Profiles, 'set'>
  readonly version: string
}

/** Administration as scripts know it from Synapse: accounts made with the shared secret. */
export const adminRoutes = ({ accounts, sessions, profiles, config, version }: AdminNeeds) => [
  openRoute(api.getRegistrationNonce, async () => {
    requireSecret(config.registrationSharedSecret)
    return { nonce: await accounts.createNonce() }
  }),
  openRoute(api.registerBySecret, async ({ body }) => {
    const secret = requireSecret(config.registrationSharedSecret)
    if (!(await accounts.takeNonce(body.nonce))) {
      throw new MatrixError('M_UNKNOWN', 'unrecognised nonce', { status: 400 })
    }
    if (!isSame(macOf(secret, body), body.mac.toLowerCase())) throw forbidden('HMAC incorrect')
    const { username: localpart, password, admin, displayname } = body
    const user = await accounts.register({ localpart: localpart.toLowerCase(), password, admin })
    if (displayname) await profiles.set(user, 'displayname', displayname)
    return body.inhibit_login ? { user_id: user } : await startSession(sessions, user, {})
  }),
  openRoute(api.getServerVersion, () => ({ server_version: `Folkmoot ${version}` })),
  route(api.whois, async ({ params: { userId } }, who) => {
    if (who.user !== userId && !who.admin) throw forbidden('Only administrators may see others')
    if ((await accounts.find(userId)) === undefined) throw notFound('user')
    const devices = await sessions.devices(userId)
    return {
      user_id: userId,
      devices: Object.fromEntries(
        devices.map((device) => [device.deviceId, connectionsOf(device)]),
      ),
    }
  }),
]

function connectionsOf({ lastSeenIp, lastSeenTs }: Device) {
  return { sessions: [{ connections: [given({ ip: lastSeenIp, last_seen: lastSeenTs })] }] }
}

function requireSecret(secret: string | undefined): string {
  if (secret) return secret
  throw unrecognized()
}

/** HMAC-SHA1 over the fields with NUL between them, as hexadecimal digits. */
function macOf(
  secret: string,
  body: {
    readonly nonce: string
    readonly username: string
    readonly password: string
    readonly admin: boolean
    readonly user_type?: string | null
  },
): string {
  const role = body.admin ? 'admin' : 'notadmin'
  const fields = [body.nonce, body.username, body.password, role]
  if (body.user_type) fields.push(body.user_type)
  return createHmac('sha1', secret).update(fields.join('\0')).digest('hex')
}

function isSame(expected: string, given: string): boolean {
  const [left, right] = [Buffer.from(expected), Buffer.from(given)]
  return left.length === right.length && timingSafeEqual(left, right)
}
