/** Events with something wrong, as a hostile peer makes them: one fault each, everything else as it should be. */
import { randomBytes } from 'node:crypto'
import type { Body } from './http.ts'
import { isBody } from './http.ts'
import { finish, type Pdu } from './pdu.ts'
import type { Peer } from './peer.ts'
import type { Draft, PeerRoom } from './room-builder.ts'
import { createSigningKey, unpadded } from './signing.ts'

/** Where an event is made. */
export interface Scene {
  readonly peer: Peer
  readonly room: PeerRoom
  /** Another room, whose events the server knows. */
  readonly foreign: PeerRoom
  /** A user of the server under test. */
  readonly victim: string
}

/** What the specification wants to become of such an event. */
type Outcome = 'refused' | 'redacted' | 'taken'

export interface Fault {
  readonly name: string
  readonly outcome: Outcome
  /** Only the room's other events show that it is wrong; who has none of them cannot see it. */
  readonly needsRoom?: boolean
  make(scene: Scene, draft: Draft): Pdu
}

/** A member of the content that no redaction keeps; only an event with a wrong hash has it. */
export const addedLater = 'org.example.added_later'
/** A server that nobody reaches. */
export const ghost = 'localhost:1'
const ghostKey = createSigningKey()

export const faults: readonly Fault[] = [
  {
    name: 'a content that was changed after hashing',
    outcome: 'redacted',
    make: altered(({ content }) => ({ content: { ...Object(content), [addedLater]: true } })),
  },
  {
    name: 'a wrong signature',
    outcome: 'refused',
    make: altered((_, { peer }) => ({
      signatures: { [peer.name]: { [peer.key.id]: 'B'.repeat(86) } },
    })),
  },
  { name: 'no signature', outcome: 'refused', make: altered(() => ({ signatures: {} })) },
  {
    name: 'a signature by a key that nobody has',
    outcome: 'refused',
    make: altered(({ signatures }, { peer }) => {
      const own = Object(Object(signatures)[peer.name])[peer.key.id]
      return { signatures: { [peer.name]: { 'ed25519:nobody': own } } }
    }),
  },
  {
    name: 'another room’s id',
    outcome: 'refused',
    make: remade((_, { foreign }) => ({ room_id: foreign.roomId })),
  },
  {
    name: 'a sender of a third server',
    outcome: 'refused',
    make: remade(() => ({ sender: `@mallory:localhost:2` })),
  },
  {
    name: 'a sender of the receiving server',
    outcome: 'refused',
    make: remade((_, { victim }) => ({ sender: victim })),
  },
  {
    name: 'a sender whose server nobody reaches',
    outcome: 'refused',
    make: ({ room }, draft) => {
      const template = { ...room.template(draft), sender: `@ghost:${ghost}` }
      return finish(template, room.version, ghost, ghostKey)
    },
  },
  {
    name: 'auth events of another room',
    outcome: 'refused',
    needsRoom: true,
    make: remade((_, { foreign }) => ({ auth_events: [...foreign.state.values()].slice(0, 3) })),
  },
  {
    name: 'no auth events',
    outcome: 'refused',
    needsRoom: true,
    make: remade(() => ({ auth_events: [] })),
  },
  {
    name: 'an auth event named twice',
    outcome: 'refused',
    needsRoom: true,
    make: remade(({ auth_events: auth }) => ({ auth_events: twice(auth) })),
  },
  {
    name: 'more than 10 auth events',
    outcome: 'refused',
    make: remade(() => ({ auth_events: madeUpIds(11) })),
  },
  {
    name: 'more than 20 previous events',
    outcome: 'refused',
    make: remade(() => ({ prev_events: madeUpIds(21) })),
  },
  {
    name: 'the greatest depth',
    outcome: 'taken',
    make: remade(() => ({ depth: Number.MAX_SAFE_INTEGER })),
  },
  {
    name: 'a greater depth than there is',
    outcome: 'refused',
    make: remade(() => ({ depth: Number.MAX_SAFE_INTEGER + 1 })),
  },
  { name: 'a negative depth', outcome: 'refused', make: remade(() => ({ depth: -1 })) },
  {
    name: 'more than 65,536 bytes',
    outcome: 'refused',
    make: remade(({ content }) => ({
      content: { ...Object(content), padding: 'x'.repeat(65_536) },
    })),
  },
  {
    name: 'a fraction among its numbers',
    outcome: 'refused',
    make: remade(({ content }) => ({ content: { ...Object(content), half: 0.5 } })),
  },
]

/** Changed after it was hashed and signed, under the id of the honest event. */
function altered(change: (json: Body, scene: Scene) => Body): Fault['make'] {
  return (scene, draft) => {
    const { id, json } = scene.room.build(draft)
    return { id, json: { ...json, ...change(json, scene) } }
  }
}

/** Changed first, then hashed and signed as it should be. */
function remade(change: (template: Body, scene: Scene) => Body): Fault['make'] {
  return (scene, draft) => {
    const { room, peer } = scene
    const template = room.template(draft)
    return finish({ ...template, ...change(template, scene) }, room.version, peer.name, peer.key)
  }
}

function madeUpIds(count: number): string[] {
  return Array.from({ length: count }, () => `$${unpadded(randomBytes(32), true)}`)
}

function twice(list: unknown): unknown[] {
  return Array.isArray(list) ? [...list, list[0]] : []
}

/** Has this JSON the mark of a content that was changed after hashing. */
export function wasAddedTo(content: unknown): boolean {
  return isBody(content) && addedLater in content
}
