/**
 * Push gateways, which pass notifications on to the vendors of devices. Their addresses are of the clients' choosing.
 * {@link https://spec.matrix.org/v1.19/push-gateway-api/}
 */
import { z } from 'zod'
import {
  createGuardedDispatcher,
  type GuardedDispatcher,
} from '../homeserver/platform/guarded-dispatcher.ts'
import { guardedRequest } from '../homeserver/platform/guarded-request.ts'
import type { PushGateways } from '../homeserver/ports.ts'

const timeoutMs = 10_000
const replyBytesMax = 65_536
const urlLengthMax = 2_048
const path = '/_matrix/push/v1/notify'
const answer = z.object({ rejected: z.array(z.string().max(512)).max(100).default([]) })

/** `dispatcher` is that of requests to other servers; plain HTTP goes to `allowedNetworks` and nowhere else. */
export function createPushGateways(needs: {
  readonly dispatcher: Pick<GuardedDispatcher, 'agent'>
  readonly allowedNetworks: readonly string[]
}): PushGateways & AsyncDisposable {
  const { allowedNetworks } = needs
  const isPlainAllowed = allowedNetworks.length > 0
  const plain = createGuardedDispatcher({ allowedNetworks, refusesPublic: true })
  return {
    accepts(text) {
      if (text.length > urlLengthMax || !URL.canParse(text)) return false
      const { protocol, pathname, username, password } = new URL(text)
      if (pathname !== path || username !== '' || password !== '') return false
      return protocol === 'https:' || (protocol === 'http:' && isPlainAllowed)
    },
    async notify(text, notification, signal) {
      const url = new URL(text)
      const { agent } = url.protocol === 'https:' ? needs.dispatcher : plain
      const reply = await guardedRequest(agent, {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ notification }),
        timeoutMs,
        replyBytesMax,
        ...(signal && { signal }),
      })
      if (reply.status < 200 || reply.status > 299) throw new Error(`status ${reply.status}`)
      return rejectedIn(reply.body.toString('utf8'))
    },
    [Symbol.asyncDispose]: () => plain[Symbol.asyncDispose](),
  }
}

/** A gateway that says nothing of use has taken the notification. */
function rejectedIn(text: string): readonly string[] {
  try {
    return answer.parse(JSON.parse(text)).rejected
  } catch {
    return []
  }
}
