/** A push gateway that a test plays: it notes what it is told, and refuses or rejects as the test wants. */
import { createServer } from 'node:http'
import { z } from 'zod'
import { type Client, unique } from './client.ts'
import type { Body } from './http.ts'
import { parse, readText } from './peer-http.ts'
import { freePorts } from './ports.ts'

const waitTimeoutMs = 20_000
const pollMs = 20

const notification = z.looseObject({
  event_id: z.string().nullish(),
  room_id: z.string().nullish(),
  counts: z.looseObject({ unread: z.number().optional() }).optional(),
  devices: z.array(
    z.looseObject({ app_id: z.string(), pushkey: z.string(), data: z.looseObject({}).optional() }),
  ),
})

/** What a gateway was told, by `POST /_matrix/push/v1/notify`. */
export type Notification = z.output<typeof notification>

export interface PushGateway extends AsyncDisposable {
  /** For `data.url` of a pusher. */
  readonly url: string
  /** What came for a push key and was taken, in order. */
  taken(pushkey: string): readonly Notification[]
  /** How many requests for a push key were refused. */
  refused(pushkey: string): number
  /** From now on every request for the key gets this status; undefined: it is taken again. */
  refuse(pushkey: string, status: number | undefined): void
  /** The key is no longer valid. */
  reject(pushkey: string): void
  /** Waits for the first notification of a key that satisfies the test; the deadline is 20 s. */
  until(pushkey: string, test: (one: Notification) => boolean): Promise<Notification>
}

/** Listens on a free port of loopback. */
export async function openPushGateway(): Promise<PushGateway> {
  const taken = new Map<string, Notification[]>()
  const refusals = new Map<string, number>()
  const statuses = new Map<string, number>()
  const rejected = new Set<string>()

  function answer(body: Body): { status: number; body: Body } {
    const told = notification.parse(body['notification'])
    const keys = told.devices.map(({ pushkey }) => pushkey)
    const status = keys.map((key) => statuses.get(key)).find((one) => one !== undefined)
    for (const key of keys) {
      if (status === undefined) taken.set(key, [...(taken.get(key) ?? []), told])
      else refusals.set(key, (refusals.get(key) ?? 0) + 1)
    }
    if (status !== undefined) return { status, body: {} }
    return { status: 200, body: { rejected: keys.filter((key) => rejected.has(key)) } }
  }

  const http = createServer(async (request, response) => {
    const isNotify = request.method === 'POST' && request.url === '/_matrix/push/v1/notify'
    const reply = isNotify ? answer(parse(await readText(request))) : { status: 404, body: {} }
    response.writeHead(reply.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(reply.body))
  })
  const [port = 0] = await freePorts(1)
  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve))
  const list = (pushkey: string) => taken.get(pushkey) ?? []

  return {
    url: `http://127.0.0.1:${port}/_matrix/push/v1/notify`,
    taken: list,
    refused: (pushkey) => refusals.get(pushkey) ?? 0,
    refuse(pushkey, status) {
      if (status === undefined) statuses.delete(pushkey)
      else statuses.set(pushkey, status)
    },
    reject: (pushkey) => void rejected.add(pushkey),
    async until(pushkey, test) {
      const deadline = performance.now() + waitTimeoutMs
      for (;;) {
        const found = list(pushkey).find(test)
        if (found !== undefined) return found
        if (performance.now() > deadline) {
          throw new Error(`no such notification came: ${JSON.stringify(list(pushkey))}`)
        }
        await new Promise((resolve) => setTimeout(resolve, pollMs))
      }
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

export const pusherAppId = 'org.example.app'

/** Gives the user a pusher to the gateway and returns its key. */
export async function addPusher(
  client: Client,
  gateway: PushGateway,
  data: Body = {},
): Promise<string> {
  const pushkey = unique('key')
  await client.call('POST', '/_matrix/client/v3/pushers/set', {
    body: {
      app_id: pusherAppId,
      pushkey,
      kind: 'http',
      app_display_name: 'App',
      device_display_name: 'Phone',
      lang: 'en',
      data: { url: gateway.url, ...data },
    },
  })
  return pushkey
}
