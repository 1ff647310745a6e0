import * as api from '../../spec/api/client/encryption.ts'
import { parseSyncToken } from '../../spec/sync/token.ts'
import { given } from '../given.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { parsePart } from '../parse.ts'
import { route } from '../router.ts'

/** Keys of devices and users, and messages from device to device. */
export const encryptionRoutes = ({
  encryption,
  toDevice,
  interactive,
}: Pick<ClientApiNeeds, 'encryption' | 'toDevice'> & { readonly interactive: Interactive }) => [
  route(api.uploadKeys, async ({ body }, who) => ({
    one_time_key_counts: await encryption.upload(who, body),
  })),
  route(api.queryKeys, async ({ body }, who) => await encryption.query(who, body.device_keys)),
  route(api.claimKeys, async ({ body }, who) => await encryption.claim(who, body.one_time_keys)),
  route(api.getKeyChanges, async ({ query }, who) => {
    const from = parseSyncToken(query.from, 'from').position
    const to = parseSyncToken(query.to, 'to').position
    const { changed, left } = await encryption.changes(who.user, from, to)
    return { changed: [...changed], left: [...left] }
  }),
  route(api.uploadSigningKeys, async ({ body }, who) => {
    const needsAuth = await encryption.signingNeedsAuth(who.user, signingKeysOf(body))
    if (who.appservice !== undefined || !needsAuth) {
      await encryption.uploadSigning(who, signingKeysOf(body))
      return {}
    }
    const guarded = { operation: 'uploadSigningKeys', who, flows: byPassword, body }
    return await interactive(guarded, async (confirmed) => {
      const keys = parsePart(api.uploadSigningKeys.body, confirmed.body, 'body')
      await encryption.uploadSigning(who, signingKeysOf(keys))
      return {}
    })
  }),
  route(
    api.uploadSignatures,
    async ({ body }, who) => await encryption.uploadSignatures(who, body),
  ),
  route(api.sendToDevice, async ({ params, body }, who) => {
    await toDevice.send(who, params.eventType, body.messages, params.txnId)
    return {}
  }),
]

const byPassword = [['m.login.password']] as const

type SigningBody = ReturnType<typeof api.uploadSigningKeys.body.parse>

function signingKeysOf(body: SigningBody) {
  return given({
    master: body.master_key,
    selfSigning: body.self_signing_key,
    userSigning: body.user_signing_key,
  })
}
