import type { Requester } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/rendezvous.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { Answer } from '../answer.ts'
import type { ClientApiNeeds } from '../needs.ts'
import type { Origin } from '../origin.ts'
import { openRoute } from '../router.ts'

type Needs = Pick<ClientApiNeeds, 'rendezvous' | 'config' | 'clock'>

/** Where two devices meet while one of them is signed in with a QR code. */
export const rendezvousRoutes = ({ rendezvous, config, clock }: Needs) => [
  openRoute(api.discoverRendezvous, (_, who) => {
    requireOffered(config)
    return { create_available: config.rendezvous === 'open' || who !== undefined }
  }),
  openRoute(api.createRendezvous, async ({ body }, who) => {
    requireMayCreate(config, who)
    const { id, revision, expiresAt } = await rendezvous.create(payloadOf(body.data))
    return uncached({ id, sequence_token: revision, expires_in_ms: expiresAt - clock.now() })
  }),
  openRoute(api.getRendezvous, async ({ params, from }) => {
    requireOffered(config)
    refuseNavigation(from)
    const { data, revision, expiresAt } = await rendezvous.get(params.id)
    return uncached({
      data: Buffer.from(data).toString('utf8'),
      sequence_token: revision,
      expires_in_ms: expiresAt - clock.now(),
    })
  }),
  openRoute(api.putRendezvous, async ({ params, body }) => {
    requireOffered(config)
    const payload = payloadOf(body.data)
    const { written, meeting } = await rendezvous.put(params.id, body.sequence_token, payload)
    // The same again may be a repetition of a request whose answer was lost.
    if (!written && Buffer.compare(meeting.data, payload.data) !== 0) {
      const errcode = 'IO_ELEMENT_MSC4388_CONCURRENT_WRITE'
      throw new MatrixError(errcode, 'Somebody else has written', { status: 409 })
    }
    return uncached({ sequence_token: meeting.revision })
  }),
  openRoute(api.deleteRendezvous, async ({ params }) => {
    requireOffered(config)
    await rendezvous.delete(params.id)
    return {}
  }),
]

type Offer = Pick<ClientApiNeeds['config'], 'rendezvous'>

/** Throws M_UNRECOGNIZED where the operator does not want it. */
export function requireOffered({ rendezvous }: Offer): void {
  if (rendezvous === 'off') throw new MatrixError('M_UNRECOGNIZED', 'Not offered here')
}

/** Throws M_UNRECOGNIZED, or M_FORBIDDEN for whom it is not. */
export function requireMayCreate(offer: Offer, who: Requester | undefined): void {
  requireOffered(offer)
  if (offer.rendezvous === 'authenticated' && who === undefined)
    throw forbidden('only for those who are signed in')
}

/** What strangers left here is not to be shown as a page of this server. */
export function refuseNavigation(from: Pick<Origin, 'header'>): void {
  if (from.header('sec-fetch-mode') === 'navigate' || from.header('sec-fetch-dest') === 'document')
    throw forbidden('not a page')
}

function payloadOf(data: string) {
  return { data: Buffer.from(data, 'utf8'), contentType: '' }
}

function uncached(body: object): Answer {
  const headers = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }
  return new Answer(JSON.stringify(body), { headers })
}
