/**
 * Events that were honest once, mutated at random: answered with a verdict or an error of the specification, never
 * taken unless they are valid, and the honest event among them is always taken. `CONFORMANCE_MUTATIONS` says how many
 * (1,000 unless told), `CONFORMANCE_SEED` which.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import { signaturesOf } from '../../spec/crypto/sign-json.ts'
import { isObject } from '../../spec/json.ts'
import { examinePdu, requiredSigners } from '../../spec/room/event-format.ts'
import { rulesOf } from '../../spec/room/version.ts'
import { type Client, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { finish, type Pdu } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { Draft, PeerRoom } from '../harness/room-builder.ts'

const total = Number(process.env['CONFORMANCE_MUTATIONS'] ?? 1_000)
const seed = Number(process.env['CONFORMANCE_SEED'] ?? 1)
/** With the honest one a transaction is full. */
const perTransaction = 49
/** After so many transactions another peer goes on: a server that sends only rubbish is put off. */
const perPeer = 15
const timeoutMs = 60_000 + total * 20
const version = '11'

const members = [
  ...['type', 'sender', 'room_id', 'content', 'depth', 'prev_events', 'auth_events', 'redacts'],
  ...['origin_server_ts', 'hashes', 'signatures', 'state_key', 'unsigned', 'event_id', 'origin'],
  ...['__proto__', 'constructor', 'toString', 'org.example.more'],
]
const strange: readonly unknown[] = [
  ...[null, true, 0, -1, 0.5, 1e21, 1e308, 2 ** 53, -(2 ** 53), Number.MAX_SAFE_INTEGER],
  ...['', '\u0000', '\ud800', '💥', '__proto__', 'x'.repeat(256), '@a:b', '!a:b', '$a'],
  ...[[], {}, [[]], [null], [[[[[[[[]]]]]]]], JSON.parse('{"__proto__":{"a":1}}')],
  ...['m.room.create', 'm.room.member', 'm.room.power_levels', 'm.room.redaction'],
]

const value = fc.oneof(fc.constantFrom(...strange), fc.jsonValue({ maxDepth: 3 }))
const step = fc.oneof(
  fc.record({ kind: fc.constant('drop' as const), name: fc.constantFrom(...members) }),
  fc.record({ kind: fc.constant('set' as const), name: fc.constantFrom(...members), value }),
  fc.record({ kind: fc.constant('content' as const), name: fc.string(), value }),
  fc.record({
    kind: fc.constant('list' as const),
    name: fc.constantFrom('prev_events', 'auth_events'),
    value: fc.array(value, { maxLength: 25 }),
  }),
)
const mutation = fc.record({
  draft: fc.constantFrom('message', 'state', 'member', 'redaction', 'levels'),
  steps: fc.array(step, { minLength: 1, maxLength: 3 }),
  /** Hashed and signed after the mutation, or before. */
  isSigned: fc.boolean(),
})
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never

function draftOf(kind: string, sender: string, room: PeerRoom): Draft {
  const content = { body: 'mutant', n: 1, list: [1, { a: 'b' }] }
  const state = (type: string, stateKey: string, more: Body) => ({
    ...{ type, stateKey, sender, content: { ...content, ...more } },
  })
  switch (kind) {
    case 'state':
      return state('org.example.state', 'key', {})
    case 'member':
      return state('m.room.member', sender, { membership: 'join' })
    case 'levels':
      return state('m.room.power_levels', '', { users: { [sender]: 100 } })
    case 'redaction':
      return { type: 'm.room.redaction', sender, content: { redacts: room.tips[0] } }
    default:
      return { type: 'm.room.message', sender, content }
  }
}

function mutate(json: Body, { steps }: Mutation): Body {
  const target = { ...json }
  const define = (object: object, name: string, value: unknown) =>
    Object.defineProperty(object, name, {
      ...{ value, enumerable: true, configurable: true, writable: true },
    })
  for (const step of steps) {
    if (step.kind === 'drop') Reflect.deleteProperty(target, step.name)
    else if (step.kind === 'content') {
      const content = { ...Object(target['content']) }
      define(target, 'content', define(content, step.name, step.value))
    } else define(target, step.name, step.value)
  }
  return target
}

function make(peer: Peer, room: PeerRoom, one: Mutation): Body {
  const sender = peer.user(one.draft === 'member' ? 'changing' : 'mutant')
  const draft = draftOf(one.draft, sender, room)
  if (!one.isSigned) return mutate(room.build(draft).json, one)
  return finish(mutate(room.template(draft), one), version, peer.name, peer.key).json
}

/** The event's id, if the kernel finds it valid and signed by the peer alone. */
function validId(text: string, peer: Peer, roomId: string): string | undefined {
  const rules = rulesOf(version)
  const json: unknown = JSON.parse(text)
  if (rules === undefined || !isObject(json)) return undefined
  try {
    const { pdu, signedText } = examinePdu(json, rules)
    const isSigned = requiredSigners(pdu, rules).every(
      (signer) =>
        signer === peer.name &&
        Object.values(signaturesOf(json, signer)).some((signature) =>
          verifySignature(peer.key.publicKey, signedText, signature),
        ),
    )
    return isSigned && pdu.roomId === roomId ? pdu.eventId : undefined
  } catch {
    return undefined
  }
}

async function scene(alice: Client) {
  const peer = await createPeer()
  const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
  const honest = peer.user('honest')
  await peer.join(server, roomId, peer.user('changing'))
  await peer.join(server, roomId, peer.user('mutant'))
  const room = await peer.join(server, roomId, honest)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === honest))
  return { peer, roomId, room, honest }
}

type Scene = Awaited<ReturnType<typeof scene>>

/** Sends a transaction of mutants and an honest event; answers the ids of what may have been taken. */
async function sendMutants(
  { peer, roomId, room, honest }: Scene,
  mutants: readonly Mutation[],
): Promise<{ allowed: string[]; honest: Pdu }> {
  const texts = mutants.map((one) => JSON.stringify(make(peer, room, one)))
  const allowed = texts.flatMap((text) => validId(text, peer, roomId) ?? [])
  const good = room.append({ type: 'm.room.message', sender: honest, content: { body: 'honest' } })
  const pdus = [...texts, JSON.stringify(good.json)].join(',')
  const body = `{"origin":"${peer.name}","origin_server_ts":1,"pdus":[${pdus}]}`
  const uri = `/_matrix/federation/v1/send/${unique('mutants')}`
  const answer = await peer.askText(server, 'PUT', uri, body)
  expect(answer.status, `seed ${seed}: ${JSON.stringify(answer.body)}`).toBe(200)
  const verdicts = new Map(Object.entries(Object(answer.body['pdus'])))
  expect(verdicts.get(good.id), `seed ${seed}`).toEqual({})
  const taken = [...verdicts].filter(([, verdict]) => !('error' in Object(verdict)))
  const known = new Set([...allowed, ...room.events.keys()])
  expect(
    taken.map(([id]) => id).filter((id) => !known.has(id)),
    `seed ${seed}`,
  ).toEqual([])
  return { allowed, honest: good }
}

describe(`${total} mutated events`, () => {
  it('are judged one by one, and none that is wrong is taken', { timeout: timeoutMs }, async () => {
    const alice = await register(server, 'alice')
    const mutants = fc.sample(mutation, { numRuns: total, seed })
    for (let at = 0; at < total; ) {
      const place = await scene(alice)
      await using _ = place.peer
      const allowed: string[] = []
      for (let sent = 0; sent < perPeer && at < total; sent++, at += perTransaction) {
        const result = await sendMutants(place, mutants.slice(at, at + perTransaction))
        allowed.push(...result.allowed)
      }
      const { chunk } = await alice.messages(place.roomId, { limit: 100 })
      const known = new Set([...allowed, ...place.room.events.keys()])
      const strangers = chunk.filter(
        ({ event_id, sender }) => sender !== alice.userId && !known.has(event_id),
      )
      expect(strangers, `seed ${seed}`).toEqual([])
      await alice.sendText(place.roomId, 'still here')
    }
  })
})

describe('bytes of a transaction that are changed on the way', () => {
  const edits = fc.array(
    fc.record({ at: fc.nat(), length: fc.nat({ max: 3 }), text: fc.string({ maxLength: 3 }) }),
    { minLength: 1, maxLength: 3 },
  )

  it('are answered with an error of the specification, or harmless', {
    timeout: timeoutMs,
  }, async () => {
    const alice = await register(server, 'alice')
    const place = await scene(alice)
    await using peer = place.peer
    for (const changes of fc.sample(edits, { numRuns: Math.ceil(total / 10), seed })) {
      const { room, honest } = place
      const pdu = room.build({ type: 'm.room.message', sender: honest, content: { n: 1 } })
      let text = JSON.stringify({ origin: peer.name, origin_server_ts: 1, pdus: [pdu.json] })
      for (const { at, length, text: more } of changes) {
        const start = at % text.length
        text = text.slice(0, start) + more + text.slice(start + length)
      }
      const uri = `/_matrix/federation/v1/send/${unique('bytes')}`
      const { status, body } = await peer.askText(server, 'PUT', uri, text)
      const told = `seed ${seed}: ${status} ${JSON.stringify(body)} to ${text}`
      expect([200, 400, 401, 413, 429], told).toContain(status)
      if (status !== 200) expect(body['errcode'], told).toMatch(/^M_[A-Z_]+$/)
    }
    await alice.sendText(place.roomId, 'still here')
  })
})
