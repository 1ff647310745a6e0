/**
 * A federated homeserver that does what a test says. It has a name, a key and a TLS listener; it serves the rooms that
 * a test gives it, records what it receives, and lets a test answer any request in another way.
 */
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { inject } from 'vitest'
import { unique } from './client.ts'
import type { Body } from './http.ts'
import { isBody } from './http.ts'
import { eventId, type Pdu, sign } from './pdu.ts'
import {
  authorization,
  parse,
  parseAuthorization,
  readText,
  sendHttps,
  textAuthorization,
} from './peer-http.ts'
import { serveRooms } from './peer-rooms.ts'
import { createPeerRoom, type Draft, type PeerRoom, startRoom } from './room-builder.ts'
import type { Homeserver } from './server.ts'
import { createSigningKey, signObject, verifyObject } from './signing.ts'

const day = 86_400_000
const waitTimeoutMs = 15_000

/** A request that came in, checked or not. */
export interface Received {
  readonly method: string
  /** Decoded path without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Body
  readonly origin: string
}

/** Writes an answer in its own way: slowly, without an end, or in no shape at all. */
export type Writer = (response: ServerResponse) => void
/** An answer: a body for status 200, or a status with a body. */
type Reply = Body | { readonly status: number; readonly body: Body } | Writer | undefined
export type Handler = (request: Received, match: RegExpExecArray) => Reply | Promise<Reply>

/** What may differ from an ordinary peer. */
export interface PeerOptions {
  /** Host part of its name: `localhost`, or a loopback address for tests of server ACLs. */
  readonly host?: 'localhost' | '127.0.0.1'
}

export type Peer = Awaited<ReturnType<typeof createPeer>>

/** Starts a peer on a free port; it must be closed. */
export async function createPeer(options: PeerOptions = {}) {
  const { authority, peer: certificate } = inject('conformance')
  const host = options.host ?? 'localhost'
  const key = createSigningKey()
  const rooms = new Map<string, PeerRoom>()
  const handlers: { method: string; pattern: RegExp; handler: Handler }[] = []
  const received: Received[] = []
  const wakers = new Set<() => void>()
  const complaints: string[] = []
  const serverKeys = new Map<string, Body>()

  const listener = createServer(
    { cert: certificate.cert, key: certificate.key },
    (message, response) => {
      void answer(message.method ?? '', message.url ?? '', message.headers.authorization, () =>
        readText(message),
      )
        .catch((error: unknown) => ({
          status: 500,
          body: { errcode: 'M_UNKNOWN', error: String(error) },
        }))
        .then((answered) => {
          if (typeof answered === 'function') return answered(response)
          response.writeHead(answered.status, { 'content-type': 'application/json' })
          response.end(JSON.stringify(answered.body))
        })
    },
  )
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address: AddressInfo | string | null = listener.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const name = `${host}:${port}`

  async function answer(
    method: string,
    uri: string,
    header: string | undefined,
    text: () => Promise<string>,
  ) {
    const url = new URL(uri, 'https://peer')
    const path = url.pathname.split('/').map(decodeURIComponent).join('/')
    const body = parse(await text())
    const claims = parseAuthorization(header)
    const origin = claims['origin'] ?? ''
    if (!path.startsWith('/_matrix/key/')) await check({ method, uri, body, claims })
    const request: Received = { method, path, query: url.searchParams, body, origin }
    received.push(request)
    for (const wake of wakers) wake()
    for (const rule of [...handlers].reverse()) {
      const match = rule.method === method ? rule.pattern.exec(path) : null
      if (match) return shaped(await rule.handler(request, match))
    }
    return {
      status: 404,
      body: { errcode: 'M_UNRECOGNIZED', error: 'this peer does not serve it' },
    }
  }

  /** Notes every request that is not signed as it should be. */
  async function check(request: {
    method: string
    uri: string
    body: Body
    claims: Record<string, string>
  }) {
    const { method, uri, body, claims } = request
    const { origin = '', destination, key: keyId = '', sig } = claims
    if (destination !== name) complaints.push(`${method} ${uri}: destination ${destination}`)
    const keys = await keysOf(origin)
    const signed = {
      method,
      uri,
      origin,
      destination,
      ...(method === 'GET' ? {} : { content: body }),
      signatures: { [origin]: { [keyId]: sig } },
    }
    const verifyKey: unknown = Object(Object(keys['verify_keys'])[keyId])['key']
    if (typeof verifyKey !== 'string' || !verifyObject(signed, origin, keyId, verifyKey)) {
      complaints.push(`${method} ${uri}: bad signature`)
    }
  }

  async function keysOf(server: string): Promise<Body> {
    const known = serverKeys.get(server)
    if (known) return known
    const { body } = await plain(server, { method: 'GET', uri: '/_matrix/key/v2/server' })
    serverKeys.set(server, body)
    return body
  }

  /** Sends an unsigned request to a server of this run. */
  function plain(server: string, request: Parameters<typeof sendHttps>[1]) {
    const [hostname = '', serverPort] = server.split(':')
    return sendHttps({ host: hostname, port: Number(serverPort), ca: authority }, request)
  }

  /** Sends a signed request; the answer is returned whatever its status. */
  function ask(server: Homeserver, method: string, uri: string, body?: Body) {
    const request = { method, uri, ...(body === undefined ? {} : { body }) }
    const headers = { authorization: authorization(request, name, server.name, key) }
    return plain(server.name, { ...request, headers })
  }

  /** Sends a text as a body; the signature covers it as it stands, whatever it is. */
  function askText(server: Homeserver, method: string, uri: string, text: string) {
    const headers = {
      authorization: textAuthorization({ method, uri, text }, name, server.name, key),
    }
    return plain(server.name, { method, uri, text, headers })
  }

  function on(method: string, pattern: RegExp, handler: Handler): void {
    handlers.push({ method, pattern, handler })
  }

  /** Waits for a request that satisfies the test, those that came already included; the deadline is 15 s. */
  async function receives(test: (request: Received) => boolean, from = 0): Promise<Received> {
    const deadline = performance.now() + waitTimeoutMs
    for (;;) {
      const found = received.slice(from).find(test)
      if (found) return found
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) {
        throw new Error(`it never came; there were: ${received.map(({ path }) => path).join(' ')}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, leftMs)
        function done() {
          clearTimeout(timer)
          wakers.delete(done)
          resolve()
        }
        wakers.add(done)
      })
    }
  }

  /** The PDUs of all transactions that came so far. */
  const pdus = (): Body[] =>
    received
      .filter(({ path }) => path.startsWith('/_matrix/federation/v1/send/'))
      .flatMap(({ body }) => (Array.isArray(body['pdus']) ? body['pdus'].filter(isBody) : []))
  const edus = (): Body[] =>
    received
      .filter(({ path }) => path.startsWith('/_matrix/federation/v1/send/'))
      .flatMap(({ body }) => (Array.isArray(body['edus']) ? body['edus'].filter(isBody) : []))

  async function eventuallyHas(list: () => Body[], test: (one: Body) => boolean): Promise<Body> {
    const has = () => list().find(test)
    const known = has()
    if (known) return known
    await receives(() => has() !== undefined)
    return has() ?? {}
  }

  /** Sends a transaction and returns the verdicts by event id. */
  async function transact(
    server: Homeserver,
    events: readonly Pdu[],
    edus: readonly Body[] = [],
    txn = unique('txn'),
  ) {
    const body = {
      origin: name,
      origin_server_ts: Date.now(),
      pdus: events.map(({ json }) => json),
      edus,
    }
    return await ask(server, 'PUT', `/_matrix/federation/v1/send/${encodeURIComponent(txn)}`, body)
  }

  /** Joins a user of this peer to a room of the server, and keeps the room from then on. */
  async function join(
    server: Homeserver,
    roomId: string,
    user: string,
    content: Body = {},
  ): Promise<PeerRoom> {
    const versions = Array.from({ length: 12 }, (_, i) => `ver=${i + 1}`).join('&')
    const where = `${encodeURIComponent(roomId)}/${encodeURIComponent(user)}`
    const made = await ask(server, 'GET', `/_matrix/federation/v1/make_join/${where}?${versions}`)
    if (made.status !== 200)
      throw new Error(`make_join: ${made.status} ${JSON.stringify(made.body)}`)
    const version = String(made.body['room_version'] ?? '1')
    const template = isBody(made.body['event']) ? made.body['event'] : {}
    const room = createPeerRoom({ version, server: name, key, roomId })
    const event = room.build({
      type: 'm.room.member',
      sender: user,
      stateKey: user,
      content: { ...Object(template['content']), membership: 'join', ...content },
      more: {
        depth: template['depth'],
        prev_events: template['prev_events'],
        auth_events: template['auth_events'],
      },
    })
    const uri = `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(event.id)}`
    const sent = await ask(server, 'PUT', uri, event.json)
    if (sent.status !== 200)
      throw new Error(`send_join: ${sent.status} ${JSON.stringify(sent.body)}`)
    const list = (value: unknown): Pdu[] =>
      (Array.isArray(value) ? value : [])
        .filter(isBody)
        .map((json) => ({ id: eventId(json, version), json }))
    const final = isBody(sent.body['event']) ? sent.body['event'] : event.json
    room.adopt(list(sent.body['state']), list(sent.body['auth_chain']), {
      id: event.id,
      json: final,
    })
    rooms.set(roomId, room)
    return room
  }

  const peer = {
    name,
    key,
    rooms,
    received,
    /** Every request that was not signed as it should be. */
    complaints,
    on,
    ask,
    askText,
    plain,
    receives,
    pdus,
    edus,
    receivesPdu: (test: (pdu: Body) => boolean) => eventuallyHas(pdus, test),
    receivesEdu: (test: (edu: Body) => boolean) => eventuallyHas(edus, test),
    transact,
    join,
    keysOf,
    user: (localpart: string) => `@${localpart}:${name}`,
    signEvent: (event: Body, version: string) => sign(event, version, name, key),
    /** Makes a room on this peer. */
    createRoom(
      version: string,
      more: { joinRule?: Body; initialState?: Omit<Draft, 'sender'>[] } = {},
    ): PeerRoom {
      const room = startRoom({ version, server: name, key, creator: `@creator:${name}`, ...more })
      rooms.set(room.roomId, room)
      return room
    },
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections()
      await new Promise((resolve) => listener.close(resolve))
    },
  }

  on('GET', /^\/_matrix\/key\/v2\/server/, () =>
    signObject(
      {
        server_name: name,
        valid_until_ts: Date.now() + day,
        verify_keys: { [key.id]: { key: key.publicKey } },
        old_verify_keys: {},
      },
      name,
      key,
    ),
  )
  on('GET', /^\/_matrix\/federation\/v1\/version$/, () => ({
    server: { name: 'scripted peer', version: '1' },
  }))
  on('PUT', /^\/_matrix\/federation\/v1\/send\//, () => ({ pdus: {} }))
  serveRooms(peer)
  return peer
}

function shaped(reply: Reply): { status: number; body: Body } | Writer {
  if (typeof reply === 'function') return reply
  if (reply === undefined)
    return { status: 404, body: { errcode: 'M_NOT_FOUND', error: 'not found' } }
  const { status, body } = reply
  return typeof status === 'number' && isBody(body)
    ? { status, body }
    : { status: 200, body: reply }
}
