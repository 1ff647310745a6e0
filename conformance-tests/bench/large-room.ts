/** A server that has one large public room and lets others join it; it says nothing else. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type SigningKey, signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { signJson } from '../../spec/crypto/sign-json.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { parseServerName, type ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import { rulesOf } from '../../spec/room/version.ts'
import type { Authority } from '../harness/certificates.ts'

const version = '11'
const day = 86_400_000

/** The room, ready to be joined. */
interface LargeRoom {
  readonly roomId: string
  readonly last: Pdu
  readonly authEvents: readonly string[]
  /** The two lists of an answer to send_join, as JSON. */
  readonly stateText: string
  readonly chainText: string
}

function makeRoom(server: ServerName, key: SigningKey, members: number): LargeRoom {
  const rules = rulesOf(version)
  if (rules === undefined) throw new Error('no such room version')
  const roomId = `!${randomBytes(9).toString('hex')}:${server}`
  const creator = `@creator:${server}`
  const state: Pdu[] = []
  let depth = 0
  const add = (
    type: string,
    stateKey: string,
    sender: string,
    content: JsonObject,
    auth: Pdu[],
  ) => {
    const last = state.at(-1)
    const draft = {
      auth_events: auth.map(({ eventId }) => eventId),
      content,
      depth: ++depth,
      origin_server_ts: Date.now() - day,
      prev_events: last === undefined ? [] : [last.eventId],
      room_id: roomId,
      sender,
      state_key: stateKey,
      type,
    }
    const pdu = finishPdu(draft, rules, server, key)
    state.push(pdu)
    return pdu
  }
  const create = add('m.room.create', '', creator, { room_version: version }, [])
  const own = add('m.room.member', creator, creator, { membership: 'join' }, [create])
  const levels = add('m.room.power_levels', '', creator, { users: { [creator]: 100 } }, [
    create,
    own,
  ])
  const auth = [create, levels]
  const rule = add('m.room.join_rules', '', creator, { join_rule: 'public' }, [...auth, own])
  add('m.room.history_visibility', '', creator, { history_visibility: 'shared' }, [...auth, own])
  for (let at = 0; at < members; at++) {
    const user = `@member${at}:${server}`
    const content = {
      membership: 'join',
      displayname: `Member number ${at}`,
      avatar_url: `mxc://${server}/avatar${at}`,
    }
    add('m.room.member', user, user, content, [...auth, rule])
  }
  const textOf = (events: readonly Pdu[]) => `[${events.map(({ text }) => text).join(',')}]`
  return {
    roomId,
    last: state.at(-1) ?? create,
    authEvents: [...auth, rule].map(({ eventId }) => eventId),
    stateText: textOf(state),
    chainText: textOf([create, own, levels, rule]),
  }
}

/** Starts the server with a room of so many members. */
export async function serveLargeRoom(authority: Authority, members: number) {
  const key = signingKeyFromSeed('ed25519:1', randomBytes(32))
  const listener = createServer(authority.issue(['localhost']), (request, response) => {
    answer(request, response).catch(() => response.writeHead(500).end())
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address: AddressInfo | string | null = listener.address()
  const name = parseServerName(`localhost:${typeof address === 'object' ? address?.port : 0}`)
  const room = makeRoom(name, key, members)

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '', 'https://peer').pathname)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const send = (status: number, text: string) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(text)
    }
    if (path.startsWith('/_matrix/key/')) send(200, JSON.stringify(keys(name, key)))
    else if (path.includes('/make_join/')) send(200, JSON.stringify(template(path, room)))
    else if (path.includes('/send_join/'))
      send(200, joined(Buffer.concat(chunks).toString(), room, name))
    else if (path.includes('/send/')) send(200, '{"pdus":{}}')
    else send(404, '{"errcode":"M_NOT_FOUND","error":"not here"}')
  }

  return {
    name,
    roomId: room.roomId,
    bytes: room.stateText.length,
    close: () =>
      new Promise<void>((resolve) => {
        listener.close(() => resolve())
        listener.closeAllConnections()
      }),
  }
}

function keys(server: ServerName, key: SigningKey): JsonObject {
  const body = {
    server_name: server,
    valid_until_ts: Date.now() + day,
    verify_keys: { [key.keyId]: { key: key.publicKey } },
    old_verify_keys: {},
  }
  return signJson(body, server, key)
}

function template(path: string, { roomId, last, authEvents }: LargeRoom): JsonObject {
  const user = path.split('/').at(-1) ?? ''
  return {
    room_version: version,
    event: {
      auth_events: authEvents,
      content: { membership: 'join' },
      depth: last.depth + 1,
      origin_server_ts: Date.now(),
      prev_events: [last.eventId],
      room_id: roomId,
      sender: user,
      state_key: user,
      type: 'm.room.member',
    },
  }
}

function joined(body: string, { stateText, chainText }: LargeRoom, server: ServerName): string {
  return `{"origin":${JSON.stringify(server)},"event":${body},"members_omitted":false,"state":${stateText},"auth_chain":${chainText}}`
}
