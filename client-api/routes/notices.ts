import type { Notices } from '../../homeserver/notices/notices.ts'
import * as api from '../../spec/api/client/notices.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'

/** For operators: notices to users, in the shape of Synapse. */
export const noticeRoutes = ({ notices }: { readonly notices: Notices }) => [
  route(api.sendServerNotice, async ({ body }, { user: admin }) => {
    const { user_id: user, type, content, state_key } = body
    const notice = { user, type, content, ...given({ stateKey: state_key }) }
    return { event_id: await notices.send(admin, notice) }
  }),
  route(api.sendServerNoticeOnce, async ({ params: { txnId }, body }, { user: admin }) => {
    const { user_id: user, type, content, state_key } = body
    const notice = { user, type, content, txnId, ...given({ stateKey: state_key }) }
    return { event_id: await notices.send(admin, notice) }
  }),
]
