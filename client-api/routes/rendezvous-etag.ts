import { type Meeting, rendezvousLimits, tooLarge } from '../../homeserver/encryption/rendezvous.ts'
import * as api from '../../spec/api/client/rendezvous-etag.ts'
import { MatrixError } from '../../spec/errors.ts'
import { Answer } from '../answer.ts'
import type { ClientApiNeeds } from '../needs.ts'
import type { Origin } from '../origin.ts'
import { openRoute } from '../router.ts'
import { refuseNavigation, requireMayCreate, requireOffered } from './rendezvous.ts'

/** As rendezvous.ts, by text and ETags. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4108} */
export const textRendezvousRoutes = ({
  rendezvous,
  config,
}: Pick<ClientApiNeeds, 'rendezvous' | 'config'>) => [
  openRoute(api.createTextRendezvous, async ({ from }, who) => {
    requireMayCreate(config, who)
    const meeting = await rendezvous.create(await payloadIn(from))
    const base = config.publicBaseUrl.replace(/\/$/, '') || from.baseUrl
    const url = `${base}${api.createTextRendezvous.paths[0]}/${meeting.id}`
    return new Answer(JSON.stringify({ url }), { status: 201, headers: headersOf(meeting) })
  }),
  openRoute(api.getTextRendezvous, async ({ params, from }) => {
    requireOffered(config)
    refuseNavigation(from)
    const meeting = await rendezvous.get(params.id)
    const headers = headersOf(meeting)
    const { contentType: type } = meeting
    if (from.header('if-none-match') === etagOf(meeting))
      return new Answer('', { status: 304, type, headers })
    return new Answer(whole(meeting.data), { type, headers })
  }),
  openRoute(api.putTextRendezvous, async ({ params, from }) => {
    requireOffered(config)
    const condition = from.header('if-match')
    if (condition === undefined) throw new MatrixError('M_MISSING_PARAM', 'If-Match: missing')
    const payload = await payloadIn(from)
    const { written, meeting } = await rendezvous.put(params.id, unquoted(condition), payload)
    const headers = headersOf(meeting)
    if (written) return new Answer('', { status: 202, type: 'text/plain', headers })
    const refusal = {
      ...{ errcode: 'M_UNKNOWN', error: 'Somebody else has written' },
      'org.matrix.msc4108.errcode': 'M_CONCURRENT_WRITE',
    }
    return new Answer(JSON.stringify(refusal), { status: 412, headers })
  }),
  openRoute(api.deleteTextRendezvous, async ({ params }) => {
    requireOffered(config)
    await rendezvous.delete(params.id)
    return new Answer(whole(new Uint8Array()), { status: 204, type: 'text/plain' })
  }),
]

const contentTypeCharsMax = 255

/** The body: text, of a length that is said. */
async function payloadIn(from: Origin): Promise<{ data: Uint8Array; contentType: string }> {
  const contentType = from.header('content-type')
  if (contentType === undefined) throw new MatrixError('M_MISSING_PARAM', 'Content-Type: missing')
  if (
    !/^text\/plain(;[\x20-\x7e]*)?$/i.test(contentType) ||
    contentType.length > contentTypeCharsMax
  )
    throw new MatrixError('M_INVALID_PARAM', 'Content-Type: not text/plain')
  const announced = from.header('content-length')
  if (announced === undefined) throw new MatrixError('M_MISSING_PARAM', 'Content-Length: missing')
  if (Number(announced) > rendezvousLimits.payloadBytes) throw tooLarge()
  const pieces: Uint8Array[] = []
  for await (const piece of from.content) pieces.push(piece)
  return { data: Buffer.concat(pieces), contentType }
}

function headersOf(meeting: Meeting): Record<string, string> {
  return {
    ETag: etagOf(meeting),
    Expires: new Date(meeting.expiresAt).toUTCString(),
    'Last-Modified': new Date(meeting.changedAt).toUTCString(),
    'Cache-Control': 'no-store',
    Pragma: 'no-cache',
    'X-Content-Type-Options': 'nosniff',
  }
}

function etagOf({ revision }: Meeting): string {
  return `"${revision}"`
}

/** The revision in a strong ETag; anything else matches nothing. */
function unquoted(etag: string): string {
  return /^"([^"]*)"$/.exec(etag.trim())?.[1] ?? ''
}

async function* whole(data: Uint8Array): AsyncIterable<Uint8Array> {
  if (data.length > 0) yield data
}
