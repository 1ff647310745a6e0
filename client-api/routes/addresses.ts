import type { Purpose, TokenRequest } from '../../homeserver/accounts/addresses.ts'
import * as api from '../../spec/api/client/addresses.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { Stage } from '../auth-stages.ts'
import { given } from '../given.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { parsePart } from '../parse.ts'
import { openRoute, route } from '../router.ts'

type Needs = Pick<ClientApiNeeds, 'addresses'> & { readonly interactive: Interactive }

const byPassword: readonly (readonly Stage[])[] = [['m.login.password']]

/** Mail addresses of users; numbers of telephones are not taken. */
export const addressRoutes = (needs: Needs) => {
  const { addresses } = needs
  const mail = (purpose: Purpose, body: MailBody) =>
    addresses.requestToken(tokenRequest(purpose, body))

  /** An address that a session has proved becomes the user's. */
  async function add(user: Parameters<typeof addresses.add>[0], sid: string, secret: string) {
    const proved = await addresses.validated({ sid, clientSecret: secret }, ['add', 'register'])
    if (proved === undefined) {
      throw new MatrixError('M_THREEPID_AUTH_FAILED', 'The address has not been confirmed')
    }
    await addresses.add(user, proved)
    return {}
  }

  return [
    openRoute(api.requestRegistrationMail, ({ body }) => mail('register', body)),
    openRoute(api.requestPasswordMail, ({ body }) => mail('password', body)),
    openRoute(api.requestAddressMail, ({ body }) => mail('add', body)),
    openRoute(api.requestRegistrationCall, noCalls),
    openRoute(api.requestPasswordCall, noCalls),
    openRoute(api.requestAddressCall, noCalls),
    route(api.getThirdPartyIds, async (_, who) => ({
      threepids: (await addresses.of(who.user)).map((one) => ({
        ...{ medium: one.medium, address: one.address },
        ...{ validated_at: one.validatedAt, added_at: one.addedAt },
      })),
    })),
    route(api.addThirdPartyId, async ({ body }, who) => {
      const guarded = { operation: 'add address', who, flows: byPassword, body }
      return await needs.interactive(guarded, async (confirmed) => {
        const { sid, client_secret } = parsePart(api.addThirdPartyId.body, confirmed.body, 'body')
        if (sid === undefined) throw missing('sid')
        if (client_secret === undefined) throw missing('client_secret')
        return await add(who.user, sid, client_secret)
      })
    }),
    route(api.addThirdPartyIdOfOld, async ({ body }, who) => {
      const guarded = { operation: 'add address', who, flows: byPassword, body }
      return await needs.interactive(guarded, async (confirmed) => {
        const { three_pid_creds } = parsePart(api.addThirdPartyIdOfOld.body, confirmed.body, 'body')
        if (three_pid_creds === undefined) throw missing('three_pid_creds')
        return await add(who.user, three_pid_creds.sid, three_pid_creds.client_secret)
      })
    }),
    route(api.bindThirdPartyId, async ({ body }, who) => {
      const session = { sid: body.sid, clientSecret: body.client_secret }
      const at = { server: body.id_server, accessToken: body.id_access_token }
      await addresses.bind(who.user, { ...session, ...at })
      return {}
    }),
    route(api.unbindThirdPartyId, async ({ body }, who) =>
      unbindReply(await addresses.unbind(who.user, body, body.id_server)),
    ),
    route(api.deleteThirdPartyId, async ({ body }, who) =>
      unbindReply(await addresses.delete(who.user, body, body.id_server)),
    ),
  ]
}

interface MailBody {
  readonly email: string
  readonly client_secret: string
  readonly send_attempt: number
  readonly next_link?: string
}

function tokenRequest(purpose: Purpose, body: MailBody): TokenRequest {
  return {
    purpose,
    email: body.email,
    clientSecret: body.client_secret,
    sendAttempt: body.send_attempt,
    ...given({ nextLink: body.next_link }),
  }
}

function unbindReply(success: boolean) {
  return { id_server_unbind_result: success ? ('success' as const) : ('no-support' as const) }
}

function noCalls(): never {
  throw new MatrixError('M_THREEPID_DENIED', 'This server takes no telephone numbers', {
    status: 403,
  })
}

function missing(field: string): MatrixError {
  return new MatrixError('M_MISSING_PARAM', `${field}: missing`)
}
