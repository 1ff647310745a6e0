import type { Telling } from '../../homeserver/appservices/telling.ts'
import * as api from '../../spec/api/client/appservices.ts'
import { route } from '../router.ts'

/** What application services alone may ask. */
export const appserviceRoutes = ({ telling }: { readonly telling: Pick<Telling, 'ping'> }) => [
  route(api.pingAppservice, async ({ params: { appserviceId }, body }, who) => ({
    duration_ms: await telling.ping(who, appserviceId, body.transaction_id),
  })),
]
